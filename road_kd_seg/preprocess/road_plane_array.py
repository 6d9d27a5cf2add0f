# SPDX-License-Identifier: Apache-2.0
"""`fit_road_plane` of one image on a CPU, in NumPy: for arrays this small, half of PyTorch's time goes into calling it.

N sampled points, M plane hypotheses, h w image size.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from road_kd_seg.preprocess.road_plane import (
    MIN_CORNER_SPREAD,
    MIN_DEPTH_M,
    MIN_FRONTAL_SUPPORT,
    MIN_RELATIVE_SLOPE,
    NUM_REFINEMENTS,
    PLANE_TOLERANCE_PER_M,
    draws,
    samples,
)

_BATCHES = 2
"""In which hypotheses are scored: products this small make no BLAS start threads, which would then spin."""


def fit_road_plane_array(depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
    """The road plane of one depth image, as `road_plane.fit_road_plane` finds it.

    Args:
        depth_m: z in m, 0 where invalid, (h, w).

    Returns:
        (a, b, c) with u and v in [-1, 1] over the image, (3,); zeros if there is none.
    """
    points = _points(*depth_m.shape)
    sampled_m = depth_m.reshape(-1).take(points.pixels)
    usable = np.sign(sampled_m)
    target = usable / np.maximum(sampled_m, np.float32(MIN_DEPTH_M))
    with np.errstate(all="ignore"):  # of hypotheses, those that are not finite are left out
        plane = _best_hypothesis(points, target, usable)
        for _ in range(NUM_REFINEMENTS if plane is not None else 0):
            error = plane @ points.rows - target
            inlier = np.maximum(usable - np.square(error / np.float32(2 * PLANE_TOLERANCE_PER_M)), 0)
            weighted = points.rows * np.square(inlier)
            try:
                plane = plane - np.linalg.solve(weighted @ points.rows.T, weighted @ error)
            except np.linalg.LinAlgError:  # no three points left
                plane = None
                break
    return np.zeros(3, np.float32) if plane is None or not np.isfinite(plane).all() else plane


def _best_hypothesis(points: _Points, target: NDArray[np.float32], usable: NDArray[np.float32]) -> Any:
    """The plane through three valid points that most others are near to, (3,); None if none is a road."""
    valid = np.flatnonzero(usable)
    if len(valid) < 3:
        return None
    chosen = valid[(points.draws * np.float32(len(valid))).astype(np.intp)]
    (u, u1, u2), (v, v1, v2), (z, z1, z2) = (
        values.take(chosen).reshape(-1, 3).T for values in (*points.rows[:2], target)
    )
    u1, u2, v1, v2, z1, z2 = u1 - u, u2 - u, v1 - v, v2 - v, z1 - z, z2 - z
    spread = u1 * v2 - u2 * v1
    a, slope = (z1 * v2 - z2 * v1) / spread, (u1 * z2 - u2 * z1) / spread
    c = z - a * u - slope * v
    planes = np.stack((a, slope, c), axis=-1)
    errors = planes.reshape(_BATCHES, -1, 3) @ points.scored_rows - target[points.scored]
    np.square(errors, out=errors)
    errors *= np.float32(-1 / PLANE_TOLERANCE_PER_M**2)
    errors += 1
    counted = usable[points.scored]
    score = (np.maximum(errors, 0, out=errors) @ counted).reshape(-1)
    limit = MIN_RELATIVE_SLOPE * np.abs(c)
    score -= MIN_FRONTAL_SUPPORT * counted.sum() * (slope <= limit)
    plausible = (np.abs(spread) > MIN_CORNER_SPREAD * np.abs(spread).mean()) & (slope >= -limit)
    score = np.where(plausible & np.isfinite(planes).all(-1), score, -1)
    best = score.argmax()
    return planes[best] if score[best] > 0 else None


class _Points(NamedTuple):
    pixels: NDArray[np.intp]
    """Flat index of the sampled points, (N,)."""
    rows: NDArray[np.float32]
    """Their u, v and 1, (3, N)."""
    scored: NDArray[np.intp]
    """Which of them hypotheses are scored on."""
    scored_rows: NDArray[np.float32]
    """Their u, v and 1."""
    draws: NDArray[np.float32]
    """(3 M,) as of `road_plane.draws`."""


@lru_cache(maxsize=8)
def _points(height: int, width: int) -> _Points:
    cpu = torch.device("cpu")
    pixels, points, scored = (each.numpy() for each in samples(height, width, cpu))
    rows = np.ascontiguousarray(points.T)
    return _Points(pixels, rows, scored, rows[:, scored], draws(cpu).numpy())
