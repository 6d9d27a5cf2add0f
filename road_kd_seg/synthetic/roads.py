# SPDX-License-Identifier: Apache-2.0
"""Draws a road, its light and its camera rig at random."""

from __future__ import annotations

import math

import numpy as np

from road_kd_seg.synthetic.scene import LaneLine, Light, Rgb, Road, Verge
from road_kd_seg.synthetic.textures import ASPHALT_KINDS


def draw_light(rng: np.random.Generator) -> Light:
    """Sun or clouds, morning or noon, warm or cold."""
    sunny = float(np.clip(rng.beta(0.7, 0.7), 0.02, 0.98))
    elevation, azimuth = math.radians(rng.uniform(18, 68)), rng.uniform(0, 2 * math.pi)
    to_sun = (math.cos(elevation) * math.sin(azimuth), math.cos(elevation) * math.cos(azimuth), math.sin(elevation))
    low = 1 - math.sin(elevation)
    warm = np.array([1.0 + 0.18 * low, 1.0, 1.0 - 0.35 * low])
    cold = np.array([0.93, 1.0, 1.10]) if sunny > 0.4 else np.array([0.98, 1.0, 1.03])
    # Direct light on flat ground grows with sunny; the sky's share shrinks to a fifth on a clear day.
    sun = warm * (0.85 * sunny / math.sin(elevation))
    sky = cold * (1.0 - 0.78 * sunny)
    overcast = np.array([0.78, 0.80, 0.83])
    zenith = sunny * np.array([0.20, 0.36, 0.72]) + (1 - sunny) * overcast
    horizon = sunny * np.array([0.72, 0.80, 0.92]) + (1 - sunny) * 1.05 * overcast
    return Light(to_sun, _rgb(sun), _rgb(sky), _rgb(zenith), _rgb(horizon))


def _rgb(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Rgb:
    r, g, b = values.tolist()
    return (r, g, b)


def draw_road(seed: int, *, clear_path: bool, close_up: bool) -> Road:
    """A road that depends on the seed only."""
    rng = np.random.default_rng([seed, 1])
    light = draw_light(rng)
    urban = rng.random() < 0.45
    wall = urban and rng.random() < 0.7
    num_lanes = 1 if close_up else int(rng.choice([1, 2, 3], p=[0.15, 0.65, 0.2]))
    lane_width_m = rng.uniform(2.7, 3.5) if num_lanes > 1 else rng.uniform(3.2, 4.5)
    ego_lane = int(rng.integers(num_lanes))
    ego_t_m = (ego_lane + 0.5) * lane_width_m - num_lanes * lane_width_m / 2 + rng.normal(0, 0.25)
    lines = () if close_up else _draw_lines(rng, num_lanes, lane_width_m)
    brightness = rng.uniform(0.28, 0.50) if close_up else rng.uniform(0.12, 0.34)
    tint = np.array([1.0, 1.0, 1.0]) + rng.normal(0, 0.035) * np.array([1.0, 0.1, -1.0])
    verge = _draw_verge(rng, urban)
    dry = rng.random()
    grass_rgb = (1 - dry) * np.array([0.10, 0.17, 0.05]) + dry * np.array([0.26, 0.24, 0.10])
    return Road(
        seed=seed,
        style="close_up" if close_up else "urban" if urban else "rural",
        lane_width_m=30.0 if close_up else lane_width_m,
        num_lanes=num_lanes,
        ego_t_m=0.0 if close_up else ego_t_m,
        margin_m=rng.uniform(0.15, 0.8),
        bend_m=0.0 if wall or close_up else rng.uniform(0, 5.0),
        bend_length_m=rng.uniform(120, 300),
        bend_phase=rng.uniform(0, 2 * math.pi),
        lines=lines,
        paint_wear=rng.beta(1.3, 2.2),
        asphalt_kind=int(rng.integers(ASPHALT_KINDS)),
        asphalt_rgb=_rgb(brightness * tint),
        asphalt_px_m=rng.uniform(0.0012, 0.0030) if close_up else rng.uniform(0.0028, 0.0042),
        grain=rng.uniform(0.7, 1.7) if close_up else rng.uniform(0.35, 1.1),
        mottle=rng.uniform(0.02, 0.07) if close_up else rng.uniform(0.03, 0.14),
        texture_offset_m=(rng.uniform(0, 50), rng.uniform(0, 50)),
        verge=verge,
        verge_width_m=rng.uniform(1.2, 2.5) if verge == "pavement" else rng.uniform(0.3, 1.6),
        ground_rgb=_rgb(grass_rgb * rng.uniform(0.8, 1.3)),
        wall=wall,
        defect_rate=rng.uniform(0.6, 1.6),
        solid_rate=rng.uniform(0.6, 2.0) if rng.random() < 0.8 else 0.0,
        clear_path=clear_path,
        light=light,
    )


def _draw_verge(rng: np.random.Generator, urban: bool) -> Verge:
    if urban:
        return "pavement" if rng.random() < 0.8 else "gravel"
    return "gravel" if rng.random() < 0.5 else "grass"


def _draw_lines(rng: np.random.Generator, num_lanes: int, lane_width_m: float) -> tuple[LaneLine, ...]:
    half_m = num_lanes * lane_width_m / 2
    width_m = rng.uniform(0.10, 0.18)
    edge_gap_m = rng.choice([0.0, 0.0, 0.0, 1.5])
    lines = [LaneLine(side * half_m, width_m, 1.5, float(edge_gap_m), False) for side in (-1, 1)]
    if num_lanes > 1 and rng.random() < 0.12:
        lines = []
    yellow = bool(rng.random() < 0.25)
    for i in range(1, num_lanes):
        t_m = i * lane_width_m - half_m
        style = rng.choice(["dashed", "solid", "double", "mixed"], p=[0.5, 0.2, 0.18, 0.12])
        dash_m, gap_m = ((3.0, 3.0), (1.5, 1.5), (4.0, 5.0))[rng.integers(3)]
        if style in ("dashed", "solid"):
            lines.append(LaneLine(t_m, width_m, dash_m, gap_m if style == "dashed" else 0.0, yellow))
        else:
            apart_m = width_m / 2 + rng.uniform(0.05, 0.09)
            second_gap_m = 0.0 if style == "double" else gap_m
            lines.append(LaneLine(t_m - apart_m, width_m, dash_m, 0.0, yellow))
            lines.append(LaneLine(t_m + apart_m, width_m, dash_m, second_gap_m, yellow))
    return tuple(lines)
