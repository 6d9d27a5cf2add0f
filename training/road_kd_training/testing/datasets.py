# SPDX-License-Identifier: Apache-2.0
"""What every dataset promises."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import numpy as np

from road_kd_seg.frame import IGNORE_INDEX
from road_kd_training.datasets import RgbdDataset
from road_kd_training.testing.checks import Check, expect


def check_dataset(dataset: RgbdDataset, *, max_samples: int = 20) -> Iterator[Check]:
    """What every dataset promises; at most `max_samples` are read."""
    num_classes = len(dataset.taxonomy)
    count = min(len(dataset), max_samples)

    def has_samples() -> None:
        expect(len(dataset) > 0, "it is empty")

    def gives_frames() -> None:
        for sample in (dataset[i] for i in range(count)):
            size = sample.rgb.shape[:2]
            expect(sample.rgb.dtype == np.uint8 and sample.rgb.shape == (*size, 3), f"{sample.id}: rgb")
            if sample.depth_m is not None:
                expect(sample.depth_m.dtype == np.float32 and sample.depth_m.shape == size, f"{sample.id}: depth_m")
                valid = np.isfinite(sample.depth_m).all() and (sample.depth_m >= 0).all()
                expect(bool(valid), f"{sample.id}: depth_m is negative or not finite; 0 means invalid")

    def gives_labels() -> None:
        for sample in (dataset[i] for i in range(count)):
            if sample.label is not None:
                expect(sample.label.dtype == np.uint8, f"{sample.id}: label is {sample.label.dtype}")
                expect(sample.label.shape == sample.rgb.shape[:2], f"{sample.id}: label has another size than rgb")
                ids = set(np.unique(sample.label).tolist()) - {IGNORE_INDEX}
                expect(ids <= set(range(num_classes)), f"{sample.id}: label ids {sorted(ids)} of {num_classes} classes")

    def has_unique_ids() -> None:
        ids = [dataset[i].id for i in range(count)]
        expect(len(set(ids)) == len(ids), "two samples have one id")

    def repeats_itself() -> None:
        for first, second in ((dataset[i], dataset[i]) for i in range(min(count, 3))):
            expect(first.id == second.id and np.array_equal(first.rgb, second.rgb), f"{first.id}: read twice, differs")

    def travels() -> None:
        copied = pickle.loads(pickle.dumps(dataset))
        expect(len(copied) == len(dataset) and copied[0].id == dataset[0].id, "its copy in a loader process differs")

    yield Check("it has samples", has_samples)
    yield Check("color is uint8 (H, W, 3), depth float32 (H, W) in meters, 0 where invalid", gives_frames)
    yield Check("labels are class ids or 255, at the size of the color image", gives_labels)
    yield Check("ids are unique", has_unique_ids)
    yield Check("a sample read twice is the same", repeats_itself)
    yield Check("it can be sent to a loader process", travels)
