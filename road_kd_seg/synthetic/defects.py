# SPDX-License-Identifier: Apache-2.0
"""Potholes and cracks as small height maps with their light baked in.

Patches are (n, n): rows run along s, columns along t, resolution_m apart, centered on the defect.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg.synthetic import textures
from road_kd_seg.synthetic.arrays import F32, U8, f32
from road_kd_seg.synthetic.scene import Defect, Light, Rgb

Pixel = TypeVar("Pixel", np.float32, np.uint8)


@dataclass(frozen=True)
class Patch:
    """A defect from above."""

    opening: U8
    """255 where the road's surface is missing: the label."""
    depth_m: F32
    """Below the road, 0 outside the opening."""
    rgb: F32
    """(n, n, 3) albedo, light of the hollow included."""
    cover: U8
    """255 where rgb replaces the road's color; reaches beyond the opening where the rim crumbles."""


@lru_cache(maxsize=32)
def build_patch(defect: Defect, light: Light, asphalt_rgb: Rgb) -> Patch:
    """The patch of one defect; the same at every call."""
    rng = np.random.default_rng([defect.seed, 3])
    if defect.kind == "crack":
        return _crack(defect, rng, asphalt_rgb)
    return _pothole(defect, rng, light, np.array(asphalt_rgb, np.float32))


def _pothole(defect: Defect, rng: np.random.Generator, light: Light, asphalt_rgb: F32) -> Patch:
    n = 2 * round(defect.reach_m / defect.resolution_m)
    y, x = (np.mgrid[0:n, 0:n].astype(np.float32) - n / 2 + 0.5) * defect.resolution_m
    noise = _ragged_noise(rng, n)
    # q: 1 on the ragged outline, smaller inside.
    q = np.hypot(x, y) / _outline_radius(rng, np.arctan2(y, x), defect.size_m) + 0.07 * noise
    opening = np.clip(255 * ((1 - q) * defect.size_m / (2 * defect.resolution_m) + 0.5), 0, 255).astype(np.uint8)
    wall = rng.uniform(0.12, 0.55)
    profile = np.clip((1 - q) / wall, 0, 1)
    bowl = profile * profile * (3 - 2 * profile) * (1 - 0.25 * np.clip(q, 0, 1) ** 2)
    pebbles = _crop(textures.speckle(0), n, rng)
    depth_m = np.where(q < 1, defect.depth_m * bowl * (1 + 0.08 * noise) + 0.004 * profile * pebbles, 0).astype(
        np.float32
    )
    depth_m = np.maximum(depth_m, 0)

    floor = _floor_rgb(defect, rng, asphalt_rgb, n)
    shade = _shade(depth_m, defect.resolution_m, light)
    crumbs = np.clip(1.18 + 0.10 * noise - q, 0, 0.18) / 0.18
    rim_gain = rng.uniform(0.75, 1.2)
    rim_rgb = asphalt_rgb * rim_gain * (1 + 0.22 * _crop(textures.speckle(1), n, rng))[..., None]
    inside = np.clip((1.02 - q) / 0.06, 0, 1)[..., None]
    rgb = (floor * inside + rim_rgb * (1 - inside)) * shade[..., None]
    cover = np.where(q < 1, 255, 190 * crumbs * (pebbles > -0.3)).astype(np.uint8)
    return Patch(opening, depth_m, np.clip(rgb, 0.004, 2).astype(np.float32), cover)


def _ragged_noise(rng: np.random.Generator, n: int) -> F32:
    noise = cv2.resize(_crop(textures.cloud(int(rng.integers(3))), 256, rng), (n, n))
    return f32((noise - noise.mean()) / noise.std())


def _outline_radius(rng: np.random.Generator, angle: F32, mean_radius_m: float) -> F32:
    stretch, along = rng.uniform(0.0, 0.45), rng.uniform(0, math.pi)
    radius = 1 + stretch * np.cos(2 * (angle - along))
    for k in range(3, 7):
        radius += rng.normal(0, 0.35 / k) * np.cos(k * angle + rng.uniform(0, 2 * math.pi))
    return f32(mean_radius_m * np.clip(radius, 0.35, 1.5))


def _floor_rgb(defect: Defect, rng: np.random.Generator, asphalt_rgb: F32, n: int) -> F32:
    stones = _crop(textures.gravel(), n, rng).astype(np.float32) / 128
    if defect.filling == "dark":
        return f32(asphalt_rgb * rng.uniform(0.3, 0.65) * (0.4 + 0.6 * stones))
    # Old potholes are filled with the road's own crumbs and dust, and hardly differ from it in color.
    dust_rgb = float(asphalt_rgb.mean()) * np.array([1.12, 1.0, 0.84], np.float32) * rng.uniform(0.75, 1.35)
    likeness = rng.uniform(0, 0.8)
    base_rgb = likeness * asphalt_rgb * rng.uniform(0.8, 1.05) + (1 - likeness) * dust_rgb
    if defect.filling == "gravel":
        return f32(base_rgb * (1 + rng.uniform(0.4, 1.0) * (stones - 1)))
    grain = 1 + 0.10 * _crop(textures.speckle(2), n, rng) + 0.08 * _crop(textures.cloud(1), n, rng)
    return f32(base_rgb * grain[..., None])


