# SPDX-License-Identifier: Apache-2.0
"""The buffers that a frame is painted into, and the ground plane seen by every pixel."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg.synthetic.arrays import F32, U8, f32
from road_kd_seg.synthetic.camera import View, plane_points
from road_kd_seg.synthetic.scene import Road
from road_kd_seg.synthetic.terrain import meet_terrain
from road_kd_seg.taxonomy import BACKGROUND

_HORIZON_M = 110.0
"""Where the plain ends and the picture of the horizon begins."""
_SEARCH_COLUMNS = 256
"""Regions are looked for on a grid of about so many columns."""


def spread(gray: F32) -> F32:
    """(h, w) → (h, w, 3); much faster in arithmetic than broadcasting over a last axis of 3."""
    return f32(cv2.merge((gray, gray, gray)))


def blend(base: F32, target: F32, share: F32) -> None:
    """Move base, (h, w, 3), towards the target, (h, w, 3), by a share, (h, w), in place."""
    base += (target - base) * spread(share)


def fade(depth_m: F32, near_m: float, far_m: float) -> F32:
    """1 up to near_m, 0 from far_m on."""
    return f32(np.clip((np.float32(far_m) - depth_m) / np.float32(far_m - near_m), 0, 1))


@dataclass(frozen=True)
class Ground:
    """What each pixel sees of the road plane, from row `top` down; all (h, W)."""

    top: int
    depth_m: F32
    """inf where the ray misses the plane."""
    x_m: F32
    """World x."""
    s_m: F32
    t_m: F32
    pixel_s_m: F32
    """Length of a pixel's footprint along the road."""
    pixel_t_m: F32
    """And across."""
    face: NDArray[np.bool_] | None = None
    """Where the upright face of a kerb is seen; None without kerbs."""

    def region(self, s_m: float, t_m: float, reach_s_m: float, reach_t_m: float) -> tuple[slice, slice] | None:
        """Rows (counted from `top`) and columns that hold a rectangle of the road; None if it is out of sight."""
        step = max(1, self.s_m.shape[1] // _SEARCH_COLUMNS)
        near = np.abs(self.s_m[::step, ::step] - np.float32(s_m)) < reach_s_m
        near &= np.abs(self.t_m[::step, ::step] - np.float32(t_m)) < reach_t_m
        near &= np.isfinite(self.depth_m[::step, ::step])
        rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
        if rows.size == 0:
            return None
        return (
            slice(max(0, (int(rows[0]) - 1) * step), (int(rows[-1]) + 1) * step + 1),
            slice(max(0, (int(columns[0]) - 1) * step), (int(columns[-1]) + 1) * step + 1),
        )


def see_ground(road: Road, view: View) -> Ground:
    """Intersect every ray with the road plane."""
    height, width = view.camera.height, view.camera.width
    directions = view.directions(0, 0, height, width)
    if road.terrain is None:
        face = None
        depth_m, x_m, y_m = plane_points(view, directions)
    else:
        depth_m, x_m, y_m, face = meet_terrain(road, road.terrain, view, directions)
    depth_m[depth_m > _HORIZON_M] = np.inf
    seen = np.flatnonzero(np.isfinite(depth_m).any(axis=1))
    top = int(seen[0]) if seen.size else height
    depth_m, x_m, y_m = depth_m[top:], x_m[top:], y_m[top:]
    face = None if face is None else face[top:]
    finite_m = np.where(np.isfinite(depth_m), depth_m, np.float32(1e4))
    pixel_t_m = finite_m / np.float32(view.camera.fx)
    pixel_s_m = finite_m * pixel_t_m / np.float32(view.pose.height_m)
    t_m = x_m - road.middle_x(y_m).astype(np.float32)
    return Ground(top, depth_m, x_m, y_m, t_m, pixel_s_m, pixel_t_m, face)


@dataclass
class Canvas:
    """A frame in the making; (H, W, ...)."""

    rgb: F32
    """Linear light, or albedo of the ground before it is lit."""
    label: U8
    depth_m: F32
    """True depth, inf for the sky."""
    sun: F32
    """How much of the sun reaches the ground, 0 to 1."""
    gloss: F32
    """How much of the sky a wet road mirrors, 0 to 1."""
    hole_chance: F32
    """Chance that stereo matching fails because of the surface, 0 to 1."""

    @staticmethod
    def blank(height: int, width: int) -> Canvas:
        """Nothing anywhere: background without depth, in full sun."""
        return Canvas(
            rgb=np.zeros((height, width, 3), np.float32),
            label=np.full((height, width), BACKGROUND, np.uint8),
            depth_m=np.full((height, width), np.inf, np.float32),
            sun=np.ones((height, width), np.float32),
            gloss=np.zeros((height, width), np.float32),
            hole_chance=np.zeros((height, width), np.float32),
        )

    def below(self, top: int) -> Canvas:
        """A view of the rows from `top` down; painting there paints here."""
        return Canvas(
            rgb=self.rgb[top:],
            label=self.label[top:],
            depth_m=self.depth_m[top:],
            sun=self.sun[top:],
            gloss=self.gloss[top:],
            hole_chance=self.hole_chance[top:],
        )
