# SPDX-License-Identifier: Apache-2.0
"""Tiles laid on the road at their real size, and how much of them a pixel resolves. h and w are a region's size."""

from __future__ import annotations

import cv2
import numpy as np

from road_kd_seg.synthetic import textures
from road_kd_seg.synthetic.arrays import F32, U8, f32
from road_kd_seg.synthetic.canvas import spread

FAINT = 0.04
"""Share of a texture's contrast below which it is not looked up at all; what is left fades out to there."""


def layer(tile: F32, s_m: F32, t_m: F32, pixel_m: float) -> F32:
    """Look a tile up at `pixel_m` meters per texel."""
    per_m = np.float32(1 / pixel_m)
    return textures.sample_tile(tile, t_m * per_m, s_m * per_m)


def smooth_layer(tile: F32, s_m: F32, t_m: F32, pixel_m: float) -> F32:
    """The same at half the resolution, for what varies slowly."""
    height, width = s_m.shape
    half = layer(tile, s_m[::2, ::2], t_m[::2, ::2], pixel_m)
    return f32(cv2.resize(half, (width, height), interpolation=cv2.INTER_LINEAR))


def engrave(base: F32, tint: U8, s_m: F32, t_m: F32, pixel_m: float, footprint_m: F32, strength: float) -> None:
    """Multiply base, (h, w, 3), by a tint tile where pixels are small enough to show it."""
    gain = f32(np.maximum(resolved(footprint_m, 2.5 * pixel_m) * np.float32(strength) - np.float32(FAINT), 0))
    rows = np.flatnonzero(gain.any(axis=1))
    if rows.size == 0:
        return
    near = slice(int(rows[0]), int(rows[-1]) + 1)
    per_m = np.float32(1 / pixel_m)
    tints = textures.sample_tint(tint, t_m[near] * per_m, s_m[near] * per_m)
    tints -= 1
    tints *= spread(gain[near])
    tints += 1
    base[near] *= tints


def resolved(footprint_m: F32, detail_m: float) -> F32:
    """1 where pixels are smaller than a detail, falling to 0 where they are larger (so that it does not alias)."""
    share = footprint_m * np.float32(1 / detail_m)
    return f32(1 / (1 + share * share))
