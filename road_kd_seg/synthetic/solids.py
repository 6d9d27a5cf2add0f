# SPDX-License-Identifier: Apache-2.0
"""Obstacles as solids that rays hit: boxes, truncated cones and ellipsoids. h and w are the ray grid's size."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from road_kd_seg.synthetic import textures
from road_kd_seg.synthetic.arrays import F32, f32
from road_kd_seg.synthetic.scene import Solid

Xyz = tuple[F32, F32, F32]

_EPS = np.float32(1e-6)
_BOXES = ("box", "kerb", "car", "cabin", "block", "house")


class Hit(NamedTuple):
    """Where rays meet a solid."""

    scale: F32
    """(h, w) factor from ray direction to the nearest point; inf where there is none."""
    normal: Xyz
    """Outward unit normal, world axes; arbitrary where there is no hit."""
    local: Xyz
    """The point in the solid's own axes: along its length, its width, and up from its foot."""


def hit(solid: Solid, foot: tuple[float, float], origin: Xyz, direction: Xyz) -> Hit:
    """Intersect rays with a solid that stands at `foot`, world x and y.

    Args:
        solid: what stands there.
        foot: where.
        origin: ray origins in world coordinates, arrays that broadcast to (h, w).
        direction: ray directions, as origin.
    """
    cos_y, sin_y = np.float32(math.cos(solid.yaw_rad)), np.float32(math.sin(solid.yaw_rad))
    x, y = origin[0] - np.float32(foot[0]), origin[1] - np.float32(foot[1])
    o = (cos_y * x + sin_y * y, cos_y * y - sin_y * x, origin[2] - np.float32(solid.base_m))
    d = (
        cos_y * direction[0] + sin_y * direction[1],
        cos_y * direction[1] - sin_y * direction[0],
        direction[2],
    )
    if solid.kind in _BOXES:
        scale, n = _hit_box(o, d, solid.size_m)
    elif solid.kind in ("rock", "head"):
        scale, n = _hit_ellipsoid(o, d, solid.size_m)
    else:
        top_share = 0.12 if solid.kind == "cone" else 0.94
        scale, n = _hit_frustum(o, d, solid.size_m[0] / 2, top_share * solid.size_m[0] / 2, solid.size_m[2])
    reach = f32(np.where(np.isfinite(scale), scale, 0))
    local = (o[0] + reach * d[0], o[1] + reach * d[1], o[2] + reach * d[2])
    normal = (cos_y * n[0] - sin_y * n[1], sin_y * n[0] + cos_y * n[1], f32(n[2]))
    return Hit(scale, normal, local)


def _hit_box(o: Xyz, d: Xyz, size_m: tuple[float, float, float]) -> tuple[F32, Xyz]:
    low = (-size_m[0] / 2, -size_m[1] / 2, 0.0)
    high = (size_m[0] / 2, size_m[1] / 2, size_m[2])
    enters, leaves = [], []
    for o_i, d_i, low_i, high_i in zip(o, d, low, high, strict=True):
        safe_d = np.where(np.abs(d_i) < _EPS, _EPS, d_i)
        a, b = (np.float32(low_i) - o_i) / safe_d, (np.float32(high_i) - o_i) / safe_d
        enters.append(np.minimum(a, b))
        leaves.append(np.maximum(a, b))
    entry = np.maximum(np.maximum(enters[0], enters[1]), enters[2])
    leave = np.minimum(np.minimum(leaves[0], leaves[1]), leaves[2])
    scale = np.where((entry < leave) & (entry > 1e-4), entry, np.float32(np.inf))
    normal = tuple(np.where(entry == e, -np.sign(d_i), 0).astype(np.float32) for e, d_i in zip(enters, d, strict=True))
    return scale, (normal[0], normal[1], normal[2])


def _hit_ellipsoid(o: Xyz, d: Xyz, size_m: tuple[float, float, float]) -> tuple[F32, Xyz]:
    """An ellipsoid sunk a third of its height into the road."""
    rx, ry, rz = (np.float32(v) for v in (size_m[0] / 2, size_m[1] / 2, size_m[2] / 1.5))
    p = (o[0] / rx, o[1] / ry, (o[2] - (np.float32(size_m[2]) - rz)) / rz)
    q = (d[0] / rx, d[1] / ry, d[2] / rz)
    a = q[0] ** 2 + q[1] ** 2 + q[2] ** 2
    b = p[0] * q[0] + p[1] * q[1] + p[2] * q[2]
    c = p[0] ** 2 + p[1] ** 2 + p[2] ** 2 - 1
    root = b * b - a * c
    scale = (-b - np.sqrt(np.maximum(root, 0))) / a
    scale = np.where((root > 0) & (scale > 1e-4) & (o[2] + scale * d[2] > 0), scale, np.float32(np.inf))
    reach = np.where(np.isfinite(scale), scale, 0)
    return scale, _unit(((p[0] + reach * q[0]) / rx, (p[1] + reach * q[1]) / ry, (p[2] + reach * q[2]) / rz))


