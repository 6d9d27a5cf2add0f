# SPDX-License-Identifier: Apache-2.0
"""Scores a network on a dataset exactly as the node would see it: whole frames, at the camera's resolution."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from road_kd_seg import metrics
from road_kd_seg.backends.torch_backend import TorchBackend
from road_kd_seg.bundle import Bundle
from road_kd_seg.frame import RgbdFrame
from road_kd_seg.metrics import boundary
from road_kd_seg.networks import SegmentationNetwork
from road_kd_seg.segmenter import Segmenter
from road_kd_seg.taxonomy import Taxonomy
from road_kd_training.datasets import DatasetMetric, RgbdDataset
from road_kd_training.errors import DatasetError

PER_CLASS = {"iou": metrics.iou, "f1": metrics.f1, "precision": metrics.precision, "recall": metrics.recall}
SUMMARIES = {
    "miou": metrics.mean_iou,
    "mean_f1": metrics.mean_f1,
    "mean_precision": metrics.mean_precision,
    "mean_recall": metrics.mean_recall,
    "fw_iou": metrics.frequency_weighted_iou,
    "fw_f1": metrics.frequency_weighted_f1,
}


BANDS_M = ((0.0, 3.0), (3.0, 5.0), (5.0, 7.0), (7.0, math.inf))
"""Distances along the optical axis that are scored apart, near end included: what is far is small, and lost first."""


@dataclass(frozen=True)
class Score:
    """What came out on one dataset."""

    counts: metrics.Counts
    """(K, K), ground truth by prediction, in pixels."""
    frames: int
    boundary_counts: metrics.Counts | None = None
    """(K, 4) from `boundary.boundary_counts`; None if that was not asked for."""
    boundary_px: int = boundary.TOLERANCE_PX
    dataset_metrics: Mapping[str, float] = field(default_factory=dict)
    """The dataset's own metrics by name, if it has any."""
    band_counts: metrics.Counts | None = None
    """(bands, K, K), `counts` of the pixels with valid depth in each of `BANDS_M`; None without depth."""

    @property
    def miou(self) -> float:
        """Mean over the classes that occur."""
        return metrics.mean_iou(self.counts)

    @property
    def selection(self) -> float:
        """What picks a run's best checkpoint: mIoU, and the mean of its values by distance where there is depth.

        A far pothole has few pixels: mIoU alone would let a run trade it away in silence.
        """
        by_band = [] if self.band_counts is None else [metrics.mean_iou(c) for c in self.band_counts if c.any()]
        return self.miou if not by_band else (self.miou + sum(by_band) / len(by_band)) / 2

    def to_dict(self, taxonomy: Taxonomy) -> dict[str, object]:
        """Plain data for model cards and tables, rounded to four digits; None where there is no number.

        Classes without ground truth are left out.
        """
        present = [c for c in taxonomy.classes if self.counts[c.id].any()]

        def by_class(values: metrics.PerClass) -> dict[str, float | None]:
            return {c.name: rounded(values[c.id]) for c in present}

        report: dict[str, object] = {"frames": self.frames}
        report |= {name: rounded(summary(self.counts)) for name, summary in SUMMARIES.items()}
        report |= {name: by_class(values(self.counts)) for name, values in PER_CLASS.items()}
        if self.boundary_counts is not None:
            report["boundary_px"] = self.boundary_px
            report["mean_boundary_f1"] = rounded(boundary.mean_boundary_f1(self.boundary_counts))
            report["boundary_f1"] = by_class(boundary.boundary_f1(self.boundary_counts))
        if self.band_counts is not None:
            report["by_distance"] = [
                {"band_m": [near, None if math.isinf(far) else far], "iou": by_class(metrics.iou(counts))}
                for (near, far), counts in zip(BANDS_M, self.band_counts, strict=True)
            ]
        if self.dataset_metrics:
            report["dataset_metrics"] = {name: rounded(value) for name, value in self.dataset_metrics.items()}
        return report

    def describe(self, taxonomy: Taxonomy) -> str:
        """One line for a terminal: mIoU, and the IoU of each class that occurs."""
        ious = metrics.iou(self.counts)
        present = (f"{c.name} {ious[c.id]:.3f}" for c in taxonomy.classes if self.counts[c.id].any())
        return f"mIoU {self.miou:.3f} ({', '.join(present)})"


