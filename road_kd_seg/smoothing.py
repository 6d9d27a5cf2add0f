# SPDX-License-Identifier: Apache-2.0
"""Steady masks: what a network says of a frame, averaged with what it said of the frames before, where nothing moved.

Logits are averaged, which is the geometric mean of class probabilities: a softmax would cost more than the average
itself. K classes, H W camera size, h w size of the logits.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

_GRID = (36, 64)
"""Cells in which motion is looked for."""
_STILL = 4.0
"""Difference of a cell's mean brightness, of 255, up to which it counts as still."""
_MAX_GAP_NS = 500_000_000


class Smoother:
    """Exponential average of logits, gated by motion; keeps what it saw last.

    Args:
        share: of the past in the average, 0 (none) to below 1.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._gray: NDArray[np.float32] | None = None
        self._average: Tensor | None = None
        self._stamp_ns = 0

    def __call__(self, logits: Tensor, rgb: NDArray[np.uint8], stamp_ns: int) -> Tensor:
        """The average, of new memory.

        Args:
            logits: (1, K, h, w).
            rgb: (H, W, 3), of the same frame.
            stamp_ns: of the same frame; after a gap, or when time went back, the past is forgotten.
        """
        gray, before, past = _coarse(rgb), self._gray, self._average
        fresh = 0 < stamp_ns - self._stamp_ns <= _MAX_GAP_NS
        if before is None or past is None or past.shape != logits.shape or not fresh:
            average = logits.clone()
        else:
            moving = cv2.dilate((np.abs(gray - before) > _STILL).astype(np.float32), np.ones((3, 3), np.uint8))
            weight = torch.from_numpy(1 - self._share * (1 - moving)).to(logits.device)[None, None]
            average = torch.lerp(past, logits, F.interpolate(weight, logits.shape[2:], mode="nearest"))
        self._gray, self._average, self._stamp_ns = gray, average, stamp_ns
        return average


def _coarse(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean brightness by cell, of four by four of its pixels: enough for a mean."""
    step = max(1, rgb.shape[0] // (4 * _GRID[0]))
    green = np.ascontiguousarray(rgb[::step, ::step, 1])
    return cv2.resize(green, _GRID[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
