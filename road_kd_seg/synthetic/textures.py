# SPDX-License-Identifier: Apache-2.0
"""Tileable textures, built once per process from fixed seeds: scenes differ by which they use, where and how strongly.

T is a tile's side in pixels. A tint tile is uint8 (T, T, 3) with 128 = "as the base color".
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np

from road_kd_seg.synthetic.arrays import F32, U8, f32, to_u8

TILE_PX = 1024
ASPHALT_KINDS = 5
BLOB_KINDS = 12


def sample(image: F32, columns: F32, rows: F32) -> F32:
    """Bilinear look-up of (h, w) pixel positions; 0 beyond the image."""
    return f32(cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT))


def sample_tile(tile: F32, columns: F32, rows: F32) -> F32:
    """The same for a square tile that repeats."""
    columns, rows = _wrapped(columns, len(tile)), _wrapped(rows, len(tile))
    return f32(cv2.remap(tile, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP))


def sample_mask(image: U8, columns: F32, rows: F32) -> F32:
    """The same for a mask of 0 to 255; the result is 0 to 1, and 0 beyond the image."""
    values = cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return f32(np.multiply(values, np.float32(1 / 255), dtype=np.float32))


def sample_tint(tile: U8, columns: F32, rows: F32) -> F32:
    """(h, w, 3) factors around 1 from a tint tile that repeats."""
    columns, rows = _wrapped(columns, len(tile)), _wrapped(rows, len(tile))
    values = cv2.remap(tile, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return f32(np.multiply(values, np.float32(1 / 128), dtype=np.float32))


def _wrapped(positions: F32, period: int) -> F32:
    """Positions modulo the period. remap can wrap, too, but slowly, and only within 16 bits."""
    cycles = positions * np.float32(1 / period)
    cycles -= np.floor(cycles)
    cycles *= np.float32(period)
    return f32(cycles)


def fractal_noise(rng: np.random.Generator, size_px: int, cells: Sequence[int], gains: Sequence[float]) -> F32:
    """(size_px, size_px) tileable noise of zero mean and unit deviation; one octave per entry of `cells`."""
    total = np.zeros((size_px, size_px), np.float32)
    for n, gain in zip(cells, gains, strict=True):
        grid = np.pad(rng.standard_normal((n, n), dtype=np.float32), 2, mode="wrap")
        cell_px = size_px // n
        big = cv2.resize(grid, None, fx=cell_px, fy=cell_px, interpolation=cv2.INTER_CUBIC)
        total += gain * big[2 * cell_px : 2 * cell_px + size_px, 2 * cell_px : 2 * cell_px + size_px]
    total -= total.mean()
    return f32(total / total.std())


def _wrap_blur(image: F32, sigma_px: float) -> F32:
    pad = int(4 * sigma_px) + 1
    widths = [(pad, pad), (pad, pad)] + [(0, 0)] * (image.ndim - 2)
    blurred = cv2.GaussianBlur(np.pad(image, widths, mode="wrap"), (0, 0), sigma_px)
    return f32(blurred[pad:-pad, pad:-pad])


def _grain(rng: np.random.Generator, sigma_px: float) -> F32:
    """Unit-deviation bumps lit from one side, which is what makes grain look like grain."""
    bumps = _wrap_blur(rng.standard_normal((TILE_PX, TILE_PX), dtype=np.float32), sigma_px)
    relief = bumps - np.roll(bumps, (1, 1), (0, 1))
    return f32(relief / relief.std() + 0.5 * bumps / bumps.std())


def _draw_stones(
    canvas: F32, rng: np.random.Generator, count: int, radius_px: tuple[float, float], colors: F32
) -> None:
    """Scatter ellipses of the given (N, 3) colors over a tile, wrapping at its borders."""
    pad = int(2 * radius_px[1]) + 2
    side = canvas.shape[0]
    wide = np.pad(canvas, ((pad, pad), (pad, pad), (0, 0)), mode="wrap")
    centers = rng.integers(0, side, (count, 2)) + pad
    # Sizes follow a power law: many chips, few pebbles.
    radii = radius_px[0] + (radius_px[1] - radius_px[0]) * rng.random(count) ** 3
    aspects, angles = rng.uniform(0.5, 1.0, count), rng.uniform(0, 180, count)
    picks = rng.integers(0, len(colors), count)
    shade = rng.uniform(0.8, 1.2, count)
    for (x, y), r, aspect, angle, pick, gain in zip(centers, radii, aspects, angles, picks, shade, strict=True):
        axes = (max(1, round(r)), max(1, round(r * aspect)))
        color = (colors[pick] * gain).tolist()
        cv2.ellipse(wide, (int(x), int(y)), axes, angle, 0, 360, [c * 0.72 for c in color], -1, cv2.LINE_8)
        cv2.ellipse(wide, (int(x) - 1, int(y) - 1), axes, angle, 0, 360, color, -1, cv2.LINE_8)
    canvas[:] = wide[pad:-pad, pad:-pad]


def _to_tint(tile: F32) -> U8:
    return to_u8(tile * np.float32(128))


@cache
def asphalt(kind: int) -> U8:
    """Tint tile of asphalt at about 3.5 mm per pixel; `kind` < ASPHALT_KINDS, from smooth to coarse and pebbly."""
    rng = np.random.default_rng([11, kind])
    grain = (0.10, 0.14, 0.16, 0.13, 0.22)[kind]
    stones = (4000, 9000, 14000, 16000, 9000)[kind]
    largest_px = (2.5, 3.5, 5.0, 8.0, 4.0)[kind]
    colorful = (0.05, 0.08, 0.12, 0.20, 0.06)[kind]
    warm = np.abs(rng.normal(0.0, colorful, (64, 1))) * rng.choice([1.0, 1.0, 1.0, -0.3], (64, 1))
    brightness = rng.normal(1.08, 0.22, (64, 1))
    colors = np.clip(brightness * (1 + warm * np.array([[0.7, 0.1, -0.8]])), 0.4, 1.9).astype(np.float32)
    tile = np.ones((TILE_PX, TILE_PX, 3), np.float32)
    _draw_stones(tile, rng, stones, (1.0, largest_px), colors)
    pits = fractal_noise(rng, TILE_PX, (128, 256), (1.0, 0.7))
    tile *= (1.0 - 0.5 * np.clip(pits - 1.6, 0, 1))[..., None]
    tile = _wrap_blur(tile, 0.6)
    tile += (grain * _grain(rng, 0.9))[..., None] + (0.6 * grain * _grain(rng, 2.2))[..., None]
    return _to_tint(tile / tile.mean())


@cache
def gravel() -> U8:
    """Tint tile of loose stones with dark gaps."""
    rng = np.random.default_rng(12)
    brightness = rng.normal(1.05, 0.25, (64, 1))
    colors = np.clip(brightness * (1 + rng.normal(0.03, 0.05, (64, 1)) * np.array([[0.8, 0.1, -0.8]])), 0.4, 1.9)
    tile = np.full((TILE_PX, TILE_PX, 3), 0.5, np.float32)
    _draw_stones(tile, rng, 22000, (2.0, 11.0), colors.astype(np.float32))
    tile = _wrap_blur(tile, 0.7) + (0.08 * _grain(rng, 0.9))[..., None]
    return _to_tint(tile / tile.mean())


@cache
def grass() -> U8:
    """Tint tile of blades; green is the base color's business, here only their light and yellowness."""
    rng = np.random.default_rng(13)
    pad = 24
    wide = np.full((TILE_PX + 2 * pad, TILE_PX + 2 * pad, 3), 0.45, np.float32)
    count = 45000
    roots = rng.integers(0, TILE_PX + 2 * pad, (count, 2))
    tips = roots + np.stack([rng.normal(0, 7, count), -rng.uniform(4, 20, count)], 1).astype(int)
    light = np.sort(rng.gamma(9.0, 0.11, count))
    yellow = np.clip(rng.normal(1.0, 0.12, count), 0.7, 1.5)
    for root, tip, gain, y in zip(roots.tolist(), tips.tolist(), light.tolist(), yellow.tolist(), strict=True):
        cv2.line(wide, root, tip, (gain * y, gain, gain * 0.9), 1, cv2.LINE_8)
    tile = _wrap_blur(np.ascontiguousarray(wide[pad:-pad, pad:-pad]), 0.6)
    return _to_tint(tile / tile.mean())


