# SPDX-License-Identifier: Apache-2.0
"""RVL, the lossless depth compression of compressed_depth_image_transport (Wilson, ISS 2017). NumPy only.

An image is a sequence of runs: how many zeros, how many non-zeros, then each non-zero value as a zig-zag difference to
the one before. Numbers are groups of three bits in nibbles, lowest first; a nibble's high bit says that more follow.
Eight nibbles make a little-endian 32-bit word, the first one on top.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.errors import FrameError

_SHIFTS = np.arange(7, -1, -1).astype(np.uint32) * 4
_MAX_NIBBLES = 11
"""A longer number does not fit into 32 bits."""


def decode_rvl(data: Any, height: int, width: int) -> NDArray[np.uint16]:
    """The (H, W) values that `data` (anything with the buffer protocol) holds.

    Raises:
        FrameError: the data ends early or is no RVL of an image of this size.
    """
    numbers = _numbers(np.frombuffer(data, np.uint8))
    size = height * width
    starts, lengths, places = _runs(numbers, size)
    count = int(lengths.sum())
    before = np.cumsum(lengths) - lengths
    within = np.arange(count) - np.repeat(before, lengths)
    zigzag = numbers[np.repeat(starts, lengths) + within]
    values = np.cumsum((zigzag >> 1) ^ -(zigzag & 1))
    if count and not 0 <= values.min() <= values.max() <= np.iinfo(np.uint16).max:
        raise FrameError("RVL depth: values beyond 16 bits: the message is damaged")
    image = np.zeros(size, np.uint16)
    image[np.repeat(places, lengths) + within] = values
    return image.reshape(height, width)


def _numbers(data: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Every number of a stream; what the last word is filled up with reads as zeros."""
    words = data[: data.size // 4 * 4].view("<u4")
    nibbles = (words[:, None] >> _SHIFTS & 15).reshape(-1).astype(np.int64)
    ends = np.flatnonzero(nibbles < 8)
    nibbles = nibbles[: ends[-1] + 1] if ends.size else nibbles[:0]
    starts = np.concatenate([[0], ends[:-1] + 1]) if ends.size else ends
    lengths = ends - starts + 1
    if lengths.max(initial=0) > _MAX_NIBBLES:
        raise FrameError("RVL depth: a number of more than 32 bits: the message is damaged")
    shift = 3 * (np.arange(nibbles.size) - np.repeat(starts, lengths))
    parts = (nibbles & 7) << shift
    return np.add.reduceat(parts, starts) if starts.size else parts


def _runs(numbers: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Of every run of non-zeros: where its differences begin, how many there are, and its first pixel."""
    runs: list[tuple[int, int, int]] = []
    at = pixel = 0
    while pixel < size and at + 1 < numbers.size:
        zeros, length = int(numbers[at]), int(numbers[at + 1])
        pixel += zeros
        runs.append((at + 2, length, pixel))
        at += 2 + length
        pixel += length
    # A last run of zeros may lack the count of non-zeros that belongs to it.
    if pixel < size and at + 1 == numbers.size:
        pixel += int(numbers[at])
        at += 1
    if pixel != size or at > numbers.size:
        raise FrameError(f"RVL depth: data for {min(pixel, size)} of {size} pixels: the message was cut short")
    starts, lengths, places = np.array(runs, np.int64).reshape(-1, 3).T
    return starts, lengths, places
