# SPDX-License-Identifier: Apache-2.0
"""Draws the features of a road at random, piece by piece: a road is endless, and its pieces are made on demand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np

from road_kd_seg.synthetic.scene import (
    SEGMENT_M,
    Billboard,
    BillboardKind,
    Defect,
    Filling,
    Mark,
    MarkKind,
    Rgb,
    Road,
    Segment,
    Solid,
    SolidKind,
    Stain,
    StainKind,
)
from road_kd_seg.synthetic.textures import BLOB_KINDS
from road_kd_seg.synthetic.traffic import draw_traffic

_STAINS: tuple[StainKind, ...] = ("wet", "shadow", "oil", "patch", "manhole")
_FILLINGS: tuple[Filling, ...] = ("dark", "gravel", "sand")
_SOLIDS: tuple[SolidKind, ...] = ("box", "cone", "barrel", "kerb", "rock")
_BILLBOARDS: tuple[BillboardKind, ...] = ("tree", "bush", "post", "lamp")

Option = TypeVar("Option")


def _pick(rng: np.random.Generator, options: Sequence[Option], weights: Sequence[float] | None = None) -> Option:
    return options[int(rng.choice(len(options), p=weights))]


@lru_cache(maxsize=64)
def build_segment(road: Road, index: int) -> Segment:
    """The features between s = index * SEGMENT_M and the next; the same at every call."""
    rng = np.random.default_rng([road.seed, 2, index + 1_000_000])
    start_m = index * SEGMENT_M
    if road.style == "close_up":
        return _close_up_segment(road, rng, index)
    return Segment(
        _marks(road, rng, start_m, index),
        _stains(road, rng, start_m),
        _defects(road, rng, start_m),
        _solids(road, rng, start_m) + _traffic(road, index),
        _billboards(road, rng, start_m),
    )


def _traffic(road: Road, index: int) -> tuple[Solid, ...]:
    return () if road.surroundings is None else draw_traffic(road, road.surroundings, index)


def _marks(road: Road, rng: np.random.Generator, start_m: float, index: int) -> tuple[Mark, ...]:
    if rng.random() > (0.45 if road.style == "urban" else 0.15):
        return ()
    across_m = road.num_lanes * road.lane_width_m
    s_m = start_m + rng.uniform(2.0, 6.0)
    lane_t_m = (rng.integers(road.num_lanes) + 0.5) * road.lane_width_m - across_m / 2
    choice = _pick(rng, ("zebra", "stop", "arrow", "text"), (0.25, 0.2, 0.35, 0.2))
    if choice == "zebra":
        zebra = Mark(MarkKind.ZEBRA, s_m, 0.0, rng.uniform(2.5, 4.0), across_m - 0.3)
        return (zebra, Mark(MarkKind.STOP_LINE, s_m - 3.2, lane_t_m, rng.uniform(0.25, 0.45), road.lane_width_m - 0.2))
    if choice == "stop":
        return (Mark(MarkKind.STOP_LINE, s_m, lane_t_m, rng.uniform(0.25, 0.5), road.lane_width_m - 0.2),)
    if choice == "arrow":
        kind = (MarkKind.ARROW_AHEAD, MarkKind.ARROW_RIGHT, MarkKind.ARROW_LEFT)[rng.integers(3)]
        return (Mark(kind, s_m, lane_t_m, rng.uniform(2.5, 4.5), rng.uniform(0.8, 1.1)),)
    text = _pick(rng, ("30", "50", "STOP", "BUS", "SLOW", "20"))
    return (Mark(MarkKind.TEXT, s_m, lane_t_m, rng.uniform(1.8, 3.0), rng.uniform(1.2, 1.9), text),)


def _stains(road: Road, rng: np.random.Generator, start_m: float) -> tuple[Stain, ...]:
    stains = []
    sunny = road.light.shadow_gain < 0.6
    for _ in range(rng.poisson(1.8)):
        kind = _pick(rng, _STAINS, (0.4, 0.2, 0.15, 0.17, 0.08))
        length_m, width_m = np.exp(rng.normal((-0.1, -0.2), 0.5))
        if kind == "patch":
            length_m, width_m = rng.uniform(1.0, 4.0), rng.uniform(0.6, 1.6)
        elif kind == "manhole":
            length_m = width_m = rng.uniform(0.6, 0.75)
        elif kind == "shadow":
            length_m, width_m = 0.7 * length_m, 0.7 * width_m
        yaw_rad = rng.normal(0, 0.04) if kind == "patch" else rng.uniform(0, math.pi)
        stains.append(
            _stain(kind, rng, start_m, rng.uniform(-1, 1) * road.half_width_m, float(length_m), float(width_m), yaw_rad)
        )
    if sunny and rng.random() < 0.35:
        side_m = rng.choice([-1.0, 1.0]) * road.half_width_m * rng.uniform(0.4, 1.1)
        stains.append(
            _stain("foliage", rng, start_m, side_m, rng.uniform(2.5, 6), rng.uniform(2.5, 6), rng.uniform(0, 3))
        )
    return tuple(stains)


def _stain(
    kind: StainKind,
    rng: np.random.Generator,
    start_m: float,
    t_m: float,
    length_m: float,
    width_m: float,
    yaw_rad: float,
) -> Stain:
    s_m = start_m + rng.uniform(0, SEGMENT_M)
    return Stain(
        kind, int(rng.integers(BLOB_KINDS)), s_m, float(t_m), length_m, width_m, yaw_rad, rng.uniform(0.5, 1.0)
    )


def _defects(road: Road, rng: np.random.Generator, start_m: float) -> tuple[Defect, ...]:
    inner_m = road.half_width_m - 0.5
    potholes = [
        _pothole(rng, start_m + rng.uniform(0, SEGMENT_M), rng.uniform(-1, 1) * inner_m, rng.uniform(0.17, 0.55), 0.006)
        for _ in range(rng.poisson(1.7 * road.defect_rate))
    ]
    cracks = [
        Defect(
            "crack",
            int(rng.integers(2**31)),
            start_m + rng.uniform(0, SEGMENT_M),
            rng.uniform(-1, 1) * inner_m,
            rng.uniform(0.6, 1.5),
            rng.uniform(0.020, 0.042),
            rng.uniform(0.008, 0.02),
            "dark",
            0.006,
        )
        for _ in range(rng.poisson(0.7 * road.defect_rate))
    ]
    return tuple(_drop_overlaps(potholes + cracks))


def _pothole(rng: np.random.Generator, s_m: float, t_m: float, radius_m: float, resolution_m: float) -> Defect:
    filling = _pick(rng, _FILLINGS, (0.4, 0.4, 0.2))
    depth_m = float(np.clip(radius_m * rng.uniform(0.12, 0.35), 0.02, 0.10))
    seed = int(rng.integers(2**31))
    return Defect("pothole", seed, s_m, t_m, 1.7 * radius_m, radius_m, depth_m, filling, resolution_m)


def _drop_overlaps(defects: list[Defect]) -> list[Defect]:
    kept: list[Defect] = []
    for d in defects:
        if all(math.hypot(d.s_m - o.s_m, d.t_m - o.t_m) > 0.8 * (d.reach_m + o.reach_m) for o in kept):
            kept.append(d)
    return kept


_PAINTS: tuple[Rgb, ...] = (
    (0.45, 0.32, 0.20), (0.25, 0.25, 0.27), (0.55, 0.08, 0.06), (0.10, 0.18, 0.45),
    (0.60, 0.58, 0.55), (0.12, 0.30, 0.14), (0.62, 0.45, 0.08), (0.06, 0.06, 0.07),
)  # fmt: skip


def _solids(road: Road, rng: np.random.Generator, start_m: float) -> tuple[Solid, ...]:
    solids: list[Solid] = []
    for _ in range(rng.poisson(0.7 * road.solid_rate)):
        kind = _pick(rng, _SOLIDS, (0.32, 0.28, 0.12, 0.16, 0.12))
        s_m, t_m = start_m + rng.uniform(0, SEGMENT_M), rng.uniform(-1, 1) * (road.half_width_m + 0.2)
        size_m, rgb = _solid_look(kind, rng)
        reach_m = math.hypot(size_m[0], size_m[1]) / 2
        if road.clear_path and abs(t_m - road.ego_t_m) < reach_m + 0.6:
            continue
        if all(
            math.hypot(s_m - o.s_m, t_m - o.t_m) > reach_m + math.hypot(o.size_m[0], o.size_m[1]) / 2 for o in solids
        ):
            solids.append(Solid(kind, s_m, t_m, rng.uniform(-math.pi, math.pi), size_m, rgb))
    return tuple(solids)


def _solid_look(kind: SolidKind, rng: np.random.Generator) -> tuple[tuple[float, float, float], Rgb]:
    if kind == "box":
        length_m, width_m, height_m = rng.uniform(0.15, 0.9, 3)
        return (length_m, width_m, height_m), _PAINTS[rng.integers(len(_PAINTS))]
    if kind == "cone":
        height_m = rng.uniform(0.3, 0.75)
        return (0.5 * height_m, 0.5 * height_m, height_m), (0.80, 0.17, 0.03)
    if kind == "barrel":
        height_m = rng.uniform(0.6, 1.0)
        return (0.6 * height_m, 0.6 * height_m, height_m), ((0.75, 0.16, 0.04), (0.10, 0.20, 0.45), (0.3, 0.3, 0.3))[
            rng.integers(3)
        ]
    if kind == "kerb":
        return (rng.uniform(0.5, 1.0), rng.uniform(0.15, 0.3), rng.uniform(0.12, 0.25)), (0.42, 0.41, 0.39)
    diameter_m = rng.uniform(0.2, 0.6)
    return (diameter_m, diameter_m * rng.uniform(0.6, 1), diameter_m * rng.uniform(0.5, 0.8)), (0.33, 0.31, 0.28)


def _billboards(road: Road, rng: np.random.Generator, start_m: float) -> tuple[Billboard, ...]:
    boards = []
    for side in (-1.0, 1.0):
        for _ in range(rng.poisson(0.8 if road.wall else 1.6)):
            kind = _pick(rng, _BILLBOARDS, (0.35, 0.35, 0.2, 0.1))
            beyond_m = rng.uniform(0.8, 2.0) if kind in ("post", "lamp") else 1.5 + rng.gamma(1.5, 3.5)
            if road.wall and kind in ("tree", "bush"):
                beyond_m = rng.uniform(1.2, 2.2)
            height_m = {
                "tree": rng.uniform(4, 9),
                "bush": rng.uniform(0.7, 2.2),
                "post": 1.0,
                "lamp": rng.uniform(5, 7),
            }[kind]
            width_m = {"tree": 0.75 * height_m, "bush": 1.4 * height_m, "post": 0.14, "lamp": 1.4}[kind]
            s_m = start_m + rng.uniform(0, SEGMENT_M)
            shape = int(rng.integers(6))
            boards.append(Billboard(kind, shape, s_m, side * (road.half_width_m + beyond_m), width_m, height_m))
    return tuple(boards)


def _close_up_segment(road: Road, rng: np.random.Generator, index: int) -> Segment:
    """One big pothole in front of a camera at s = 0, and little else."""
    if index != 0:
        return Segment((), (), (), (), ())
    defects = []
    if rng.random() < 0.92:
        radius_m = rng.uniform(0.09, 0.28)
        defects.append(_pothole(rng, rng.uniform(0.75, 1.5), rng.uniform(-0.5, 0.5), radius_m, 0.0025))
    if rng.random() < 0.2:
        seed = int(rng.integers(2**31))
        crack = Defect("crack", seed, rng.uniform(0.8, 1.8), rng.uniform(-0.8, 0.8), 0.7, 0.02, 0.01, "dark", 0.0025)
        defects = _drop_overlaps([*defects, crack])
    stains = []
    if rng.random() < 0.35:
        kind = _pick(rng, _STAINS[:3])
        t_m, length_m, width_m = rng.uniform(-0.8, 0.8), rng.uniform(0.2, 0.7), rng.uniform(0.2, 0.7)
        stains.append(_stain(kind, rng, 0.0, t_m, length_m, width_m, rng.uniform(0, 3)))
    return Segment((), tuple(stains), tuple(defects), (), ())
