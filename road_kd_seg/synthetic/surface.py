# SPDX-License-Identifier: Apache-2.0
"""The road's surface and what lies beside it, and the light on them. Functions change the canvas they get.

h and w are the size of the canvas below the horizon.
"""

from __future__ import annotations

import cv2
import numpy as np

from road_kd_seg.synthetic import textures
from road_kd_seg.synthetic.arrays import F32, f32
from road_kd_seg.synthetic.camera import View
from road_kd_seg.synthetic.canvas import Canvas, Ground, blend
from road_kd_seg.synthetic.layers import engrave, layer, resolved, smooth_layer
from road_kd_seg.synthetic.scene import Rgb, Road
from road_kd_seg.taxonomy import BACKGROUND, ROAD


def paint_surface(canvas: Canvas, ground: Ground, road: Road) -> None:
    """Asphalt and what lies beside it; sets labels and depth."""
    s_m = ground.s_m + np.float32(road.texture_offset_m[0])
    t_m = ground.t_m + np.float32(road.texture_offset_m[1])
    footprint_m = np.sqrt(ground.pixel_s_m * ground.pixel_t_m)
    broad = smooth_layer(textures.cloud(0), s_m, t_m, 0.025)
    streaks = smooth_layer(textures.cloud(1), s_m * np.float32(0.1), t_m, 0.02)
    medium = layer(textures.speckle(0), s_m, t_m, 0.012) * resolved(footprint_m, 0.03)
    mottle = np.float32(road.mottle)
    smooth = 1 + mottle * broad + np.float32(0.6) * mottle * streaks + np.float32(0.35) * mottle * medium
    asphalt = _flat(road.asphalt_rgb, smooth)
    engrave(asphalt, textures.asphalt(road.asphalt_kind), s_m, t_m, road.asphalt_px_m, footprint_m, road.grain)

    has_step = road.terrain is not None and road.terrain.kerb_m != 0
    ragged_m = 0.0 if road.verge == "pavement" or has_step else 0.09
    inward_m = np.float32(road.half_width_m) + np.float32(ragged_m) * (broad + 0.5 * medium) - np.abs(ground.t_m)
    on_road = inward_m > 0
    canvas.rgb[:] = asphalt
    if not on_road.all():
        share = np.clip(inward_m / np.maximum(ground.pixel_t_m, np.float32(0.02)) + np.float32(0.5), 0, 1)
        blend(canvas.rgb, _verge(ground, road, -inward_m, s_m, t_m, broad, footprint_m), 1 - share)
    on_road &= np.isfinite(ground.depth_m)
    canvas.label[on_road] = ROAD
    canvas.depth_m[:] = ground.depth_m
    if ground.face is not None:
        canvas.label[ground.face] = BACKGROUND
        canvas.rgb[ground.face] = np.float32(0.27) * smooth[ground.face][:, None]


def _flat(rgb: Rgb, gain: F32) -> F32:
    """One color times (h, w)."""
    return f32(cv2.merge([gain * np.float32(channel) for channel in rgb]))


def _verge(ground: Ground, road: Road, outward_m: F32, s_m: F32, t_m: F32, broad: F32, footprint_m: F32) -> F32:
    grass = _flat(road.ground_rgb, 1 + np.float32(0.16) * broad)
    engrave(grass, textures.grass(), s_m, t_m, 0.004, footprint_m, 1.0)
    if road.verge == "grass":
        return grass
    width_m = np.float32(road.verge_width_m)
    if road.verge == "gravel":
        strip = _flat((0.36, 0.33, 0.29), 1 + np.float32(0.10) * broad)
        engrave(strip, textures.gravel(), s_m, t_m, 0.004, footprint_m, 1.0)
        edge_m = width_m * (1 + np.float32(0.3) * broad)
    else:
        strip = _flat((1.0, 0.98, 0.94), _paving(ground, outward_m, s_m, broad))
        engrave(strip, textures.asphalt(0), s_m, t_m, 0.004, footprint_m, 0.5)
        edge_m = np.full_like(broad, width_m)
    inside = (edge_m - outward_m) / np.maximum(ground.pixel_t_m, np.float32(0.05)) + np.float32(0.5)
    blend(grass, strip, np.clip(inside, 0, 1))
    return grass


def _paving(ground: Ground, outward_m: F32, s_m: F32, broad: F32) -> F32:
    """Brightness of flush kerb stones, then slabs with joints."""
    is_kerb = outward_m < np.float32(0.16)
    joint_s = _joint(s_m, np.where(is_kerb, np.float32(1.0), np.float32(0.4)), ground.pixel_s_m)
    joint_t = np.where(is_kerb, np.float32(1), _joint(outward_m - np.float32(0.16), np.float32(0.4), ground.pixel_t_m))
    tone = np.where(is_kerb, np.float32(0.46), np.float32(0.34))
    return f32(tone * joint_s * joint_t * (1 + np.float32(0.08) * broad))


def _joint(position_m: F32, period_m: F32 | np.float32, pixel_m: F32) -> F32:
    cycles = position_m / period_m
    offset_m = np.abs(cycles - np.rint(cycles)) * period_m
    width_m = np.maximum(pixel_m, np.float32(0.012))
    return f32(1 - np.clip(1 - offset_m / width_m, 0, 1) * np.float32(0.45 * 0.012) / width_m)


def light_ground(canvas: Canvas, ground: Ground, view: View, road: Road) -> None:
    """Turn albedo into light: sun where it reaches, sky everywhere, and the sky's mirror image on wet road."""
    light = road.light
    sky = np.array(light.sky, np.float32)
    sun = np.array(light.sun, np.float32) * np.float32(light.to_sun[2])
    canvas.rgb *= cv2.merge([canvas.sun * b + a for a, b in zip(sky, sun, strict=True)])
    if canvas.gloss.any():
        glossy = canvas.gloss > 0
        sine = np.float32(view.pose.height_m) / (ground.depth_m[glossy] + np.float32(view.pose.height_m))
        mirrored = canvas.gloss[glossy] * (0.03 + 0.55 * (1 - sine) ** 4)
        reflected = np.array(_between(light.horizon, light.zenith), np.float32)
        canvas.rgb[glossy] += (reflected - canvas.rgb[glossy]) * mirrored[..., None]


def _between(a: Rgb, b: Rgb) -> Rgb:
    return (a[0] + b[0]) / 2, (a[1] + b[1]) / 2, (a[2] + b[2]) / 2