def _hit_frustum(o: Xyz, d: Xyz, bottom_m: float, top_m: float, height_m: float) -> tuple[F32, Xyz]:
    slope = np.float32((bottom_m - top_m) / height_m)
    radius = np.float32(bottom_m) - slope * o[2]
    a = d[0] ** 2 + d[1] ** 2 - (slope * d[2]) ** 2
    b = o[0] * d[0] + o[1] * d[1] + slope * d[2] * radius
    c = o[0] ** 2 + o[1] ** 2 - radius**2
    root = b * b - a * c
    side = (-b - np.sqrt(np.maximum(root, 0))) / np.where(np.abs(a) < _EPS, _EPS, a)
    z = o[2] + side * d[2]
    side = np.where((root > 0) & (side > 1e-4) & (z >= 0) & (z <= height_m), side, np.float32(np.inf))
    cap = (np.float32(height_m) - o[2]) / np.where(np.abs(d[2]) < _EPS, _EPS, d[2])
    on_cap = (cap > 1e-4) & ((o[0] + cap * d[0]) ** 2 + (o[1] + cap * d[1]) ** 2 < top_m**2)
    cap = np.where(on_cap, cap, np.float32(np.inf))
    scale = np.minimum(side, cap)
    reach = f32(np.where(np.isfinite(scale), scale, 0))
    flank = _unit(
        (o[0] + reach * d[0], o[1] + reach * d[1], slope * (np.float32(bottom_m) - slope * (o[2] + reach * d[2])))
    )
    is_cap = cap < side
    return scale, (np.where(is_cap, 0, flank[0]), np.where(is_cap, 0, flank[1]), np.where(is_cap, 1, flank[2]))


def _unit(v: Xyz) -> Xyz:
    inverse = 1 / np.maximum(np.sqrt(v[0] ** 2 + v[1] ** 2 + v[2] ** 2), _EPS)
    return v[0] * inverse, v[1] * inverse, v[2] * inverse


def albedo(solid: Solid, local: Xyz) -> F32:
    """(h, w, 3) color of a solid's surface at points in its own axes."""
    length, width, up = local
    height_m = solid.size_m[2]
    rgb = np.broadcast_to(np.array(solid.rgb, np.float32), (*up.shape, 3)).copy()
    if solid.kind == "cone":
        share = up / np.float32(height_m)
        rgb[((share > 0.38) & (share < 0.56)) | ((share > 0.70) & (share < 0.84))] = 0.75
    elif solid.kind == "barrel":
        share = up / np.float32(height_m)
        rgb[((share > 0.2) & (share < 0.36)) | ((share > 0.58) & (share < 0.74))] = 0.7
    elif solid.kind == "box":
        tape = np.abs(width) < 0.04
        rgb[tape & (up > 0.8 * height_m)] *= 1.35
    elif solid.kind in ("car", "cabin", "house"):
        _paint_vehicle_or_house(rgb, solid, local)
    grain = np.float32(
        0.05 if solid.kind in ("cone", "barrel", "car", "cabin") else 0.14 if solid.kind != "box" else 0.06
    )
    columns = (length + np.float32(0.7) * width + np.float32(3)) * np.float32(180)
    rows = (up + np.float32(0.3) * width + np.float32(3)) * np.float32(180)
    rgb *= (1 + grain * textures.sample_tile(textures.speckle(3), columns, rows))[..., None]
    dirt = np.clip(1 - (up + np.float32(solid.base_m)) / np.float32(0.25), 0, 1)
    rgb *= (1 - np.float32(0.3) * dirt)[..., None]
    return f32(np.clip(rgb, 0.01, 1))


def _paint_vehicle_or_house(rgb: F32, solid: Solid, local: Xyz) -> None:
    """Windows, lamps and number plates, in place."""
    length, width, up = (np.asarray(axis) for axis in local)
    share = up / np.float32(solid.size_m[2])
    ends = np.abs(length) > solid.size_m[0] / 2 - 0.02
    if solid.kind == "cabin":
        pillar = np.abs(np.abs(length) - solid.size_m[0] / 4) < 0.05
        rgb[(share > 0.12) & (share < 0.86) & ~(pillar & ~ends)] = (0.03, 0.035, 0.04)
    elif solid.kind == "car":
        aside = np.abs(width) / np.float32(solid.size_m[1] / 2)
        lamp = ends & (aside > 0.66) & (share > 0.5) & (share < 0.85)
        rgb[lamp & (length < 0)] = (0.45, 0.02, 0.02)
        rgb[lamp & (length > 0)] = 0.8
        rgb[ends & (aside < 0.28) & (share > 0.3) & (share < 0.5)] = (0.72, 0.72, 0.66)
        rgb[share < 0.12] *= 0.35
    else:
        along = np.where(ends, width, length)
        window = (np.abs(along / np.float32(2.2) - np.rint(along / np.float32(2.2))) < 0.22) & (along * along > 0.3)
        floor = up / np.float32(3.0) - np.floor(up / np.float32(3.0))
        rgb[window & (floor > 0.35) & (floor < 0.78)] = (0.06, 0.07, 0.08)
        rgb[share > 0.985] *= 0.6
