# SPDX-License-Identifier: Apache-2.0
"""The road under the camera, from one depth image: its plane, how much depth there is, and where it ends.

NumPy in and out; H W camera size, h w size of the coarse grid on which everything is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from road_kd_seg.frame import DepthImage, Intrinsics
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


def beyond_depth(depth: DepthImage, where: NDArray[np.uint8] | None = None) -> NDArray[np.bool_]:
    """Where the sensor cannot see, (H, W): between the image's border and the first valid depth.

    Holes inside the image, and holes at its border that are narrower than a sixth of it, are no end of depth.

    Args:
        depth: (H, W), 0 where invalid.
        where: (H, W), not 0 at the pixels that matter, which saves time; elsewhere the result is False. None: all.
    """
    height, width = depth.shape
    step = _step(depth)
    left, top, across, down = (0, 0, width, height) if where is None else cv2.boundingRect(where)
    beyond: NDArray[np.bool_] = np.zeros(depth.shape, bool)
    # The cell of each pixel in the rectangle; the last cells hold what is left over at the border.
    rows, columns = (
        np.arange(first, first + size).clip(max=count // step * step - 1) // step
        for first, size, count in ((top, down, height), (left, across, width))
    )
    if where is not None and (rows.size == 0 or _seen_cells(depth, step, rows, columns).all()):
        return beyond
    seen = _seen_cells(depth, step, range(height // step), range(width // step)).view(np.uint8)
    within = np.ones(seen.shape, bool)
    for axis, kernel in ((0, (round(seen.shape[1] * _MAX_HOLE), 1)), (1, (1, round(seen.shape[0] * _MAX_HOLE)))):
        closed = cv2.morphologyEx(seen, cv2.MORPH_CLOSE, np.ones(kernel[::-1], np.uint8)).view(bool)
        for way in (closed, np.flip(closed, axis)):
            passed = np.logical_or.accumulate(way, axis=axis)
            within &= passed if way is closed else np.flip(passed, axis)
    inside = beyond[top : top + down, left : left + across]
    np.logical_not(within.take(columns, axis=1)[rows], out=inside)
    if where is not None:
        inside &= where[top : top + down, left : left + across].view(bool)
    return beyond


_Cells = Sequence[int] | NDArray[np.intp]


def _seen_cells(depth: DepthImage, step: int, rows: _Cells, columns: _Cells) -> NDArray[np.bool_]:
    """Whether any pixel of a cell of `step` x `step` is valid, from the first to the last of rows and columns."""
    top, bottom, left, right = rows[0] * step, (rows[-1] + 1) * step, columns[0] * step, (columns[-1] + 1) * step
    valid = is_valid(depth[top:bottom]).view(np.uint8)  # whole rows are faster than parts of them
    in_rows = 255 * np.bitwise_or.reduce(valid.reshape(-1, step, depth.shape[1]), axis=1)[:, left:right]
    size = ((right - left) // step, len(in_rows))
    seen: NDArray[np.bool_] = cv2.resize(in_rows, size, interpolation=cv2.INTER_AREA) > 0
    return seen


def _step(depth: DepthImage) -> int:
    return max(1, int(depth.shape[0]) // _GRID_ROWS)


def _coarse(depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w), each the valid pixel nearest to the middle of `step` x `step` ones; 0 where none is valid."""
    step = _step(depth_m)
    height, width = (size // step for size in depth_m.shape)
    return resize_depth_array(depth_m[: height * step, : width * step], (height, width))
