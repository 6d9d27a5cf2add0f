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


def check_counts(counts: NDArray[np.int64], height: int, width: int) -> None:
    """Refuse runs that do not fill an image.

    Raises:
        ValueError: a run below 0 or longer than the image, another sum, or more pixels than an image may have.
    """
    size, covered = height * width, counts.sum(dtype=np.float64)
    # Each run alone too: the sum of huge ones wraps around, and np.repeat would write beyond its memory.
    fits = counts.ndim == 1 and counts.size and counts.min() >= 0 and counts.max() <= size and covered == size
    if not fits or size > MAX_PIXELS or min(height, width) < 1:
        raise ValueError(f"the runs cover {covered:.0f} pixels, expected {height} x {width} and at most {MAX_PIXELS}")


def fill_rows(counts: NDArray[np.int64], height: int, width: int) -> NDArray[np.bool_]:
    """(H, W) mask of runs along the rows that `check_counts` accepts."""
    mask: NDArray[np.bool_] = np.repeat(np.arange(counts.size) % 2 == 1, counts).reshape(height, width)
    return mask


def fill_columns(counts: NDArray[np.int64], height: int, width: int) -> NDArray[np.bool_]:
    """(H, W) mask of runs down the columns that `check_counts` accepts."""
    return np.asarray(fill_rows(counts, width, height).T)


def decode_mask(text: bytes, height: int, width: int) -> NDArray[np.bool_]:
    """(H, W) mask.

    Raises:
        ValueError: no run-length text, or one of another size.
    """
    counts = decode_counts(text)
    check_counts(counts, height, width)
    return fill_columns(counts, height, width)
