# SPDX-License-Identifier: Apache-2.0
"""Is the depth aligned to the color image at all? Depth edges against color edges, averaged over a few frames.

Drivers mirror, shift or delay the aligned topic without a word (realsense-ros#2564, #3018, #3391), and masks go wrong.
Most edges of depth are edges of color, too (not the reverse): where the two maps correlate best tells the shift.
"""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg.frame_checks import depth_unit_problem
from road_kd_seg.preprocess.resize import resize_depth_array

_GRID = (96, 160)
_MAX_SHIFT = (16, 32)
"""Rows and columns of the grid up to which a shift is looked for: a sixth and a fifth of the image."""
_ALIGNED = 2
"""Shifts of so few grid pixels are none: 1.3 % of the width."""
_NUM_FRAMES = 6
_MIN_PEAK = 0.2
_MIN_GAIN = 0.08
"""In 24 rendered scenes, six at a time, aligned, shifted by 5 to 15 grid pixels and mirrored, the right correlation was
at least 0.24 and all others at most 0.29, the wrong ones of the same scenes at least 0.09 below the right one."""
_CREASE_PER_M = 0.006
"""Second difference of 1/z from one grid pixel to the next, 1/m, up to which a surface is smooth: twice the noise."""
_SMOOTH_PX = 8.0

_ORIENTATIONS = {
    "": np.s_[:, :],
    "mirrored left to right": np.s_[:, ::-1],
    "upside down and mirrored": np.s_[::-1, :],
    "turned by 180 degrees": np.s_[::-1, ::-1],
}


class AlignmentCheck:
    """Looks at a frame now and then; keeps what the last ones looked like."""

    def __init__(self) -> None:
        self._looks: deque[NDArray[np.float32]] = deque(maxlen=_NUM_FRAMES)

    def see(self, rgb: NDArray[np.uint8], depth_m: NDArray[np.float32]) -> str:
        """Look at a frame, color (H, W, 3) and depth (H, W); what seems wrong, empty if nothing does."""
        unit = depth_unit_problem(depth_m)
        if unit:
            return unit
        self._looks.append(_correlations(rgb, depth_m))
        if len(self._looks) < _NUM_FRAMES:
            return ""
        mean = np.mean(self._looks, axis=0)
        middle = tuple(slice(limit - _ALIGNED, limit + _ALIGNED + 1) for limit in _MAX_SHIFT)
        best, row, column = np.unravel_index(mean.argmax(), mean.shape)
        if mean.max() < _MIN_PEAK or mean.max() - mean[0][middle].max() < _MIN_GAIN:
            return ""
        orientation = list(_ORIENTATIONS)[best]
        if orientation:
            return f"depth is {orientation} against color: {_REMEDY}"
        down, right = (
            round((limit - int(found)) * size / grid)
            for limit, found, size, grid in zip(_MAX_SHIFT, (row, column), depth_m.shape, _GRID, strict=True)
        )
        return f"depth is shifted against color by about {right:+d} pixels to the right and {down:+d} down: {_REMEDY}"


_REMEDY = "check that the driver aligns depth to color and that both come from the same moment"


def _correlations(rgb: NDArray[np.uint8], depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
    """Correlation of the edge maps by orientation of the depth and shift, (4, 2 max rows + 1, 2 max columns + 1)."""
    height, width = _GRID
    small = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    gray = np.log1p(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32))
    coarse = resize_depth_array(depth_m, _GRID)
    valid = coarse > 0
    inverse = np.where(valid, 1 / np.where(valid, coarse, 1), 0).astype(np.float32)
    whole = cv2.erode(valid.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    rows, columns = ((size // 2 - limit, size // 2 + limit + 1) for size, limit in zip(_GRID, _MAX_SHIFT, strict=True))
    total = np.zeros((len(_ORIENTATIONS), rows[1] - rows[0], columns[1] - columns[0]), np.float32)
    second = np.array([[1, -2, 1]], np.float32)
    for (dx, dy), kernel in (((1, 0), second), ((0, 1), second.T)):
        color = _locally_normalized(np.abs(cv2.Sobel(gray, cv2.CV_32F, dx, dy)))
        crease = np.where(whole, np.abs(cv2.filter2D(inverse, -1, kernel)) - _CREASE_PER_M, 0).clip(0, 0.05)
        edges = cv2.GaussianBlur(crease.astype(np.float32), (0, 0), 1.0)
        for index, flip in enumerate(_ORIENTATIONS.values()):
            correlation = _correlate(color, edges[flip] - edges.mean())
            total[index] += correlation[rows[0] : rows[1], columns[0] : columns[1]]
    return total


def _locally_normalized(edges: NDArray[np.float32]) -> NDArray[np.float32]:
    """Edges relative to their surroundings, or strong texture would outweigh everything."""
    edges = cv2.GaussianBlur(edges, (0, 0), 1.0).astype(np.float32)
    edges = edges - cv2.GaussianBlur(edges, (0, 0), _SMOOTH_PX)
    spread = np.sqrt(cv2.GaussianBlur(edges * edges, (0, 0), _SMOOTH_PX)) + 1e-3 * (edges.std() + 1e-9)
    normalized: NDArray[np.float32] = edges / spread
    return normalized


def _correlate(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normalized correlation by shift; no shift is in the middle."""
    window = np.outer(np.hanning(_GRID[0]), np.hanning(_GRID[1]))
    windowed = first * window, second * window
    norm = np.linalg.norm(windowed[0]) * np.linalg.norm(windowed[1]) + 1e-9
    product = np.fft.rfft2(windowed[0]) * np.conj(np.fft.rfft2(windowed[1]))
    shifted: NDArray[np.float32] = np.fft.fftshift(np.fft.irfft2(product, s=_GRID)) / norm
    return shifted
