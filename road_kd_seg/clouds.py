# SPDX-License-Identifier: Apache-2.0
"""Point clouds and depth for costmaps and maps, from a segmented frame. NumPy only; H W camera size, N points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.frame import Intrinsics, RgbdFrame, Segmentation
from road_kd_seg.ground import GroundPlane
from road_kd_seg.postprocess import obstacle_points, points_at, role_mask
from road_kd_seg.taxonomy import Role, Taxonomy

XYZ_DTYPE = np.dtype({"names": ["x", "y", "z"], "formats": ["<f4"] * 3, "offsets": [0, 4, 8], "itemsize": 16})
"""One point of an organized cloud, meters in the optical frame; aligned as PCL wants it."""


def costmap_points(
    frame: RgbdFrame,
    segmentation: Segmentation,
    taxonomy: Taxonomy,
    plane: GroundPlane | None,
    *,
    height_m: float,
    max_range_m: float,
    min_confidence: float,
) -> NDArray[np.void]:
    """Obstacle points with the negative ones lifted straight up to `height_m` above the road.

    Costmap layers drop what lies below the robot's ground; a pothole lies there, and is an obstacle all the same.

    Args:
        frame: with depth and intrinsics.
        segmentation: of this frame.
        taxonomy: which classes are obstacles.
        plane: the road; None leaves every point where it is.
        height_m: above the road.
        max_range_m: points further along the optical axis are left out.
        min_confidence: so are pixels less sure than this.

    Returns:
        (N,) array of `POINT_DTYPE`.

    Raises:
        FrameError: the frame has no depth or no intrinsics.
    """
    points = obstacle_points(frame, segmentation, taxonomy, max_range_m=max_range_m, min_confidence=min_confidence)
    if plane is not None and frame.intrinsics is not None:
        lifted = np.isin(points["label"], taxonomy.negative_ids)
        below = np.stack([points[axis][lifted] for axis in "xyz"], -1)
        rise_m = height_m - plane.height_m(below, frame.intrinsics)
        above = below + rise_m[:, None] * plane.up(frame.intrinsics)
        for index, axis in enumerate("xyz"):
            points[axis][lifted] = above[:, index]
    return points


def ground_points(
    frame: RgbdFrame, segmentation: Segmentation, taxonomy: Taxonomy, *, stride: int, max_range_m: float
) -> NDArray[np.void]:
    """Drivable pixels with valid depth, every `stride`-th of both axes, (N,) of `POINT_DTYPE`.

    Raises:
        FrameError: the frame has no depth or no intrinsics.
    """
    grid = np.zeros(frame.size, bool)
    grid[stride // 2 :: stride, stride // 2 :: stride] = True
    drivable = role_mask(segmentation, taxonomy, Role.DRIVABLE) | role_mask(segmentation, taxonomy, Role.LANE)
    return points_at(frame, segmentation, grid & (drivable > 0), max_range_m)


def organized_points(depth_m: NDArray[np.float32], camera: Intrinsics, stride: int = 1) -> NDArray[np.void]:
    """Every `stride`-th pixel of both axes as a point, NaN without depth; (H / stride, W / stride) of `XYZ_DTYPE`."""
    sampled = depth_m[::stride, ::stride]
    z = np.where(sampled > 0, sampled, np.float32(np.nan))
    rows, columns = (np.arange(0, size, stride, dtype=np.float32) for size in depth_m.shape)
    points = np.zeros(z.shape, XYZ_DTYPE)
    points["x"] = (columns - np.float32(camera.cx)) / np.float32(camera.fx) * z
    points["y"] = ((rows - np.float32(camera.cy)) / np.float32(camera.fy))[:, None] * z
    points["z"] = z
    return points


def masked_depth(frame: RgbdFrame, segmentation: Segmentation, taxonomy: Taxonomy) -> NDArray[np.uint16] | None:
    """Depth in millimeters, (H, W), 0 where there is none or an obstacle; None for a frame without depth."""
    if frame.depth_m is None:
        return None
    millimeters: NDArray[np.uint16] = np.rint(frame.depth_m * np.float32(1000)).clip(max=65535).astype(np.uint16)
    millimeters[role_mask(segmentation, taxonomy, Role.OBSTACLE) > 0] = 0
    return millimeters


def moved(
    points: NDArray[np.void], rotation: tuple[float, float, float, float], translation_m: tuple[float, float, float]
) -> NDArray[np.void]:
    """Points of any shape, with the fields x, y and z, in another frame; the other fields stay.

    Args:
        points: where they are now.
        rotation: unit quaternion x, y, z, w from their frame to the other.
        translation_m: of their frame's origin in the other.
    """
    vector, scalar = np.array(rotation[:3]), rotation[3]
    xyz = np.stack([points[axis] for axis in "xyz"], -1).astype(np.float64)
    across = 2 * np.cross(vector, xyz)
    there = xyz + scalar * across + np.cross(vector, across) + np.array(translation_m)
    result: NDArray[np.void] = points.copy()
    for index, axis in enumerate("xyz"):
        result[axis] = there[..., index]
    return result