@cache
def cloud(kind: int) -> F32:
    """(T, T) fractal noise of zero mean and unit deviation, for everything that varies over meters."""
    return fractal_noise(
        np.random.default_rng([14, kind]), TILE_PX, (4, 8, 16, 32, 64, 128), (1, 0.7, 0.5, 0.35, 0.25, 0.18)
    )


@cache
def speckle(kind: int) -> F32:
    """(T, T) blotches of a few pixels, zero mean and unit deviation: worn paint, stereo noise, stones on solids."""
    return fractal_noise(np.random.default_rng([15, kind]), TILE_PX, (64, 128, 256), (1.0, 0.8, 0.6))


@cache
def white_noise() -> F32:
    """(T, 2 T) standard normal noise, slightly correlated as a demosaiced sensor's is."""
    noise = np.random.default_rng(16).standard_normal((TILE_PX, 2 * TILE_PX), dtype=np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 0.5)
    return f32(soft / soft.std())


@cache
def blob(kind: int) -> U8:
    """(256, 256) soft-edged irregular patch, 255 inside: a puddle, stain or small shadow from above."""
    rng = np.random.default_rng([17, kind])
    y, x = np.mgrid[-1:1:256j, -1:1:256j].astype(np.float32)
    noise = fractal_noise(rng, 256, (4, 8, 16, 32), (1.0, 0.6, 0.4, 0.2))
    field = 0.68 - np.hypot(x, y) + 0.12 * noise
    return to_u8(255 * (field / 0.05 + 0.5))


@cache
def foliage_shadow(kind: int) -> U8:
    """(256, 256) shadow of a tree's crown, 255 where dark: blotches with specks of light."""
    rng = np.random.default_rng([18, kind])
    y, x = np.mgrid[-1:1:256j, -1:1:256j].astype(np.float32)
    crown = 0.75 - np.hypot(x, y) + 0.25 * fractal_noise(rng, 256, (4, 8), (1.0, 0.6))
    leaves = fractal_noise(rng, 256, (16, 32, 64), (1.0, 0.8, 0.5))
    field = np.minimum(crown / 0.1, (leaves + 0.9) / 0.5)
    return to_u8(255 * field)
