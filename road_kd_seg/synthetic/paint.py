# SPDX-License-Identifier: Apache-2.0
"""Road paint as coverage: how much of a pixel on the road is painted."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from road_kd_seg.synthetic.arrays import F32, U8, f32
from road_kd_seg.synthetic.scene import LaneLine, Mark, MarkKind

STENCIL_PX_M = 0.015
"""Meters per pixel of a stencil."""


def line_coverage(line: LaneLine, s_m: F32, t_m: F32, pixel_s_m: F32, pixel_t_m: F32) -> F32:
    """Share of each pixel that a lane line covers, 0 to 1.

    Args:
        line: the line.
        s_m: (h, w) road coordinates of the pixels.
        t_m: as s_m.
        pixel_s_m: size of a pixel's footprint along the road; broadcasts with s_m.
        pixel_t_m: and across it.
    """
    coverage = _band(t_m - np.float32(line.t_m), line.width_m, pixel_t_m)
    if line.gap_m > 0:
        period_m = line.dash_m + line.gap_m
        cycles = s_m / np.float32(period_m)
        phase_m = (cycles - np.floor(cycles) - 0.5) * np.float32(period_m)
        coverage *= _band(phase_m, line.dash_m, pixel_s_m)
    return coverage


def _band(offset_m: F32, width_m: float, pixel_m: F32) -> F32:
    return f32(np.clip((np.float32(width_m / 2) - np.abs(offset_m)) / pixel_m + np.float32(0.5), 0, 1))


@lru_cache(maxsize=64)
def stencil(mark: Mark) -> U8:
    """(n, m) picture of a mark, 255 where painted; row 0 is its far end, column 0 its left."""
    rows, columns = round(mark.length_m / STENCIL_PX_M), round(mark.width_m / STENCIL_PX_M)
    image = np.zeros((rows, columns), np.uint8)
    if mark.kind is MarkKind.STOP_LINE:
        image[:] = 255
    elif mark.kind is MarkKind.ZEBRA:
        bar = round(0.5 / STENCIL_PX_M)
        image[:, (np.arange(columns) // bar) % 2 == 0] = 255
    elif mark.kind is MarkKind.TEXT:
        _draw_text(image, mark.text)
    else:
        _draw_arrow(image, mark.kind)
    return image


def _draw_arrow(image: U8, kind: MarkKind) -> None:
    if kind is MarkKind.ARROW_AHEAD:
        outline = [(0.5, 0), (1, 0.42), (0.62, 0.42), (0.62, 1), (0.38, 1), (0.38, 0.42), (0, 0.42)]
    else:
        outline = [
            (1, 0.17),
            (0.55, 0),
            (0.55, 0.10),
            (0.1, 0.24),
            (0.1, 1),
            (0.34, 1),
            (0.34, 0.34),
            (0.55, 0.26),
            (0.55, 0.36),
        ]
        if kind is MarkKind.ARROW_LEFT:
            outline = [(1 - x, y) for x, y in outline]
    rows, columns = image.shape
    cv2.fillPoly(image, [np.array([(x * (columns - 1), y * (rows - 1)) for x, y in outline], np.int32)], 255)


def _draw_text(image: U8, text: str) -> None:
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 2.0, 9)
    letters = np.zeros((height + 12, width + 12), np.uint8)
    cv2.putText(letters, text, (6, height + 4), cv2.FONT_HERSHEY_SIMPLEX, 2.0, 255, 9, cv2.LINE_AA)
    image[:] = cv2.resize(letters, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_AREA)
