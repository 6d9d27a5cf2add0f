# SPDX-License-Identifier: Apache-2.0
"""Thresholds with a promise: conformal risk control (Angelopoulos et al., ICLR 2024) over blocks of frames.

The loss of a block is 1 if more of it is missed than may be, else 0; it never falls as the threshold rises. Where the
blocks that were seen and the one to come are exchangeable, the expected loss of the one to come is bounded: it is the
probability that its missed share exceeds the bound. n blocks, T thresholds.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-9
"""Shares such as 0.9 are no binary fractions."""


def control_risk(missed: NDArray[np.float64], max_missed: float, share: float) -> int | None:
    """The highest threshold that keeps the missed share of another block within a bound, with a probability.

    Args:
        missed: (n, T) missed share of each block at rising thresholds; never falls along a row.
        max_missed: the bound.
        share: of other blocks that must stay within it; the probability, over all that is drawn.

    Returns:
        Index of the threshold; None if not even the lowest one does, as with fewer blocks than `min_blocks`.
    """
    losses = (missed > max_missed).sum(0)  # Eq. 4, with B = 1 and alpha = 1 - share
    kept = np.flatnonzero(losses + 1 <= (1 - share) * (len(missed) + 1) + _ROUNDING)
    return int(kept[-1]) if kept.size else None


def min_blocks(share: float) -> int:
    """With fewer blocks no threshold keeps the promise, however good the model is."""
    return math.ceil(1 / (1 - share) - 1 - _ROUNDING)


class PromiseDraws(NamedTuple):
    """What became of the promise in D random draws of calibration blocks and one other block."""

    threshold: NDArray[np.int64]
    """(D,) index of the threshold; -1 where nothing could be promised."""
    kept: NDArray[np.bool_]
    """(D,) whether the other block stayed within the bound; also where nothing was promised, so nothing broken."""


def draw_promises(
    missed: NDArray[np.float64],
    num_calibration: int,
    max_missed: float,
    share: float,
    num_draws: int,
    random: np.random.Generator,
) -> PromiseDraws:
    """Try `control_risk` on blocks that are exchangeable: pick a threshold on some of them, hold it to another one.

    Args:
        missed: (n, T) missed share of each block, as `control_risk` takes it.
        num_calibration: blocks that the threshold is picked on; fewer than n.
        max_missed: the bound.
        share: of draws that the promise is to hold in.
        num_draws: D.
        random: draws them.
    """
    drawn = PromiseDraws(np.full(num_draws, -1), np.ones(num_draws, np.bool_))
    for draw in range(num_draws):
        *calibration, other = random.permutation(len(missed))[: num_calibration + 1]
        index = control_risk(missed[calibration], max_missed, share)
        if index is not None:
            drawn.threshold[draw], drawn.kept[draw] = index, missed[other, index] <= max_missed
    return drawn
