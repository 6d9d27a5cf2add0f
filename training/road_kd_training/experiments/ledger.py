# SPDX-License-Identifier: Apache-2.0
"""What may be said of a claimed gain from paired runs: it holds, it vanishes, or nobody can tell yet.

Both students of a pair have the same seed, data and number of steps. The interval is Student's, of the paired
differences, two-sided at 95 %.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Judgment = Literal["holds", "vanishes", "cannot tell"]

_QUANTILES = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""97.5 % of Student's t with 1 to 30 degrees of freedom."""
NORMAL_QUANTILE = 1.960
MAX_SEEDS = 1000
RELEVANT = 0.5
"""Share of the claimed gain below which a gain counts as vanished."""


@dataclass(frozen=True)
class Verdict:
    """Of one claimed gain."""

    outcome: Judgment
    interval: tuple[float, float] | None = None
    """Of the mean paired gain; None with fewer than two pairs."""
    more_seeds: int = 0
    """How many further seeds would decide, if the gain and its spread stay as they are; 0 once decided."""

    def describe(self) -> str:
        """Such as "holds" or "cannot tell (4 more seeds)"."""
        if self.outcome != "cannot tell":
            return self.outcome
        return f"cannot tell ({self.more_seeds} more seeds)" if self.more_seeds < MAX_SEEDS else "cannot tell"


def judge(gains: Sequence[float], claimed: float | None, *, lower_is_better: bool = False) -> Verdict:
    """Judge a claim.

    Args:
        gains: of each seed over the baseline of the same seed.
        claimed: the paper's gain; negative where lower is better or where it reports a loss. None: that there is one.
        lower_is_better: which way a gain lies that is claimed without a number.

    Returns:
        `holds` if the whole interval has the claim's sign; `vanishes` if it lies below half of the claim (on the wrong
        side of 0 without one); else `cannot tell`. A gain that is smaller than claimed, and surely one, holds.
    """
    if claimed == 0:
        return Verdict("cannot tell", more_seeds=MAX_SEEDS)
    sign = math.copysign(1.0, (-1.0 if lower_is_better else 1.0) if claimed is None else claimed)
    towards = [sign * gain for gain in gains]
    if len(towards) < 2:
        return Verdict("cannot tell", more_seeds=2 - len(towards))
    mean, half, relevant = statistics.fmean(towards), half_width(towards), RELEVANT * abs(claimed or 0.0)
    interval = (mean - half, mean + half) if sign > 0 else (-mean - half, half - mean)
    if mean - half > 0:
        return Verdict("holds", interval)
    if mean + half < relevant:
        return Verdict("vanishes", interval)
    return Verdict("cannot tell", interval, _seeds_to_decide(towards, mean, relevant) - len(towards))


def interval_of(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of a mean; None of fewer than two values."""
    if len(values) < 2:
        return None
    mean, half = statistics.fmean(values), half_width(values)
    return mean - half, mean + half


def half_width(values: Sequence[float]) -> float:
    """Half of the interval of a mean; what differs by less cannot be told apart.

    Args:
        values: two or more.
    """
    return _quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))


def _quantile(freedom: int) -> float:
    return _QUANTILES[freedom - 1] if freedom <= len(_QUANTILES) else NORMAL_QUANTILE


def _seeds_to_decide(values: Sequence[float], mean: float, relevant: float) -> int:
    """The number of seeds whose interval would exclude 0, or the relevant gain, whichever is farther from the mean."""
    distance, spread = max(mean, relevant - mean), statistics.stdev(values)
    for count in range(len(values) + 1, MAX_SEEDS):
        if _quantile(count - 1) * spread / math.sqrt(count) < distance:
            return count
    return MAX_SEEDS + len(values)
