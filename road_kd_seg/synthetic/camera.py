# SPDX-License-Identifier: Apache-2.0
"""A pinhole camera above a road plane: poses, rays, and where rays meet the plane.

World: x right, y along the road, z up, the road is z = 0; meters. Camera: x right, y down, z forward. H and W are the
image's, h and w those of a region of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.frame import Intrinsics
from road_kd_seg.synthetic.arrays import F32

_MIN_DESCENT = 1e-3
"""Rays that sink less than this per meter forward meet the plane beyond a kilometer: they count as sky."""


def d455_intrinsics(height: int, width: int) -> Intrinsics:
    """The color camera of a RealSense D455 as a `width` x `height` image.

    90 degrees wide (512 px focal length at 1024 px); at 16:9 the sensor's 65 degrees of height are cropped to 59.
    """
    focal_px = width / 2
    return Intrinsics(focal_px, focal_px, (width - 1) / 2, (height - 1) / 2, width, height)


@dataclass(frozen=True, slots=True)
class CameraPose:
    """Where the camera is and where it looks."""

    x_m: float
    y_m: float
    height_m: float
    """Above the road."""
    heading_rad: float
    """0 looks along the road, positive turns right."""
    pitch_rad: float
    """Positive looks down."""
    roll_rad: float

    def rotation(self) -> NDArray[np.float64]:
        """(3, 3), columns are the camera's right, down and forward axes in world coordinates."""
        sin_h, cos_h = math.sin(self.heading_rad), math.cos(self.heading_rad)
        sin_p, cos_p = math.sin(self.pitch_rad), math.cos(self.pitch_rad)
        forward = np.array([sin_h * cos_p, cos_h * cos_p, -sin_p])
        right = np.array([cos_h, -sin_h, 0.0])
        down = np.cross(forward, right)
        sin_r, cos_r = math.sin(self.roll_rad), math.cos(self.roll_rad)
        return np.stack([cos_r * right + sin_r * down, cos_r * down - sin_r * right, forward], axis=1)

    @property
    def position(self) -> NDArray[np.float64]:
        """(3,) world coordinates of the optical center."""
        return np.array([self.x_m, self.y_m, self.height_m])


@dataclass(frozen=True, slots=True)
class View:
    """One pose of one camera, and its rays.

    Ray directions are scaled to a camera z of 1, so the factor that stretches a ray to a point is the point's depth.
    """

    camera: Intrinsics
    pose: CameraPose

    def directions(self, top: int, left: int, height: int, width: int, *, step_px: int = 1) -> tuple[F32, F32, F32]:
        """World x, y, z of the rays of a region, one at every `step_px`-th row and column, plus one row and column.

        Args:
            top: first pixel row of the region.
            left: first pixel column.
            height: rows of pixels.
            width: columns.
            step_px: 1 gives (height, width) rays; n gives (height // n + 2, width // n + 2), which reach over the edge.
        """
        extra = 0 if step_px == 1 else 2
        v_px = np.arange(height // step_px + extra) * step_px + top - self.camera.cy
        u_px = np.arange(width // step_px + extra) * step_px + left - self.camera.cx
        v = (v_px / self.camera.fy).astype(np.float32)[:, None]
        u = (u_px / self.camera.fx).astype(np.float32)[None, :]
        x, y, z = (np.float32(r[2]) + np.float32(r[1]) * v + np.float32(r[0]) * u for r in self.pose.rotation())
        return x, y, z

    def project(self, points_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 3) world points → (N, 3) columns, rows in pixels and depth in meters (≤ 0 behind the camera)."""
        x, y, z = self.pose.rotation().T @ (points_m - self.pose.position).T
        safe_z = np.where(np.abs(z) < 1e-6, 1e-6, z)
        return np.stack(
            [self.camera.fx * x / safe_z + self.camera.cx, self.camera.fy * y / safe_z + self.camera.cy, z], 1
        )


def plane_points(view: View, directions: tuple[F32, F32, F32]) -> tuple[F32, F32, F32]:
    """Depth, world x and world y where rays meet the road plane; depth is inf where they do not."""
    x, y, z = directions
    descends = z < -_MIN_DESCENT
    depth_m = np.float32(-view.pose.height_m) / np.where(descends, z, np.float32(-_MIN_DESCENT))
    world_x = depth_m * x + np.float32(view.pose.x_m)
    world_y = depth_m * y + np.float32(view.pose.y_m)
    depth_m[~descends] = np.inf
    return depth_m, world_x, world_y
