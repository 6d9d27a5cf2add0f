# SPDX-License-Identifier: Apache-2.0
"""Masks as COCO stores them: lengths of runs in column order, written as text. H W image size.

The runs alternate between outside and inside, outside first, down the columns. From the fourth on, each length is
written as its difference to the one two before. A number is written lowest five bits first, one character per five
bits: 48 + bits, + 32 where more follow; the highest bit of its last character is the sign.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BITS = 5
MORE, SIGN, FIRST_CHARACTER = 1 << BITS, 1 << (BITS - 1), 48
MAX_PIXELS = 50_000_000
MAX_CHARACTERS = 12
"""Of one number: what an int64 holds."""


def decode_counts(text: bytes) -> NDArray[np.int64]:
    """Lengths of the runs, in order.

    Raises:
        ValueError: a character that cannot stand there, or a number without end.
    """
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - FIRST_CHARACTER
    if not codes.size or codes.min() < 0 or codes.max() >= 2 * MORE:
        raise ValueError("not a run-length text of characters '0' to 'o'")
    ends = np.flatnonzero(codes & MORE == 0)
    if not ends.size or ends[-1] != codes.size - 1:
        raise ValueError("the run-length text breaks off within a number")
    lengths = np.diff(ends, prepend=-1)
    if lengths.max() > MAX_CHARACTERS:
        raise ValueError("the run-length text holds a number that is too long")
    starts = ends + 1 - lengths
    position = np.arange(codes.size) - np.repeat(starts, lengths)
    counts = np.add.reduceat((codes & (MORE - 1)) << (BITS * position), starts)
    counts -= np.where(codes[ends] & SIGN, np.left_shift(1, BITS * lengths), 0)
    counts[1::2] = np.cumsum(counts[1::2])
    counts[2::2] = np.cumsum(counts[2::2])
    return counts


def decode_mask(text: bytes, height: int, width: int) -> NDArray[np.bool_]:
    """(H, W) mask.

    Raises:
        ValueError: no run-length text, or one of another size.
    """
    counts = decode_counts(text)
    if counts.min() < 0 or counts.sum() != height * width or height * width > MAX_PIXELS:
        raise ValueError(f"the runs cover {counts.sum()} pixels, expected {height} x {width} and at most {MAX_PIXELS}")
    inside = np.arange(counts.size) % 2 == 1
    return np.asarray(np.repeat(inside, counts).reshape(width, height).T)
