# SPDX-License-Identifier: Apache-2.0
"""Rows that learn from labels that another row's network made, as CPKD's NO-4K was labeled (Section IV)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from road_kd_seg.files import write_file
from road_kd_seg.segmenter import Segmenter
from road_kd_training.config import DataConfig
from road_kd_training.data import build_datasets
from road_kd_training.datasets import RgbdDataset, RgbdSample
from road_kd_training.errors import TrainingError
from road_kd_training.label_sheets import write_sheets
from road_kd_training.pseudo_label import write_pseudo_labels

SUMMARY = "pseudo_labels.json"
"""Written last, so that its presence means that the labels are complete."""
PAGES = 4
"""Of contact sheets, at most."""


class WithoutLabels:
    """The frames of several datasets, one after the other, as if nobody had labeled them."""

    def __init__(self, sources: Sequence[RgbdDataset]) -> None:
        self.sources = sources
        self.taxonomy = sources[0].taxonomy
        self.places = [(source, index) for source in sources for index in range(len(source))]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> RgbdSample:
        source, place = self.places[index]
        return replace(source[place], label=None)


def label_frames(segmenter: Segmenter, sources: Sequence[DataConfig], out: Path, min_confidence: float) -> None:
    """Label the frames of `sources`: `out` becomes a dataset `frames`, with confidence and contact sheets beside.

    What is complete is left as it is.

    Raises:
        DatasetError: the folder cannot be written.
    """
    if (out / SUMMARY).is_file():
        return
    shutil.rmtree(out, ignore_errors=True)
    frames = WithoutLabels(build_datasets(sources))
    result = write_pseudo_labels(segmenter, frames, out, min_confidence=min_confidence, with_frames=True)
    write_sheets(out, frames, segmenter, result, PAGES)
    summary = {"min_confidence": min_confidence, **result.to_dict(segmenter.taxonomy)}
    write_file(out / SUMMARY, (json.dumps(summary, indent=1) + "\n").encode(), error=TrainingError)
