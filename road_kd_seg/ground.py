"""The road under the camera, from one depth image: its plane, how much depth there is, and where it ends.

NumPy in and out; H W camera size, h w size of the coarse grid on which everything is computed.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from road_kd_seg.frame import Intrinsics
from road_kd_seg.preprocess.resize import is_valid, resize_depth_array
from road_kd_seg.preprocess.road_plane import PLANE_TOLERANCE_PER_M, fit_road_plane, plane_inverse_depth

_GRID_ROWS = 96
"""The plane is found on about so many rows: every s-th pixel of every s-th row, so that nothing is rounded."""
_MIN_SUPPORT = 0.15
"""Share of the valid pixels of the image's lower two thirds that must lie on the plane: some plane fits anything."""
_MAX_HOLE = 1 / 6
"""Share of the image's width and height up to which a hole at the border is a hole and not the end of depth."""


@dataclass(frozen=True, slots=True)
class GroundPlane:
    """A plane seen by a pinhole camera: 1/z = columns · column + rows · row + offset, in 1/m."""

    columns: float
    rows: float
    offset: float

    def normal(self, camera: Intrinsics) -> NDArray[np.float64]:
        """n with n · p = 1 for every point p of the plane in the optical frame (meters), (3,); it points down."""
        return np.array(
            [
                self.columns * camera.fx,
                self.rows * camera.fy,
                self.columns * camera.cx + self.rows * camera.cy + self.offset,
            ]
        )

    def up(self, camera: Intrinsics) -> NDArray[np.float64]:
        """Unit vector away from the ground, optical frame, (3,)."""
        normal = self.normal(camera)
        upward: NDArray[np.float64] = -normal / np.linalg.norm(normal)
        return upward

    def height_m(self, points: NDArray[np.floating], camera: Intrinsics) -> NDArray[np.float64]:
        """Height of points (N, 3) above the plane, meters; negative below."""
        normal = self.normal(camera)
        heights: NDArray[np.float64] = (1 - points @ normal) / np.linalg.norm(normal)
        return heights


@dataclass(frozen=True, slots=True)
class DepthQuality:
    """What a depth image is worth."""

    valid_share: float
    """Share of the image with depth, 0 to 1; a grid of holes left by registration counts as valid."""
    plane: GroundPlane | None
    """None: no plane that could be a road."""


def assess_depth(depth_m: NDArray[np.float32]) -> DepthQuality:
    """Fit the road plane to a depth image, (H, W), 0 where invalid."""
    step = _step(depth_m)
    coarse = torch.from_numpy(_coarse(depth_m))[None]
    valid = coarse > 0
    share = float(valid.float().mean())
    with torch.inference_mode():
        inverse = torch.where(valid, 1 / coarse, 0)
        plane, found = fit_road_plane(inverse)
        lower = np.s_[:, coarse.shape[1] // 3 :]
        near = (inverse - plane_inverse_depth(plane, *coarse.shape[1:])).abs() < PLANE_TOLERANCE_PER_M
        support = (near & valid)[lower].sum() / valid[lower].sum().clamp(min=1)
    if not found.item() or support.item() < _MIN_SUPPORT:
        return DepthQuality(share, None)
    a, b, c = (float(value) for value in plane[0])
    # u = -1 + 2 i / (w - 1), where the grid's i-th column is the image's column i * step + step // 2; rows alike.
    per_row, per_column = (2 / (step * (count - 1)) for count in coarse.shape[1:])
    offset = c - a * (1 + per_column * (step // 2)) - b * (1 + per_row * (step // 2))
    return DepthQuality(share, GroundPlane(a * per_column, b * per_row, offset))


def beyond_depth(depth_m: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where the sensor cannot see, (H, W): between the image's border and the first valid depth.

    Holes inside the image, and holes at its border that are narrower than a sixth of it, are no end of depth.
    """
    step = _step(depth_m)
    height, width = (size // step for size in depth_m.shape)
    valid = is_valid(depth_m[: height * step, : width * step]).view(np.uint8)
    in_rows = 255 * np.bitwise_or.reduce(valid.reshape(height, step, width * step), axis=1)
    valid = (cv2.resize(in_rows, (width, height), interpolation=cv2.INTER_AREA) > 0).astype(np.uint8)
    within = np.ones(valid.shape, bool)
    for axis, kernel in ((0, (round(width * _MAX_HOLE), 1)), (1, (1, round(height * _MAX_HOLE)))):
        closed = cv2.morphologyEx(valid, cv2.MORPH_CLOSE, np.ones(kernel[::-1], np.uint8)) > 0
        for way in (closed, np.flip(closed, axis)):
            seen = np.logical_or.accumulate(way, axis=axis)
            within &= seen if way is closed else np.flip(seen, axis)
    rows, columns = (
        np.arange(size).clip(max=count * step - 1) // step
        for size, count in zip(depth_m.shape, valid.shape, strict=True)
    )
    beyond: NDArray[np.bool_] = (~within).take(columns, axis=1)[rows]
    return beyond


def _step(depth_m: NDArray[np.float32]) -> int:
    return max(1, int(depth_m.shape[0]) // _GRID_ROWS)


def _coarse(depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w), each the valid pixel nearest to the middle of `step` x `step` ones; 0 where none is valid."""
    step = _step(depth_m)
    height, width = (size // step for size in depth_m.shape)
    return resize_depth_array(depth_m[: height * step, : width * step], (height, width))
