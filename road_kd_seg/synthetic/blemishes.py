# SPDX-License-Identifier: Apache-2.0
"""Stains, potholes and cracks. Functions change the canvas they get; h and w are the size of a region of it."""

from __future__ import annotations

import math

import numpy as np

from road_kd_seg.synthetic import textures
from road_kd_seg.synthetic.arrays import F32
from road_kd_seg.synthetic.camera import View
from road_kd_seg.synthetic.canvas import Canvas, Ground, blend, fade
from road_kd_seg.synthetic.defects import build_patch
from road_kd_seg.synthetic.scene import Defect, Road, Stain
from road_kd_seg.taxonomy import BACKGROUND, NEGATIVE_OBSTACLE

_FADES_M = {"pothole": (8.5, 10.5), "crack": (6.0, 7.5)}
"""Whole up to the first, gone beyond the second: what nobody can see is not labeled either."""
_PARALLAX_STEPS = 12


def paint_stain(canvas: Canvas, ground: Ground, stain: Stain) -> None:
    """Something flat and dark. No stain changes labels or depth; wet ones make depth fail."""
    reach_m = math.hypot(stain.length_m, stain.width_m) / 2
    region = ground.region(stain.s_m, stain.t_m, reach_m, reach_m)
    if region is None:
        return
    ds, dt = ground.s_m[region] - np.float32(stain.s_m), ground.t_m[region] - np.float32(stain.t_m)
    cos_y, sin_y = np.float32(math.cos(stain.yaw_rad)), np.float32(math.sin(stain.yaw_rad))
    u = (cos_y * ds + sin_y * dt) / np.float32(stain.length_m / 2)
    v = (cos_y * dt - sin_y * ds) / np.float32(stain.width_m / 2)
    strength = np.float32(stain.strength)
    if stain.kind == "manhole":
        radius = np.sqrt(u * u + v * v)
        studs = np.float32(0.12) * np.sign(np.sin(u * 30) * np.sin(v * 30))
        metal = np.float32(0.75) + studs - np.float32(0.4) * (np.abs(radius - 0.93) < 0.05)
        canvas.rgb[region] *= np.where(radius < 1, metal, 1)[..., None]
        return
    if stain.kind == "patch":
        edge = np.maximum(np.abs(u), np.abs(v))
        amount = np.clip((1 - edge) / 0.04, 0, 1) * strength
        canvas.rgb[region] *= (1 - np.float32(0.4) * amount)[..., None]
        return
    tile = textures.foliage_shadow(stain.shape) if stain.kind == "foliage" else textures.blob(stain.shape)
    amount = textures.sample_mask(tile, (u + 1) * 128, (v + 1) * 128) * strength
    if stain.kind in ("shadow", "foliage"):
        canvas.sun[region] *= 1 - amount
    elif stain.kind == "oil":
        canvas.rgb[region] *= (1 - np.float32(0.55) * amount)[..., None]
    else:
        canvas.rgb[region] *= (1 - np.float32(0.6) * amount)[..., None]
        np.maximum(canvas.gloss[region], amount, out=canvas.gloss[region])
        np.maximum(canvas.hole_chance[region], amount, out=canvas.hole_chance[region])


def paint_defect(canvas: Canvas, ground: Ground, view: View, road: Road, defect: Defect) -> None:
    """A pothole or crack, with the parallax of its depth: the near rim hides, the far wall shows."""
    region = ground.region(defect.s_m, defect.t_m, defect.reach_m, defect.reach_m)
    if region is None:
        return
    presence = fade(ground.depth_m[region], *_FADES_M[defect.kind])
    presence *= canvas.label[region] != BACKGROUND
    if not presence.any():
        return
    patch = build_patch(defect, road.light, road.asphalt_rgb)
    per_m = np.float32(1 / defect.resolution_m)
    center = np.float32(patch.depth_m.shape[0] / 2 - 0.5)
    u = (ground.t_m[region] - np.float32(defect.t_m)) * per_m + center
    v = (ground.s_m[region] - np.float32(defect.s_m)) * per_m + center
    open_here = textures.sample_mask(patch.opening, u, v) > 0.5
    open_here &= presence > 0
    # Per meter below the road, a ray goes this far on, in texels.
    height_m = np.float32(view.pose.height_m)
    ahead_m = ground.s_m[region] - np.float32(view.pose.y_m)
    aside_m = ground.x_m[region] - np.float32(view.pose.x_m)
    bend = np.float32(math.tan(road.heading_rad(defect.s_m)))
    run_u, run_v = (aside_m - bend * ahead_m) * (per_m / height_m), ahead_m * (per_m / height_m)
    below_m = _march(patch.depth_m, u, v, run_u, run_v)
    below_m *= open_here
    hit_u, hit_v = u + below_m * run_u, v + below_m * run_v
    crumbs = np.minimum(textures.sample_mask(patch.cover, u, v), np.float32(0.75))
    cover = presence * np.where(open_here, np.float32(1), crumbs)
    blend(canvas.rgb[region], textures.sample(patch.rgb, hit_u, hit_v), cover)
    canvas.depth_m[region] *= 1 + below_m * presence / height_m
    canvas.label[region][open_here & (presence > 0.5)] = NEGATIVE_OBSTACLE


def _march(depth_m: F32, u: F32, v: F32, run_u: F32, run_v: F32) -> F32:
    """How far below the road each ray meets the hollow's surface; (h, w), meters."""
    deepest_m = float(depth_m.max())
    below_m = np.full(u.shape, np.float32(deepest_m))
    found = np.zeros(u.shape, bool)
    previous_gap_m = textures.sample(depth_m, u, v)
    step_m = np.float32(deepest_m / _PARALLAX_STEPS)
    for i in range(1, _PARALLAX_STEPS + 1):
        level_m = step_m * i
        gap_m = textures.sample(depth_m, u + level_m * run_u, v + level_m * run_v) - level_m
        crosses = (gap_m <= 0) & ~found
        share = previous_gap_m / np.maximum(previous_gap_m - gap_m, np.float32(1e-6))
        below_m = np.where(crosses, level_m - step_m * (1 - np.clip(share, 0, 1)), below_m)
        found |= crosses
        previous_gap_m = gap_m
    return below_m
