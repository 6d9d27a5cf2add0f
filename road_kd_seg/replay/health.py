# SPDX-License-Identifier: Apache-2.0
"""What a recording itself is like: rates, gaps, stamps. N color images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.bags.frame_index import FrameIndex
from road_kd_seg.bags.topics import TopicNames

GAP_PERIODS = 1.5
"""A distance above this many median periods is a gap: at least one image is missing."""


def data_health(index: FrameIndex, names: TopicNames) -> dict[str, Any]:
    """Rates and gaps of color and depth, and how stamps and recording times relate.

    Args:
        index: of the bag.
        names: which topics are color and depth.

    Returns:
        Plain data: `color` and `depth` (images, rate_hz, period_ms, gaps, missing, longest_gap_ms, each from the header
        stamps of color and the recording times of depth), `color_with_depth`, `allowed_difference_ms`,
        `stamp_difference_ms` (depth minus color over the pairs: min, p5, p50, p95, max; None without pairs),
        `stamps_repeated`, `stamps_backwards`, `recording_delay_ms` (p50, p95: recording time minus stamp, None where
        the clocks differ by more than an hour).
    """
    color_ns = index.stamps_ns
    delay_ms = (index.log_times_ns[names.color] - color_ns) / 1e6 if len(color_ns) else np.empty(0)
    one_clock = delay_ms.size > 0 and float(np.abs(delay_ms).max()) < 3_600_000
    return {
        "color": _regularity(color_ns),
        "depth": _regularity(index.log_times_ns[names.depth]),
        "color_with_depth": index.num_with_depth,
        "allowed_difference_ms": index.slop_ns / 1e6,
        "stamp_difference_ms": _spread(index.depth_after_ns / 1e6),
        "stamps_repeated": int(len(color_ns) - len(np.unique(color_ns))),
        "stamps_backwards": int((np.diff(color_ns) < 0).sum()),
        "recording_delay_ms": {
            "p50": float(np.percentile(delay_ms, 50)) if one_clock else None,
            "p95": float(np.percentile(delay_ms, 95)) if one_clock else None,
        },
    }


def _spread(values: NDArray[np.float64]) -> dict[str, float | None]:
    """Where (N,) values lie."""
    percents = {"min": 0, "p5": 5, "p50": 50, "p95": 95, "max": 100}
    return {name: float(np.percentile(values, p)) if values.size else None for name, p in percents.items()}


def _regularity(times_ns: NDArray[np.int64]) -> dict[str, Any]:
    """Rate and gaps of (N,) moments."""
    distances_ms: NDArray[np.float64] = np.diff(np.unique(times_ns)).astype(np.float64) / 1e6
    if not distances_ms.size:
        nothing = dict.fromkeys(("rate_hz", "period_ms", "gaps", "missing", "longest_gap_ms"))
        return {"images": len(times_ns), **nothing}
    period_ms = float(np.median(distances_ms))
    gaps_ms = distances_ms[distances_ms > GAP_PERIODS * period_ms]
    return {
        "images": len(times_ns),
        "rate_hz": 1e3 / period_ms,
        "period_ms": period_ms,
        "gaps": int(gaps_ms.size),
        "missing": int((np.rint(gaps_ms / period_ms) - 1).sum()),
        "longest_gap_ms": float(gaps_ms.max()) if gaps_ms.size else None,
    }
