# SPDX-License-Identifier: Apache-2.0
"""Renders a bundle's golden frames, with the labels that PyTorch in float32 on a CPU predicts for them."""

from __future__ import annotations

import numpy as np

from road_kd_seg.backends import load_backend
from road_kd_seg.bundle import Bundle
from road_kd_seg.frame import RgbdFrame
from road_kd_seg.golden import GoldenFrame, golden_size, pack_golden
from road_kd_seg.segmenter import Segmenter
from road_kd_seg.synthetic import render_scene

GOLDEN_SEEDS = (2_000_100, 2_000_108, 2_000_101)
"""Two views along a road and a close-up, which no recipe trains on."""


def make_golden(bundle: Bundle) -> bytes:
    """What golden.safetensors has to hold, see `bundle.add_attachment`."""
    segmenter = Segmenter(bundle, load_backend("torch", bundle, "cpu", "fp32"))
    size = golden_size(bundle.input.size, len(GOLDEN_SEEDS))
    frames = [_stored(render_scene(seed, *size).frame, depth=segmenter.needs_depth) for seed in GOLDEN_SEEDS]
    return pack_golden([GoldenFrame(frame, segmenter(frame).label) for frame in frames])


def _stored(frame: RgbdFrame, *, depth: bool) -> RgbdFrame:
    """The frame as it comes back out of the file: depth in whole millimeters."""
    depth_m = None
    if depth and frame.depth_m is not None:
        depth_m = (np.rint(frame.depth_m * 1000).astype(np.uint16) / np.float32(1000)).astype(np.float32)
    return RgbdFrame(frame.rgb, depth_m)
