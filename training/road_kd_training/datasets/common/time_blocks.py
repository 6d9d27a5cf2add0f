# SPDX-License-Identifier: Apache-2.0
"""Splits of a recording by time: neighboring frames look alike, so a random split would score what it trained on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from road_kd_training.errors import DatasetError

EVERY = 5
"""One block of so many is validation: the second, so that a recording of two blocks has both."""
BLOCK_S = 10.0
GAP_S = 1.0


def split_by_time(
    stamps_ns: NDArray[np.int64], block_s: float = BLOCK_S, gap_s: float = GAP_S
) -> Mapping[str, NDArray[np.int64]]:
    """Cut a recording into blocks of `block_s` seconds; every fifth, from the second on, is validation.

    Frames within `gap_s` of a validation block are in neither split: a training frame a few hundredths of a second away
    would show what validation asks for.

    Args:
        stamps_ns: (N,) in any order, N >= 1.
        block_s: length of a block.
        gap_s: width of the strip that is left out on each side of a validation block.

    Returns:
        Indices into `stamps_ns`, ascending, of `train`, `validation` and `all`.

    Raises:
        DatasetError: no block, or a gap as long as one.
    """
    if not 0 <= gap_s < block_s:
        raise DatasetError(f"block_s is {block_s:g} and gap_s {gap_s:g}: expected seconds with 0 <= gap_s < block_s")
    phase_s = (stamps_ns - stamps_ns.min()) / 1e9 % (EVERY * block_s)
    validation = (phase_s >= block_s) & (phase_s < 2 * block_s)
    train = (phase_s < block_s - gap_s) | (phase_s >= 2 * block_s + gap_s)
    return {"train": np.flatnonzero(train), "validation": np.flatnonzero(validation), "all": np.arange(stamps_ns.size)}
