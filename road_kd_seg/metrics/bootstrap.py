# SPDX-License-Identifier: Apache-2.0
"""Intervals for results of a drive, whose neighboring frames are alike: block bootstrap over frames. N frames.

Circular blocks (Politis and Romano, 1992) keep what neighbors share. Their number is fixed, because lengths that are
estimated from the frames are too short just when it matters, and percentiles are taken further out than the nominal
ones, as Student's t asks for that number (Hesterberg, The American Statistician 2015): few blocks understate spread.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

NUM_BLOCKS = 12
"""That a drive is cut into; each should be several times longer than what its frames share."""
MIN_FRAMES = 2 * NUM_BLOCKS
"""With fewer, no interval is given."""
_DRAWS = 1000

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From sums over frames, (..., *S), to quantities, (..., Q)."""


@dataclass(frozen=True)
class Intervals:
    """Of Q quantities."""

    value: NDArray[np.float64]
    """(Q,), of the sums over all frames."""
    low: NDArray[np.float64]
    """(Q,); NaN with too few frames, or where the value is NaN."""
    high: NDArray[np.float64]


def block_bootstrap(
    frames: NDArray[np.int64], statistic: Statistic, *, confidence: float = 0.95, seed: int = 0
) -> Intervals:
    """Intervals for functions of sums over frames, such as the IoU of summed pixel counts.

    Args:
        frames: (N, *S) in order of time; what is summed.
        statistic: see there; NaN where a sum leaves a quantity undefined.
        confidence: share of drives on which the interval is to hold the true value.
        seed: of the draws.

    Returns:
        Intervals of the Q quantities.
    """
    value = np.atleast_1d(statistic(frames.sum(0).astype(np.float64)))
    if len(frames) < MIN_FRAMES:
        return Intervals(value, np.full(value.shape, np.nan), np.full(value.shape, np.nan))
    drawn = _draw(frames, statistic, block_length(len(frames)), seed)
    tail = _expanded_tail((1 - confidence) / 2)
    ends = np.full((2, value.size), np.nan)
    for i, column in enumerate(drawn.T):
        defined = column[np.isfinite(column)]
        if defined.size and math.isfinite(value[i]):
            ends[:, i] = np.quantile(defined, (tail, 1 - tail))
    return Intervals(value, *ends)


def block_length(num_frames: int) -> int:
    """Frames in a block."""
    return max(1, round(num_frames / NUM_BLOCKS))


def _draw(frames: NDArray[np.int64], statistic: Statistic, length: int, seed: int) -> NDArray[np.float64]:
    """(draws, Q) quantities of resampled drives, made of blocks that wrap around the end."""
    number = len(frames)
    sums = np.concatenate([np.zeros_like(frames[:1]), np.cumsum(np.concatenate([frames, frames[:length]]), axis=0)])
    blocks = (sums[length:][:number] - sums[:number]).astype(np.float64)  # (N, *S), by where a block begins
    starts = np.random.default_rng(seed).integers(0, number, (_DRAWS, NUM_BLOCKS))
    return statistic(blocks[starts].sum(1)).reshape(_DRAWS, -1)


def _expanded_tail(tail: float) -> float:
    """The normal tail that lies as far out as Student's t of NUM_BLOCKS - 1 degrees of freedom."""
    z, v = -NormalDist().inv_cdf(tail), NUM_BLOCKS - 1
    # Cornish and Fisher's expansion of the t quantile: off by less than 0.1 % here.
    t = z + (z**3 + z) / (4 * v) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
    return NormalDist().cdf(-t * math.sqrt(NUM_BLOCKS / (NUM_BLOCKS - 1)))
