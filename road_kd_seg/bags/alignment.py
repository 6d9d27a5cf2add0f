# SPDX-License-Identifier: Apache-2.0
"""Depth of one camera as another camera sees it: RealSense's `align` for recordings made without it. H W image size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.errors import FrameError
from road_kd_seg.frame import Intrinsics

_MAX_FOOTPRINT = 6
"""A depth pixel covers at most this many color pixels in each direction; no camera's resolutions differ more."""


@dataclass(frozen=True)
class DepthAlignment:
    """Two cameras and the way from one to the other: p_color = rotation @ p_depth + translation_m."""

    depth: Intrinsics
    color: Intrinsics
    rotation: NDArray[np.float64]
    """(3, 3)"""
    translation_m: NDArray[np.float64]
    """(3,)"""
    color_distortion: tuple[float, ...] = ()
    """k1 k2 p1 p2 k3 (Brown and Conrady) of the color camera; empty for none."""

    def __call__(self, depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
        """Depth, (H, W) of the depth camera → (H, W) of the color camera, 0 where it saw nothing.

        Each depth pixel covers the color pixels between its projected corners; of several the nearest counts.

        Raises:
            FrameError: the image has not the depth camera's size.
        """
        if depth_m.shape != (self.depth.height, self.depth.width):
            raise FrameError(
                f"depth is {depth_m.shape[1]}x{depth_m.shape[0]}, the recording's calibration is for"
                f" {self.depth.width}x{self.depth.height}: it cannot be aligned"
            )
        rows, columns = np.nonzero(depth_m > 0)
        z = depth_m[rows, columns].astype(np.float64)
        u, v = columns.astype(np.float64), rows.astype(np.float64)
        half = np.float64(0.5)
        one_x, one_y, z_color = self._project(u - half, v - half, z)
        other_x, other_y, _ = self._project(u + half, v + half, z)
        x0, x1 = _covered(one_x, other_x)
        y0, y1 = _covered(one_y, other_y)
        height, width = self.color.height, self.color.width
        order = np.argsort(-z_color, kind="stable")  # of equal indices NumPy keeps the last: the nearest
        nearest = np.full(height * width, np.inf, np.float32)
        for dy in range(min(int((y1 - y0).max(initial=0)) + 1, _MAX_FOOTPRINT)):
            for dx in range(min(int((x1 - x0).max(initial=0)) + 1, _MAX_FOOTPRINT)):
                x, y = x0 + dx, y0 + dy
                inside = (x <= x1) & (y <= y1) & (x >= 0) & (x < width) & (y >= 0) & (y < height) & (z_color > 0)
                chosen = order[inside[order]]
                layer = np.full(height * width, np.inf, np.float32)
                layer[y[chosen] * width + x[chosen]] = z_color[chosen]
                np.minimum(nearest, layer, out=nearest)
        return np.where(np.isfinite(nearest), nearest, np.float32(0)).reshape(height, width)

    def _project(
        self, u: NDArray[np.float64], v: NDArray[np.float64], z: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Columns, rows and depth in the color image, (N,) each."""
        points = np.stack([(u - self.depth.cx) / self.depth.fx * z, (v - self.depth.cy) / self.depth.fy * z, z])
        x, y, z_color = self.rotation @ points + self.translation_m[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            x, y = np.nan_to_num(x / z_color), np.nan_to_num(y / z_color)
        if any(self.color_distortion):
            k1, k2, p1, p2, k3 = self.color_distortion
            r2 = x * x + y * y
            radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
            x, y = (
                x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
                y * radial + 2 * p2 * x * y + p1 * (r2 + 2 * y * y),
            )
        limit = 1e6  # what lies beside the camera is projected anywhere; it only has to stay a number
        columns = np.clip(x * self.color.fx + self.color.cx, -limit, limit)
        rows = np.clip(y * self.color.fy + self.color.cy, -limit, limit)
        return columns, rows, z_color


def _covered(one: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last pixel whose centers lie between two edges; at least the one after the first edge."""
    rounding = 1e-6  # an edge on a center belongs to one of the two neighbors that share it
    first = np.ceil(np.minimum(one, other) - rounding).astype(np.int64)
    last = np.ceil(np.maximum(one, other) - rounding).astype(np.int64) - 1
    return first, np.maximum(last, first)
