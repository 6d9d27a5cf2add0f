# SPDX-License-Identifier: Apache-2.0
"""What the rows of a table do, segment or detect: how data are opened, how a run trains, how it is scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from road_kd_seg.backends.torch_backend import TorchBackend, pick_device
from road_kd_seg.bundle import load_bundle
from road_kd_seg.segmenter import Segmenter
from road_kd_training.config import DataConfig, TrainConfig
from road_kd_training.data import build_datasets
from road_kd_training.datasets import DATASET_METRICS, build_dataset
from road_kd_training.detection.data import build_box_dataset, build_box_datasets
from road_kd_training.detection.detectors import load_detector
from road_kd_training.detection.evaluate import require_evaluator, score_detector
from road_kd_training.detection.train import DetectionTrainer
from road_kd_training.engine import Trainer
from road_kd_training.evaluate import check_classes, score_dataset
from road_kd_training.experiments.base import TaskName
from road_kd_training.experiments.metrics import Outcome, SetScore


@dataclass(frozen=True)
class Task:
    """One of them."""

    open_data: Callable[[Sequence[DataConfig]], object]
    """Raises what is wrong with the data before anything trains."""
    train: Callable[[TrainConfig], Path]
    """Trains or resumes a run; the folder of what it learned."""
    score: Callable[[Path, Mapping[str, DataConfig]], Outcome]
    """Of such a folder on each test set."""


def _train_segmenter(config: TrainConfig) -> Path:
    return Trainer(config).run()


def _score_segmenter(folder: Path, tests: Mapping[str, DataConfig]) -> Outcome:
    bundle = load_bundle(folder)
    network = bundle.build_network()
    parameters = sum(parameter.numel() for parameter in network.parameters())
    segmenter = Segmenter(bundle, TorchBackend(network, str(pick_device("auto"))))
    return Outcome({name: _score_on(segmenter, source) for name, source in tests.items()}, parameters)


def _score_on(segmenter: Segmenter, source: DataConfig) -> SetScore:
    dataset = build_dataset(source.dataset, **source.options)
    check_classes(segmenter, dataset, source.dataset)
    dataset_metric = DATASET_METRICS[source.dataset]() if source.dataset in DATASET_METRICS else None
    score = score_dataset(segmenter, dataset, dataset_metric=dataset_metric)
    return SetScore(score.counts, segmenter.taxonomy.names, score.dataset_metrics)


def _open_boxes(configs: Sequence[DataConfig]) -> None:
    require_evaluator()
    build_box_datasets(configs)


def _train_detector(config: TrainConfig) -> Path:
    return DetectionTrainer(config).run()


def _score_detector(folder: Path, tests: Mapping[str, DataConfig]) -> Outcome:
    detector, spec = load_detector(folder)
    device, no_pixels = pick_device("auto"), np.zeros((0, 0), np.int64)
    scores = {
        name: SetScore(no_pixels, spec.class_names, score_detector(detector, build_box_dataset(source), device))
        for name, source in tests.items()
    }
    return Outcome(scores, detector.num_parameters)


TASKS: Mapping[TaskName, Task] = {
    "segmentation": Task(build_datasets, _train_segmenter, _score_segmenter),
    "detection": Task(_open_boxes, _train_detector, _score_detector),
}