def rounded(value: float) -> float | None:
    """Four digits, as tables have them; None for what is not a number, which JSON does not know."""
    return None if math.isnan(value) else round(float(value), 4)


def score_dataset(
    segmenter: Segmenter,
    dataset: RgbdDataset,
    *,
    dataset_metric: DatasetMetric | None = None,
    boundary_px: int | None = None,
    show_progress: bool = False,
) -> Score:
    """Segment and score every labeled sample.

    Classes that a dataset never labels (stereo_pothole knows road and pothole only) still count as errors when they
    are predicted.

    Args:
        segmenter: what is scored.
        dataset: with the segmenter's classes, see `check_classes`.
        dataset_metric: sees every sample, labeled or not, with the probabilities of all classes.
        boundary_px: tolerance of the boundary score in pixels of the camera's image; None leaves it out.
        show_progress: a bar on the terminal.
    """
    num_classes = len(segmenter.taxonomy)
    counts = np.zeros((num_classes, num_classes), np.int64)
    boundary_counts = None if boundary_px is None else np.zeros((num_classes, 4), np.int64)
    bands = np.zeros((len(BANDS_M), num_classes, num_classes), np.int64)
    for index in track(range(len(dataset)), "scoring", transient=True, disable=not show_progress):
        sample = dataset[index]
        frame = RgbdFrame(sample.rgb, sample.depth_m)
        if dataset_metric is not None:
            probabilities = segmenter.probabilities(frame)
            dataset_metric.add(sample, probabilities)
        if sample.label is None:
            continue
        prediction = segmenter(frame).label if dataset_metric is None else probabilities.argmax(0).astype(np.uint8)
        counts += metrics.confusion_matrix(sample.label, prediction, num_classes)
        if sample.depth_m is not None:
            bands += counts_by_band(sample.label, prediction, sample.depth_m, num_classes)
        if boundary_counts is not None and boundary_px is not None:
            boundary_counts += boundary.boundary_counts(sample.label, prediction, num_classes, boundary_px)
    return Score(
        counts,
        len(dataset),
        boundary_counts,
        boundary.TOLERANCE_PX if boundary_px is None else boundary_px,
        {} if dataset_metric is None else dataset_metric.result(),
        bands if bands.any() else None,
    )


def counts_by_band(
    label: NDArray[np.uint8], prediction: NDArray[np.uint8], depth_m: NDArray[np.float32], num_classes: int
) -> metrics.Counts:
    """Ground truth by prediction of the labeled pixels with valid depth, for each of `BANDS_M`: (bands, K, K).

    Args:
        label: (H, W), 255 = ignore.
        prediction: (H, W).
        depth_m: (H, W), 0 = invalid.
        num_classes: K.
    """
    scored = (label < num_classes) & (depth_m > 0)
    edges = [near for near, _ in BANDS_M[1:]]
    band = np.digitize(depth_m[scored], edges)
    cell = (band * num_classes + label[scored]) * num_classes + prediction[scored]
    shape = (len(BANDS_M), num_classes, num_classes)
    return np.bincount(cell, minlength=math.prod(shape)).reshape(shape)


def check_classes(segmenter: Segmenter, dataset: RgbdDataset, name: str) -> None:
    """Refuse to score a model on a dataset whose label values mean something else; equal names are enough.

    Raises:
        DatasetError: the classes differ; the message lists both.
    """
    if segmenter.taxonomy.names != dataset.taxonomy.names:
        raise DatasetError(
            f"model '{segmenter.bundle.name}' and dataset '{name}' have different classes, so a score would mean"
            f" nothing: the model's are {', '.join(segmenter.taxonomy.names)}; the dataset's are"
            f" {', '.join(dataset.taxonomy.names)}: use a model that was trained on this dataset"
        )


def wrap_network(network: SegmentationNetwork, bundle: Bundle, device: torch.device) -> Segmenter:
    """A segmenter around a network in training; `bundle` describes its classes and input."""
    return Segmenter(bundle, TorchBackend(network, str(device)))


def mean_selection(scores: Mapping[str, Score]) -> float:
    """What picks the best weights, over all validation sets."""
    return sum(score.selection for score in scores.values()) / len(scores)


def unique_names(names: Sequence[str]) -> list[str]:
    """The same names, those that repeat numbered from the second on."""
    return [name if name not in names[:i] else f"{name}_{names[:i].count(name) + 1}" for i, name in enumerate(names)]
