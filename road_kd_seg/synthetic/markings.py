# SPDX-License-Identifier: Apache-2.0
"""Paints lane lines and marks onto the road. Functions change the canvas they get."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from road_kd_seg.synthetic import paint, textures
from road_kd_seg.synthetic.arrays import F32, f32
from road_kd_seg.synthetic.canvas import Canvas, Ground, blend, fade
from road_kd_seg.synthetic.layers import FAINT, layer, resolved
from road_kd_seg.synthetic.scene import Mark, Road
from road_kd_seg.taxonomy import LANE_MARKING, ROAD

_FADES_M = (18.0, 30.0)
"""Paint is whole up to the first, and gone beyond the second: what nobody can see is not labeled either."""


def paint_lines(canvas: Canvas, ground: Ground, road: Road, marks: Iterable[Mark]) -> None:
    """Lane lines and marks, worn; sets labels where paint is seen."""
    rows = np.flatnonzero((ground.depth_m < _FADES_M[1]).any(axis=1))
    if rows.size == 0:
        return
    first = int(rows[0])
    s_m, t_m = ground.s_m[first:], ground.t_m[first:]
    coverage = np.zeros_like(s_m)
    yellow = np.zeros_like(s_m)
    for line in road.lines:
        one = paint.line_coverage(line, s_m, t_m, ground.pixel_s_m[first:], ground.pixel_t_m[first:])
        target = yellow if line.yellow else coverage
        np.maximum(target, one, out=target)
    for mark in marks:
        _stamp(coverage, ground, first, mark)
    is_yellow = yellow > coverage
    np.maximum(coverage, yellow, out=coverage)
    if not coverage.any():
        return
    coverage *= fade(ground.depth_m[first:], *_FADES_M)
    texture_s_m, texture_t_m = s_m + np.float32(road.texture_offset_m[0]), t_m + np.float32(road.texture_offset_m[1])
    wear = layer(textures.cloud(2), texture_s_m, texture_t_m, 0.008)
    coverage *= np.clip((np.float32(2.6 - 2.9 * road.paint_wear) - wear) * np.float32(4) + np.float32(0.5), 0, 1)
    label = canvas.label[first:]
    label[(coverage > 0.5) & (label == ROAD)] = LANE_MARKING
    coverage *= _opacity(road, texture_s_m, texture_t_m, ground.pixel_t_m[first:])
    rgb = np.full((*coverage.shape, 3), np.float32(0.7))
    if is_yellow.any():
        rgb[is_yellow] = (0.68, 0.44, 0.07)
    blend(canvas.rgb[first:], rgb, coverage)


def _opacity(road: Road, s_m: F32, t_m: F32, footprint_m: F32) -> F32:
    """How well paint hides the road: aggregate that shows through makes it rough and thin; it is still paint."""
    opacity = np.full_like(s_m, np.float32(0.95 - 0.35 * road.paint_wear))
    near = np.maximum(resolved(footprint_m, 0.01) - np.float32(FAINT), 0)
    rows = np.flatnonzero(near.any(axis=1))
    if rows.size:
        first = int(rows[0])
        chips = layer(textures.speckle(1), s_m[first:], t_m[first:], 0.004)
        opacity[first:] -= np.float32(0.16) * np.abs(chips) * near[first:]
    return f32(np.maximum(opacity, np.float32(0.4)))


def _stamp(coverage: F32, ground: Ground, first: int, mark: Mark) -> None:
    region = ground.region(mark.s_m, mark.t_m, mark.length_m / 2, mark.width_m / 2)
    if region is None or region[0].stop <= first:
        return
    rows, columns = slice(max(region[0].start, first), region[0].stop), region[1]
    image = paint.stencil(mark)
    u = (ground.t_m[rows, columns] - np.float32(mark.t_m - mark.width_m / 2)) / np.float32(paint.STENCIL_PX_M) - 0.5
    v = (np.float32(mark.s_m + mark.length_m / 2) - ground.s_m[rows, columns]) / np.float32(paint.STENCIL_PX_M) - 0.5
    one = textures.sample_mask(image, u, v)
    target = coverage[rows.start - first : rows.stop - first, columns]
    np.maximum(target, one, out=target)
