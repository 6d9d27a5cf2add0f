# SPDX-License-Identifier: Apache-2.0
"""Frames to quantize a bundle with: of what it was trained on, and of what it was validated on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from road_kd_seg.bundle import Bundle
from road_kd_seg.errors import RoadKdError
from road_kd_seg.frame import LabeledFrame, RgbdFrame
from road_kd_seg.synthetic import render_scene
from road_kd_training.datasets import build_dataset

NUM_CALIBRATION = 32
NUM_SCORED = 32
_TRAINING_SEED, _VALIDATION_SEED = 0, 1_000_000
"""Of the rendered scenes: the synthetic dataset's seeds."""


def calibration_frames(bundle: Bundle) -> list[RgbdFrame]:
    """Training frames of every dataset that is on this machine, and rendered scenes, in equal parts."""
    return [frame for frame, _ in _frames(bundle, "train", NUM_CALIBRATION, _TRAINING_SEED)]


def scored_frames(bundle: Bundle) -> list[LabeledFrame]:
    """Validation frames, likewise."""
    return list(_frames(bundle, "validation_data", NUM_SCORED, _VALIDATION_SEED))


def _frames(bundle: Bundle, part: str, count: int, first_seed: int) -> Iterator[LabeledFrame]:
    sources: Sequence[Mapping[str, Any]] = bundle.provenance.get(part) or []
    datasets = []
    for source in sources:
        if source.get("dataset") == "synthetic":  # rendering a few of its scenes takes less than opening it
            continue
        try:
            datasets.append(build_dataset(str(source["dataset"]), **source.get("options", {})))
        except (RoadKdError, TypeError):  # not on this machine, or of another version
            continue
    rendered = count // (1 + len(datasets))
    yield from (render_scene(seed) for seed in range(first_seed, first_seed + rendered))
    for dataset in datasets:
        each = min(len(dataset), rendered)
        for index in range(each):
            sample = dataset[index * len(dataset) // each]
            if sample.depth_m is None and bundle.input.depth is not None:
                continue  # trained on beside RGB-D frames; the model itself refuses it
            yield LabeledFrame(RgbdFrame(sample.rgb, sample.depth_m), sample.label)
