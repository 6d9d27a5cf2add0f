# SPDX-License-Identifier: Apache-2.0
"""What stands on and along a varied road: cars, people, houses and parapets, made of simple solids."""

from __future__ import annotations

import math

import numpy as np

from road_kd_seg.synthetic.scene import SEGMENT_M, Rgb, Road, Solid, SolidKind, Surroundings
from road_kd_seg.taxonomy import BACKGROUND

_CAR_RGB: tuple[Rgb, ...] = (
    (0.55, 0.55, 0.56), (0.04, 0.04, 0.05), (0.70, 0.70, 0.68), (0.22, 0.23, 0.25),
    (0.40, 0.05, 0.04), (0.05, 0.10, 0.28), (0.30, 0.26, 0.18), (0.08, 0.16, 0.10),
)  # fmt: skip
_CLOTHES_RGB: tuple[Rgb, ...] = (
    (0.05, 0.05, 0.06), (0.10, 0.12, 0.25), (0.45, 0.40, 0.34), (0.50, 0.08, 0.07), (0.20, 0.24, 0.15),
    (0.70, 0.62, 0.10), (0.35, 0.35, 0.36),
)  # fmt: skip
_SKIN_RGB: tuple[Rgb, ...] = ((0.50, 0.33, 0.24), (0.30, 0.18, 0.12), (0.14, 0.08, 0.05))
_HOUSE_RGB: tuple[Rgb, ...] = ((0.45, 0.40, 0.33), (0.30, 0.14, 0.10), (0.50, 0.49, 0.47), (0.34, 0.33, 0.31))
_FAR_M = 45.0


def draw_traffic(road: Road, surroundings: Surroundings, index: int) -> tuple[Solid, ...]:
    """Solids of one segment of road; the same at every call."""
    rng = np.random.default_rng([road.seed, 10, index + 1_000_000])
    start_m = index * SEGMENT_M
    solids: list[Solid] = []
    if rng.random() < surroundings.cars:
        solids += _vehicle(road, rng, start_m + rng.uniform(0, SEGMENT_M))
    for _ in range(rng.poisson(surroundings.people)):
        solids += _person(road, rng, start_m + rng.uniform(0, SEGMENT_M))
    for side in (-1.0, 1.0):
        if rng.random() < surroundings.houses:
            solids.append(_house(road, rng, start_m, side))
        if surroundings.parapet:
            solids += _parapet(road, start_m, side)
    return tuple(solids)


class _Group:
    """Parts that share a foot and a direction."""

    def __init__(self, s_m: float, t_m: float, yaw_rad: float) -> None:
        self.s_m, self.t_m, self.yaw_rad = s_m, t_m, yaw_rad
        self.solids: list[Solid] = []

    def add(
        self,
        kind: SolidKind,
        size_m: tuple[float, float, float],
        rgb: Rgb,
        base_m: float = 0.0,
        along_m: float = 0.0,
        aside_m: float = 0.0,
    ) -> None:
        """A part, moved along and across the group's own direction."""
        cos_y, sin_y = math.cos(self.yaw_rad), math.sin(self.yaw_rad)
        t_m = self.t_m + cos_y * along_m - sin_y * aside_m
        s_m = self.s_m + sin_y * along_m + cos_y * aside_m
        self.solids.append(Solid(kind, s_m, t_m, self.yaw_rad, size_m, rgb, base_m, _FAR_M))


def _vehicle(road: Road, rng: np.random.Generator, s_m: float) -> list[Solid]:
    lane = int(rng.integers(road.num_lanes))
    t_m = (lane + 0.5) * road.lane_width_m - road.num_lanes * road.lane_width_m / 2 + rng.normal(0, 0.3)
    if rng.random() < 0.35:  # parked
        t_m = float(rng.choice([-1.0, 1.0])) * (road.half_width_m - 0.9 + rng.normal(0, 0.3))
    group = _Group(s_m, t_m, math.pi / 2 - road.heading_rad(s_m) + rng.normal(0, 0.03))
    rgb = _CAR_RGB[rng.integers(len(_CAR_RGB))]
    kind = rng.random()
    if kind < 0.68:
        length, width, waist, roof = rng.uniform(3.6, 4.9), rng.uniform(1.65, 1.9), 0.62, rng.uniform(0.5, 0.75)
        group.add("car", (length, width, waist), rgb, 0.24)
        group.add("cabin", (0.55 * length, 0.88 * width, roof), rgb, 0.24 + waist, -0.06 * length)
    elif kind < 0.88:
        length, width = rng.uniform(4.6, 5.8), rng.uniform(1.85, 2.05)
        group.add("car", (length, width, 0.8), rgb, 0.26)
        group.add("cabin", (0.93 * length, 0.96 * width, rng.uniform(0.9, 1.2)), rgb, 1.06, -0.03 * length)
    else:
        length, width = rng.uniform(6.0, 9.0), rng.uniform(2.2, 2.5)
        group.add("block", (length, width, rng.uniform(2.0, 2.7)), (0.6, 0.6, 0.58), 0.95)
        group.add("car", (length, 0.95 * width, 0.45), (0.06, 0.06, 0.06), 0.5)
    for along in (-0.31, 0.31):
        for aside in (-0.44, 0.44):
            group.add("block", (0.60, 0.20, 0.60), (0.02, 0.02, 0.02), 0.0, along * length, aside * width)
    return group.solids


def _person(road: Road, rng: np.random.Generator, s_m: float) -> list[Solid]:
    t_m = rng.uniform(-1.2, 1.2) * (road.half_width_m + 0.6)
    group = _Group(s_m, t_m, rng.uniform(-math.pi, math.pi))
    tall = rng.uniform(0.62, 1.08) if rng.random() < 0.2 else rng.uniform(0.92, 1.08)
    legs, coat = (_CLOTHES_RGB[i] for i in rng.integers(len(_CLOTHES_RGB), size=2))
    for aside, along in ((-0.09, 0.10), (0.09, -0.08)):
        group.add("limb", (0.17 * tall, 0.17 * tall, 0.84 * tall), legs, 0.0, along, aside)
    group.add("limb", (0.42 * tall, 0.42 * tall, 0.66 * tall), coat, 0.80 * tall)
    group.add("head", (0.20 * tall, 0.18 * tall, 0.26 * tall), _SKIN_RGB[rng.integers(len(_SKIN_RGB))], 1.45 * tall)
    return group.solids


def _house(road: Road, rng: np.random.Generator, start_m: float, side: float) -> Solid:
    width, deep, height = rng.uniform(5, 8), rng.uniform(5, 9), float(rng.choice([3.2, 6.0, 9.0]))
    t_m = side * (road.half_width_m + rng.uniform(3.0, 14.0) + deep / 2)
    rgb = _HOUSE_RGB[rng.integers(len(_HOUSE_RGB))]
    return Solid(
        "house", start_m + SEGMENT_M / 2, t_m, math.pi / 2, (width, deep, height), rgb, 0.0, _FAR_M, BACKGROUND
    )


def _parapet(road: Road, start_m: float, side: float) -> list[Solid]:
    t_m, size_m = side * (road.half_width_m - 0.15), (SEGMENT_M / 2, 0.25, 0.95)
    return [
        Solid(
            "block", s_m, t_m, math.pi / 2 - road.heading_rad(s_m), size_m, (0.38, 0.37, 0.35), 0.0, _FAR_M, BACKGROUND
        )
        for s_m in (start_m + SEGMENT_M / 4, start_m + 3 * SEGMENT_M / 4)
    ]
