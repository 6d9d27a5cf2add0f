# SPDX-License-Identifier: Apache-2.0
"""A segmentation to what a robot or a person uses: masks, overlay, obstacle points. NumPy and OpenCV only."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg.errors import FrameError
from road_kd_seg.frame import RgbdFrame, Segmentation
from road_kd_seg.taxonomy import Role, Taxonomy

POINT_DTYPE = np.dtype(
    {
        "names": ["x", "y", "z", "label", "confidence"],
        "formats": ["<f4", "<f4", "<f4", "u1", "<f4"],
        "offsets": [0, 4, 8, 12, 16],  # floats on multiples of four, as PCL on ARM wants them
        "itemsize": 20,
    }
)
"""One obstacle point: meters in the optical frame, class id, probability."""


def role_mask(
    segmentation: Segmentation, taxonomy: Taxonomy, role: Role, min_confidence: float = 0.0
) -> NDArray[np.uint8]:
    """255 where the class has `role` and is at least `min_confidence` sure, else 0; (H, W)."""
    mask: NDArray[np.uint8] = cv2.LUT(segmentation.label, taxonomy.role_table(role)).astype(np.uint8, copy=False)
    if min_confidence > 0:
        mask[segmentation.confidence < min_confidence] = 0
    return mask


def colorize(label: NDArray[np.uint8], taxonomy: Taxonomy) -> NDArray[np.uint8]:
    """(H, W) class ids to (H, W, 3) RGB; ids that are no class are black."""
    return taxonomy.palette[label]


def overlay(rgb: NDArray[np.uint8], label: NDArray[np.uint8], taxonomy: Taxonomy, alpha: float) -> NDArray[np.uint8]:
    """Blend class colors over an image; background keeps the image as it is.

    Args:
        rgb: (H, W, 3).
        label: (H, W).
        taxonomy: colors by class.
        alpha: 0 shows the image only, 1 the colors only.
    """
    colors = cv2.LUT(cv2.merge((label, label, label)), taxonomy.palette.reshape(1, 256, 3))
    blended = cv2.addWeighted(rgb, 1 - alpha, colors, alpha, 0)
    return cv2.copyTo(rgb, cv2.LUT(label, taxonomy.role_table(Role.BACKGROUND)), blended).astype(np.uint8, copy=False)


def obstacle_points(
    frame: RgbdFrame,
    segmentation: Segmentation,
    taxonomy: Taxonomy,
    *,
    max_range_m: float,
    min_confidence: float,
) -> NDArray[np.void]:
    """Obstacle pixels with valid depth as points in the optical frame.

    Args:
        frame: with depth and intrinsics.
        segmentation: of this frame.
        taxonomy: which classes are obstacles.
        max_range_m: points further along the optical axis are left out.
        min_confidence: so are pixels less sure than this.

    Returns:
        (N,) array of `POINT_DTYPE`.

    Raises:
        FrameError: the frame has no depth or no intrinsics.
    """
    mask = role_mask(segmentation, taxonomy, Role.OBSTACLE, min_confidence) > 0
    return points_at(frame, segmentation, mask, max_range_m)


def points_at(
    frame: RgbdFrame, segmentation: Segmentation, mask: NDArray[np.bool_], max_range_m: float
) -> NDArray[np.void]:
    """The pixels of a mask (H, W) with valid depth up to a range as points in the optical frame, (N,) of `POINT_DTYPE`.

    Raises:
        FrameError: the frame has no depth or no intrinsics.
    """
    if frame.depth_m is None or frame.intrinsics is None:
        lacking = "depth" if frame.depth_m is None else "camera intrinsics"
        raise FrameError(f"points need depth and camera_info, this frame has no {lacking}")
    rows, columns = np.nonzero(mask & (frame.depth_m > 0) & (frame.depth_m <= max_range_m))
    camera, depth_m = frame.intrinsics, frame.depth_m[rows, columns]
    points = np.empty(len(rows), POINT_DTYPE)
    points["x"] = (columns - camera.cx) / camera.fx * depth_m
    points["y"] = (rows - camera.cy) / camera.fy * depth_m
    points["z"] = depth_m
    points["label"] = segmentation.label[rows, columns]
    points["confidence"] = segmentation.confidence[rows, columns]
    return points
