# SPDX-License-Identifier: Apache-2.0
"""Night, rain and snow, in color; what they do to depth is `stereo_faults`. Functions change the canvas they get."""

from __future__ import annotations

import cv2
import numpy as np

from road_kd_seg.synthetic import textures
from road_kd_seg.synthetic.arrays import F32, f32
from road_kd_seg.synthetic.camera import View
from road_kd_seg.synthetic.canvas import Canvas, Ground, blend, spread
from road_kd_seg.synthetic.layers import smooth_layer
from road_kd_seg.synthetic.scene import Road, Weather
from road_kd_seg.taxonomy import LANE_MARKING, ROAD

_SNOW_RGB = (0.80, 0.82, 0.86)
_TRACK_M = (0.75, 0.28)
"""Half the distance between wheel tracks, and half the width of one."""
_LAMP_EVERY_M = 28.0
_LAMP_REACH_M = 7.0
_LAMP_RGB = (1.0, 0.72, 0.38)
_HEADLIGHT_RGB = (1.0, 0.97, 0.90)


def cover_with_snow(canvas: Canvas, ground: Ground, road: Road, weather: Weather) -> None:
    """Snow beside the road first, then between the wheel tracks; paint under it is not seen, and not labeled."""
    if not weather.snow_cover:
        return
    s_m, t_m = ground.s_m + np.float32(road.texture_offset_m[0]), ground.t_m + np.float32(road.texture_offset_m[1])
    drifts = smooth_layer(textures.cloud(1), s_m, t_m, 0.015)
    off_track_m = np.abs(np.abs(ground.t_m - np.float32(road.ego_t_m)) - np.float32(_TRACK_M[0])) - np.float32(
        _TRACK_M[1]
    )
    beside_m = np.abs(ground.t_m) - np.float32(road.half_width_m)
    amount = np.float32(2.2 * weather.snow_cover - 1.3) + np.float32(0.45) * drifts
    amount += np.clip(off_track_m * 2, 0, np.float32(0.5)) + np.clip(beside_m * 3, 0, np.float32(1.2))
    share = f32(np.clip(amount, 0, np.float32(0.97)))
    sparkle = 1 + np.float32(0.05) * drifts
    blend(canvas.rgb, f32(cv2.merge([sparkle * np.float32(c) for c in _SNOW_RGB])), share)
    canvas.label[(canvas.label == LANE_MARKING) & (share > 0.6)] = ROAD


def wet_the_ground(canvas: Canvas, ground: Ground, road: Road, weather: Weather) -> None:
    """A film of water: dark, mirroring, and in places too smooth for stereo."""
    if not weather.wet:
        return
    film = smooth_layer(textures.cloud(2), ground.s_m, ground.t_m, 0.012)
    film = f32(np.clip(np.float32(weather.wet) * (np.float32(0.75) + np.float32(0.35) * film), 0, 1))
    canvas.rgb *= spread(f32(1 - np.float32(0.45) * film))
    np.maximum(canvas.gloss, np.float32(0.8) * film, out=canvas.gloss)
    grazing = np.clip(ground.depth_m * np.float32(1 / 12), 0, 1)
    np.maximum(canvas.hole_chance, f32(film * grazing * np.float32(0.6)), out=canvas.hole_chance)


def darken(canvas: Canvas, view: View, road: Road, weather: Weather) -> None:
    """Night: what is left of the sky's light, the vehicle's headlights, and lamps along the street."""
    if not weather.night:
        return
    x, y, _ = view.directions(0, 0, view.camera.height, view.camera.width)
    depth_m = np.minimum(canvas.depth_m, np.float32(200))
    ambient = np.float32(0.02 + 0.98 * (1 - weather.night) ** 3)
    aside = (np.arange(view.camera.width, dtype=np.float32) - np.float32(view.camera.cx)) / np.float32(view.camera.fx)
    beam = np.exp(-((aside / np.float32(0.55)) ** 2))[None, :]
    headlight = beam * np.float32(0.9 * weather.night) / (1 + (depth_m * np.float32(1 / 6)) ** 2)
    headlight *= depth_m < 150
    light = [ambient + headlight * np.float32(c) for c in _HEADLIGHT_RGB]
    if weather.street_lamps:
        along_m = depth_m * y + np.float32(view.pose.y_m + road.texture_offset_m[0])
        along_m -= np.rint(along_m * np.float32(1 / _LAMP_EVERY_M)) * np.float32(_LAMP_EVERY_M)
        across_m = depth_m * x + np.float32(view.pose.x_m - road.half_width_m)
        pool = np.exp(-(along_m**2 + (across_m * np.float32(0.6)) ** 2) * np.float32(0.5 / _LAMP_REACH_M**2))
        pool *= np.float32(0.45 * weather.night) * (depth_m < 60)
        light = [one + pool * np.float32(c) for one, c in zip(light, _LAMP_RGB, strict=True)]
    canvas.rgb *= f32(cv2.merge([f32(np.broadcast_to(one, depth_m.shape)) for one in light]))


def precipitate(rgb: F32, weather: Weather, rng: np.random.Generator) -> None:
    """Streaks of rain, drops on the lens, and snowflakes, before the exposure; (H, W, 3) linear light, in place."""
    if not (weather.rain or weather.snowfall):
        return
    height, width = rgb.shape[:2]
    scale = width / 1024
    haze = np.float32(0.5 * np.mean(rgb[: height // 3]) + 0.5 * np.mean(rgb))
    veil = np.zeros((height, width), np.uint8)
    for _ in range(round(260 * weather.rain)):
        column, row = int(rng.integers(width)), int(rng.integers(height))
        length = rng.uniform(8, 45) * scale
        end = (round(column + rng.normal(0, 0.06) * length), round(row + length))
        cv2.line(veil, (column, row), end, int(rng.integers(30, 90)), 1, cv2.LINE_AA)
    for _ in range(round(1100 * weather.snowfall)):
        center = (int(rng.integers(width)), int(rng.integers(height)))
        radius = max(1, round(float(rng.gamma(1.6, 1.1)) * scale))
        cv2.circle(veil, center, radius, int(rng.integers(90, 230)), -1, cv2.LINE_AA)
    share = f32(cv2.GaussianBlur(veil, (0, 0), max(0.6, 0.9 * scale))) * np.float32(1 / 255)
    blend(rgb, np.full_like(rgb, np.float32(1.6) * haze), share)
    if weather.rain:
        _wet_the_lens(rgb, round(weather.rain * float(rng.integers(0, 12))), scale, rng)


def _wet_the_lens(rgb: F32, drops: int, scale: float, rng: np.random.Generator) -> None:
    height, width = rgb.shape[:2]
    blurred = None
    for _ in range(drops):
        if blurred is None:
            small = cv2.resize(rgb, (width // 8, height // 8), interpolation=cv2.INTER_AREA)
            blurred = f32(cv2.resize(cv2.GaussianBlur(small, (0, 0), 2), (width, height)))
        radius = round(rng.uniform(7, 34) * scale)
        column, row = int(rng.integers(width)), int(rng.integers(height))
        top, bottom, left, right = max(0, row - radius), row + radius, max(0, column - radius), column + radius
        region = rgb[top:bottom, left:right]
        v = np.arange(top, min(bottom, height), dtype=np.float32)[:, None] - row
        u = np.arange(left, min(right, width), dtype=np.float32)[None, :] - column
        edge = np.clip((1 - np.hypot(u, v) / np.float32(radius)) * 4, 0, 1)
        # A drop is a lens: it shows the scene upside down.
        blend(region, f32(blurred[top:bottom, left:right][::-1]), f32(edge * np.float32(0.85)))