def _crop(tile: NDArray[Pixel], n: int, rng: np.random.Generator) -> NDArray[Pixel]:
    top, left = rng.integers(0, tile.shape[0], 2)
    rows, columns = (np.arange(n) + top) % tile.shape[0], (np.arange(n) + left) % tile.shape[1]
    crop: NDArray[Pixel] = tile[rows[:, None], columns[None, :]]
    return crop


def _shade(depth_m: F32, resolution_m: float, light: Light) -> F32:
    """Brightness of the hollow's surface relative to the lit road around it."""
    smooth_m = cv2.GaussianBlur(depth_m, (0, 0), 1.0)
    slope_s, slope_t = np.gradient(smooth_m, resolution_m)
    to_sun_x, to_sun_y, to_sun_z = light.to_sun
    # The surface is z = -depth, so its upward normal is (d depth/dt, d depth/ds, 1).
    facing = (slope_t * to_sun_x + slope_s * to_sun_y + to_sun_z) / np.sqrt(1 + slope_s**2 + slope_t**2)
    lit = np.clip(facing / to_sun_z, 0, 2.0) * _sun_reaches(depth_m, resolution_m, light)
    openness = np.exp(-np.clip(smooth_m - 0.3 * cv2.blur(smooth_m, (15, 15)), 0, None) / 0.09)
    return f32(light.shadow_gain * openness + (1 - light.shadow_gain) * lit)


def _sun_reaches(depth_m: F32, resolution_m: float, light: Light) -> F32:
    across = math.hypot(light.to_sun[0], light.to_sun[1])
    rise_per_m = light.to_sun[2] / max(across, 1e-6)
    reach_m = float(depth_m.max()) / rise_per_m
    blocked_m = np.zeros_like(depth_m)
    steps = 10
    for i in range(1, steps + 1):
        step_m = reach_m * i / steps
        dx, dy = step_m * light.to_sun[0] / across / resolution_m, step_m * light.to_sun[1] / across / resolution_m
        moved = cv2.warpAffine(depth_m, np.array([[1, 0, -dx], [0, 1, -dy]]), depth_m.shape[::-1], borderValue=0)
        blocked_m = np.maximum(blocked_m, depth_m - moved - step_m * rise_per_m)
    return f32(np.clip(1 - blocked_m / 0.008, 0, 1))


def _crack(defect: Defect, rng: np.random.Generator, asphalt_rgb: Rgb) -> Patch:
    n = 2 * round(defect.reach_m / defect.resolution_m)
    mask = np.zeros((n, n), np.uint8)
    heading = rng.uniform(0, math.pi)
    start = np.array([n / 2, n / 2]) - 0.8 * n / 2 * np.array([math.cos(heading), math.sin(heading)])
    _walk(mask, rng, start, heading, 0.8 * n, defect.size_m / defect.resolution_m, branches=2)
    body = cv2.GaussianBlur(mask, (0, 0), 0.8)
    opening = np.where(body > 100, 255, 0).astype(np.uint8)
    dark = 0.22 + 0.10 * np.clip(_crop(textures.speckle(2), n, rng), -1, 2)
    rgb = np.array(asphalt_rgb, np.float32) * dark[..., None].astype(np.float32)
    depth_m = (defect.depth_m / 255.0) * opening.astype(np.float32)
    return Patch(opening, depth_m, np.clip(rgb, 0.004, 2), opening)


def _walk(
    mask: U8,
    rng: np.random.Generator,
    start: NDArray[np.float64],
    heading: float,
    length_px: float,
    width_px: float,
    branches: int,
) -> None:
    """Draw a crack that wanders from `start` (column, row), with fewer and thinner branches at each level."""
    step_px = 9.0
    steps = max(3, int(length_px / step_px))
    point, drift, angle = start, 0.0, heading
    widths = np.clip(width_px * (1 + 0.25 * rng.standard_normal(steps)), 0.65 * width_px, 1.5 * width_px)
    widths[-3:] *= (0.9, 0.75, 0.6)
    forks = set(rng.integers(2, steps, branches).tolist()) if branches else set()
    for i in range(steps):
        drift = 0.75 * drift + rng.normal(0, 0.16)
        angle = heading + 2 * drift + rng.normal(0, 0.25)
        end = point + step_px * np.array([math.cos(angle), math.sin(angle)])
        cv2.line(mask, _px(point), _px(end), 255, max(1, round(widths[i])), cv2.LINE_AA, 4)
        if i in forks:
            turn = rng.choice([-1.0, 1.0]) * rng.uniform(0.5, 1.2)
            _walk(mask, rng, end, heading + turn, 0.45 * (length_px - i * step_px), 0.8 * width_px, branches - 2)
        point = end


def _px(point: NDArray[np.float64]) -> tuple[int, int]:
    """A point in the sixteenths of a pixel that cv2.line takes with shift 4."""
    return round(16 * float(point[0])), round(16 * float(point[1]))
