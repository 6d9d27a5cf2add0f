# SPDX-License-Identifier: Apache-2.0
"""Average precision as COCO defines it, by faster-coco-eval."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from road_kd_training.detection.boxes import BoxDataset, Boxes
from road_kd_training.detection.data import as_example
from road_kd_training.detection.detectors import Detector
from road_kd_training.errors import TrainingError

NAMES = ("AP", "AP50", "AP75", "APS", "APM", "APL")
"""COCO's six, of 0 to 1: over IoU 0.5 to 0.95, at 0.5, at 0.75; of objects below 32², 96² and above in pixels."""


@dataclass(frozen=True, slots=True)
class Detections:
    """Of one image."""

    corners: NDArray[np.float32]
    """(N, 4) left, top, right, bottom."""
    classes: NDArray[np.int64]
    """(N,) from 0."""
    scores: NDArray[np.float32]
    """(N,)."""


def require_evaluator() -> Any:
    """The package that computes it.

    Raises:
        TrainingError: it is not installed.
    """
    try:
        import faster_coco_eval
    except ImportError as error:
        raise TrainingError(
            "COCO's average precision requires faster-coco-eval: pip install 'road_kd_training[detection]'"
        ) from error
    return faster_coco_eval


def average_precision(images: Iterable[tuple[Boxes, Detections]], class_names: Sequence[str]) -> dict[str, float]:
    """COCO's metrics by the names in `NAMES`; NaN where there is no object of that size.

    Args:
        images: objects and detections of each image, at most 100 of which count.
        class_names: of all classes.

    Raises:
        TrainingError: faster-coco-eval is not installed.
    """
    evaluator = require_evaluator()
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    count = 0
    for count, (boxes, detections) in enumerate(images, 1):
        truth += [
            {"id": len(truth) + i, "image_id": count, "category_id": int(one), "bbox": box, "area": float(area),
             "iscrowd": int(crowd)}
            for i, (box, one, area, crowd) in enumerate(
                zip(_as_size(boxes.corners), boxes.classes, boxes.areas, boxes.crowd, strict=True), 1
            )
        ]  # fmt: skip
        found += [
            {"image_id": count, "category_id": int(one), "bbox": box, "score": float(score)}
            for box, one, score in zip(_as_size(detections.corners), detections.classes, detections.scores, strict=True)
        ]
    if not found:  # which its reader does not take
        return dict.fromkeys(NAMES, 0.0 if truth else float("nan"))
    categories = [{"id": index, "name": name} for index, name in enumerate(class_names)]
    data = {"images": [{"id": i} for i in range(1, count + 1)], "annotations": truth, "categories": categories}
    with contextlib.redirect_stdout(io.StringIO()):
        reader = evaluator.COCO(data)
        evaluation = evaluator.COCOeval_faster(reader, reader.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {
        name: float("nan") if value < 0 else float(value)
        for name, value in zip(NAMES, evaluation.stats[: len(NAMES)], strict=True)
    }


def score_detector(detector: Detector, dataset: BoxDataset, device: torch.device) -> dict[str, float]:
    """`average_precision` of a detector, image by image.

    Raises:
        TrainingError: faster-coco-eval is not installed.
        DatasetError: a sample that cannot be read.
    """
    detector = detector.to(device)

    def images() -> Iterator[tuple[Boxes, Detections]]:
        for index in range(len(dataset)):
            sample = dataset[index]
            (found,) = detector.detect([as_example(sample)[0].to(device)])
            corners, labels, scores = (found[name].cpu().numpy() for name in ("boxes", "labels", "scores"))
            yield sample.boxes, Detections(corners, labels - 1, scores)

    return average_precision(images(), dataset.class_names)


def _as_size(corners: NDArray[np.float32]) -> list[list[float]]:
    """(N, 4) left, top, width, height."""
    sizes: list[list[float]] = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1).tolist()
    return sizes
