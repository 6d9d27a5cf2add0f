# SPDX-License-Identifier: Apache-2.0
"""What a run would trip over hours later: samples are read and checked before its first step."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from road_kd_seg.errors import shown
from road_kd_seg.frame import IGNORE_INDEX
from road_kd_seg.frame_checks import depth_unit_problem
from road_kd_training.config import DataConfig, TrainConfig
from road_kd_training.data import Pool
from road_kd_training.datasets import RgbdDataset, RgbdSample
from road_kd_training.errors import DatasetError, TrainingError

CHECK_S = 30.0
"""A dataset too large to be read in this time is checked in part: the rest is met during training, which then leaves a
checkpoint."""


def check_data(
    config: TrainConfig,
    pools: Sequence[Pool],
    validation: Sequence[RgbdDataset],
    *,
    needs_depth: bool,
    limit_s: float = CHECK_S,
) -> list[str]:
    """Read the samples of a run in random order, all of them if they can be read in `limit_s` seconds.

    Args:
        config: names the datasets.
        pools: of the training data.
        validation: its datasets.
        needs_depth: whether the student, a peer or a teacher requires depth.
        limit_s: seconds for all datasets together.

    Returns:
        What is odd but may be meant, a line each.

    Raises:
        DatasetError: a sample that cannot be read, lacks its label, or has labels that are no class.
        TrainingError: depth is missing that the networks need, or validation data without a labeled pixel.
    """
    train = [(*pair, pools[0].labeled) for pair in zip(config.train, pools[0].sources, strict=True)]
    unlabeled = [(*pair, False) for pair in zip(config.unlabeled, pools[-1].sources, strict=False)]
    sources = [*train, *unlabeled, *((c, d, False) for c, d in zip(config.validation, validation, strict=True))]
    first_validation = len(train) + len(unlabeled)
    found = [
        _Source(data, dataset, labeled, must_have_labels=number >= first_validation)
        for number, (data, dataset, labeled) in enumerate(sources)
    ]
    deadline_s = time.monotonic() + limit_s
    for number, source in enumerate(found):
        source.read(time.monotonic() + (deadline_s - time.monotonic()) / (len(found) - number))
    if needs_depth:
        _check_depth(found, may_be_missing=config.augment.drop_depth > 0)
    return [line for source in found for line in source.notes(needs_depth)]


class _Source:
    """One dataset of a run, and what was found in it."""

    def __init__(self, data: DataConfig, dataset: RgbdDataset, labeled: bool, *, must_have_labels: bool) -> None:
        self.name, self.dataset, self.labeled = data.dataset, dataset, labeled
        self.must_have_labels = must_have_labels
        self.checked = self.with_depth = 0
        self.without_depth = ""
        """Id of a sample that has none."""
        self.unit_problem = ""

    def read(self, until_s: float) -> None:
        """Check samples until a time, and at least until one with a labeled pixel if there must be one."""
        labeled = False
        for index in np.random.default_rng(0).permutation(len(self.dataset)).tolist():
            if time.monotonic() > until_s and (labeled or not self.must_have_labels):
                return
            sample = self.dataset[index]
            labeled |= self._check(sample)
            self.checked += 1
        if self.must_have_labels and not labeled:
            raise TrainingError(
                f"validation dataset '{self.name}' has no labeled pixel in its {len(self.dataset)} samples,"
                " so no score can be computed: label some, or name another dataset"
            )

    def _check(self, sample: RgbdSample) -> bool:
        """Refuse what training would; whether the sample has a labeled pixel."""
        if sample.depth_m is None:
            self.without_depth = self.without_depth or sample.id
        else:
            self.with_depth += 1
            self.unit_problem = self.unit_problem or depth_unit_problem(sample.depth_m)
        for what, image in (("depth", sample.depth_m), ("label", sample.label)):
            if image is not None and image.shape != sample.rgb.shape[:2]:
                raise DatasetError(
                    f"dataset '{self.name}', sample {shown(sample.id)}: {what} is {image.shape} (H, W), its image"
                    f" {sample.rgb.shape[:2]}"
                )
        if sample.label is None:
            if self.labeled:
                raise DatasetError(
                    f"dataset '{self.name}', sample {shown(sample.id)} has no label: list its dataset under unlabeled,"
                    " or label it"
                )
            return False
        values = np.unique(sample.label)
        unknown = [int(v) for v in values if v >= len(self.dataset.taxonomy) and v != IGNORE_INDEX]
        if unknown:
            raise DatasetError(
                f"dataset '{self.name}', sample {shown(sample.id)}: holds label values {shown(unknown)}, expected"
                f" 0 to {len(self.dataset.taxonomy) - 1}, or {IGNORE_INDEX} where unknown"
            )
        return bool((values != IGNORE_INDEX).any())

    def notes(self, needs_depth: bool) -> list[str]:
        """What is odd but may be meant."""
        lines = []
        if self.checked < len(self.dataset):
            lines.append(f"dataset '{self.name}': {self.checked} of {len(self.dataset)} samples were checked")
        if needs_depth and self.unit_problem:
            lines.append(f"dataset '{self.name}': {self.unit_problem}")
        return lines


def _check_depth(sources: Sequence[_Source], *, may_be_missing: bool) -> None:
    may_be_missing &= any(source.with_depth for source in sources)
    for source in sources:
        if not source.without_depth or (may_be_missing and not source.must_have_labels):
            continue
        share = "none of the samples" if not source.with_depth else f"{source.with_depth} of {source.checked} samples"
        raise TrainingError(
            f"dataset '{source.name}': {share} checked has depth, sample {shown(source.without_depth)} has none, and"
            " the network requires depth: add it, use input.depth none and a network for color alone, or, of training"
            " data, set augment.drop_depth for a network that is to work without as well"
        )
