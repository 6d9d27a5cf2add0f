# SPDX-License-Identifier: Apache-2.0
"""Thresholds with a promise: conformal risk control (Angelopoulos et al., ICLR 2024) over blocks of frames.

The loss of a block is 1 if more of it is missed than may be, else 0; it never falls as the threshold rises. Where the
blocks that were seen and the one to come are exchangeable, the expected loss of the one to come is bounded: it is the
probability that its missed share exceeds the bound. n blocks, T thresholds.
"""

from __future__ import annotations

import math

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
