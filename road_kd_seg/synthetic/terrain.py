# SPDX-License-Identifier: Apache-2.0
"""Roads that are no plane: where rays meet a road that rises, falls, is crowned, bumpy and lined by kerbs.

The ground's height is a parabola along the road through the point below the camera, plus the crown and waves of the
asphalt, plus a step at its edges.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg.synthetic import textures
from road_kd_seg.synthetic.arrays import F32, f32
from road_kd_seg.synthetic.camera import View
from road_kd_seg.synthetic.scene import Road, Terrain

_WAVE_PX_M = 0.012
"""Meters per texel of the waves."""
_FLAT_FROM_M = 40.0
"""Crown and waves fade out to there: grazing rays would make steps of them."""


def meet_terrain(
    road: Road, terrain: Terrain, view: View, directions: tuple[F32, F32, F32]
) -> tuple[F32, F32, F32, NDArray[np.bool_] | None]:
    """Depth, world x and world y where rays meet the ground, depth inf where they do not; and a kerb's upright face.

    Args:
        road: whose asphalt it is.
        terrain: its shape.
        view: the camera.
        directions: world x, y, z of each ray (H, W), scaled to a camera z of 1.
    """
    height_m = view.pose.height_m
    depth_m = _meet_parabola(height_m, terrain.curve_per_m, directions)
    across_m = _across(road, view, directions, depth_m)
    relief_m = _relief(road, terrain, view, directions, depth_m, across_m)
    with np.errstate(invalid="ignore"):  # of rays that meet no ground
        slope = directions[2] - np.float32(2 * terrain.curve_per_m) * depth_m * directions[1] ** 2
    depth_m += relief_m / np.minimum(slope, np.float32(-0.02))
    face = None
    if terrain.kerb_m:
        beside_m = _meet_parabola(height_m - terrain.kerb_m, terrain.curve_per_m, directions)
        depth_m, face = _step(road, terrain, view, directions, (depth_m, across_m), beside_m)
    with np.errstate(invalid="ignore"):
        x_m, y_m = depth_m * directions[0], depth_m * directions[1]
    missed = ~np.isfinite(depth_m)
    x_m[missed] = y_m[missed] = 1e6
    return depth_m, x_m + np.float32(view.pose.x_m), y_m + np.float32(view.pose.y_m), face


def elevation_m(road: Road, view: View, s_m: float, t_m: float) -> float:
    """Height of the ground at one place, without waves."""
    terrain = road.terrain
    if terrain is None:
        return 0.0
    beside = terrain.kerb_m if abs(t_m) > road.half_width_m else 0.0
    ahead_m = s_m - view.pose.y_m
    crown_m = terrain.crown * min(abs(t_m), road.half_width_m) * max(0.0, 1 - abs(ahead_m) / _FLAT_FROM_M)
    return terrain.curve_per_m * ahead_m**2 - crown_m + beside


def _meet_parabola(height_m: float, curve_per_m: float, directions: tuple[F32, F32, F32]) -> F32:
    """Depth where z = curve * y², seen from `height_m` above its vertex; inf beyond a crest and in the sky."""
    _, y, z = directions
    fall = -z
    with np.errstate(invalid="ignore", divide="ignore"):
        root = np.sqrt(fall * fall + np.float32(4 * curve_per_m * height_m) * y * y)
        depth_m = np.float32(2 * height_m) / (fall + root)
    return f32(np.where(np.isfinite(depth_m) & (depth_m > 0) & (depth_m < 1e4), depth_m, np.float32(np.inf)))


def _across(road: Road, view: View, directions: tuple[F32, F32, F32], depth_m: F32) -> F32:
    """Road coordinate t of the points at these depths; far out where there is none."""
    finite_m = np.minimum(depth_m, np.float32(1e4))
    x_m = finite_m * directions[0] + np.float32(view.pose.x_m)
    return f32(x_m - road.middle_x(finite_m * directions[1] + np.float32(view.pose.y_m)))


def _relief(
    road: Road, terrain: Terrain, view: View, directions: tuple[F32, F32, F32], depth_m: F32, across_m: F32
) -> F32:
    """Height of crown and waves above the parabola, on the asphalt."""
    half_m = np.float32(road.half_width_m)
    relief_m = np.minimum(np.abs(across_m), half_m) * np.float32(-terrain.crown)
    if terrain.bumps_m:
        along_m = np.minimum(depth_m, np.float32(1e3)) * directions[1] + np.float32(road.texture_offset_m[0])
        size = depth_m.shape[::-1]
        wave = textures.sample_tile(
            textures.cloud(0),
            across_m[::4, ::4] * np.float32(1 / _WAVE_PX_M),
            along_m[::4, ::4] * np.float32(1 / _WAVE_PX_M),
        )
        relief_m += np.float32(terrain.bumps_m) * cv2.resize(wave, size, interpolation=cv2.INTER_LINEAR)
    return f32(relief_m * np.clip(1 - depth_m / np.float32(_FLAT_FROM_M), 0, 1))


def _step(
    road: Road,
    terrain: Terrain,
    view: View,
    directions: tuple[F32, F32, F32],
    asphalt: tuple[F32, F32],
    beside_m: F32,
) -> tuple[F32, NDArray[np.bool_]]:
    """Depth of asphalt, of what lies beside it, and of the face between them; and where that face is seen."""
    depth_m, across_m = asphalt
    half_m = np.float32(road.half_width_m)
    off_asphalt = np.abs(across_m) > half_m
    if terrain.kerb_m < 0:
        return f32(np.where(off_asphalt, beside_m, depth_m)), np.zeros(depth_m.shape, bool)
    across_beside_m = _across(road, view, directions, beside_m)
    on_top = np.abs(across_beside_m) > half_m
    face = off_asphalt & ~on_top & np.isfinite(depth_m)
    depth_m = f32(np.where(on_top, beside_m, depth_m))
    outer, inner = np.abs(across_m[face]), np.abs(across_beside_m[face])
    share = (half_m - inner) / np.maximum(outer - inner, np.float32(1e-4))
    depth_m[face] = beside_m[face] + np.clip(share, 0, 1) * (depth_m[face] - beside_m[face])
    return depth_m, face
