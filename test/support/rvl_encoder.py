# SPDX-License-Identifier: Apache-2.0
"""RVL as its paper describes it, value by value: what the vectorized decoder is held against."""

import struct
from itertools import groupby

import numpy as np


def encode_rvl(depth: np.ndarray) -> bytes:
    """(H, W) uint16 to the stream behind the size."""
    nibbles: list[int] = []

    def put(number: int) -> None:
        while True:
            low, number = number & 7, number >> 3
            nibbles.append(low | (8 if number else 0))
            if not number:
                return

    runs = [(positive, [int(v) for v in run]) for positive, run in groupby(depth.reshape(-1), lambda v: v > 0)]
    if runs[0][0]:
        runs.insert(0, (False, []))
    if not runs[-1][0]:
        runs.append((True, []))
    previous = 0
    for (_, zeros), (_, values) in zip(runs[::2], runs[1::2], strict=True):
        put(len(zeros))
        put(len(values))
        for value in values:
            difference = value - previous
            put(2 * difference if difference >= 0 else -2 * difference - 1)
            previous = value
    nibbles += [0] * (-len(nibbles) % 8)
    words = ["".join(f"{nibble:x}" for nibble in nibbles[i : i + 8]) for i in range(0, len(nibbles), 8)]
    return b"".join(struct.pack("<I", int(word, 16)) for word in words)
