# SPDX-License-Identifier: Apache-2.0
"""Which depth image belongs to which color image, by header stamp."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def match_stamps(stamps_ns: NDArray[np.int64], others_ns: NDArray[np.int64], slop_ns: int = 0) -> NDArray[np.int64]:
    """For every stamp the index of its partner among the others, -1 where it has none.

    Two stamps are partners if each is the other's nearest and they differ by at most `slop_ns`, so nothing is paired
    twice; of equally near ones the first in time wins, of equal stamps the first in order.

    Args:
        stamps_ns: (N,), in any order.
        others_ns: (M,), in any order.
        slop_ns: 0 pairs equal stamps only.

    Returns:
        (N,) indices into `others_ns`.
    """
    if stamps_ns.size == 0 or others_ns.size == 0:
        return np.full(stamps_ns.shape, -1, np.int64)
    forth, back = _nearest(stamps_ns, others_ns), _nearest(others_ns, stamps_ns)
    mutual = back[forth] == np.arange(stamps_ns.size)
    close = np.abs(others_ns[forth] - stamps_ns) <= slop_ns
    return np.where(mutual & close, forth, -1)


def half_period_ns(stamps_ns: NDArray[np.int64]) -> int:
    """Half of the median distance between consecutive stamps: a slop within which a partner is the right one."""
    if stamps_ns.size < 2:
        return 0
    return int(np.median(np.diff(np.sort(stamps_ns)))) // 2


def _nearest(stamps_ns: NDArray[np.int64], others_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) index of the nearest of `others_ns` (M >= 1)."""
    order = np.argsort(others_ns, kind="stable")
    ordered = others_ns[order]
    after = np.searchsorted(ordered, stamps_ns, side="left").clip(max=ordered.size - 1)
    # The first of equal stamps stands for all of them, as `after` does by itself.
    before = np.searchsorted(ordered, ordered[(after - 1).clip(min=0)], side="left")
    nearer_before = np.abs(stamps_ns - ordered[before]) <= np.abs(ordered[after] - stamps_ns)
    nearest: NDArray[np.int64] = np.where(nearer_before, order[before], order[after]).astype(np.int64)
    return nearest
