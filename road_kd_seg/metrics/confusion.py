# SPDX-License-Identifier: Apache-2.0
"""The confusion matrix and what is derived from it. Dataset-level: counts are summed over frames first. K classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.errors import RoadKdError, ShapeMismatch
from road_kd_seg.frame import IGNORE_INDEX

Counts = NDArray[np.int64]
PerClass = NDArray[np.float64]

_NUM_IDS = 256
"""Of labels in 8 bits."""


def confusion_matrix(target: NDArray[np.uint8], prediction: NDArray[np.uint8], num_classes: int) -> Counts:
    """Count pixels by true (row) and predicted (column) class; (K, K).

    Args:
        target: class ids of any shape; IGNORE_INDEX is not counted.
        prediction: class ids of the same shape.
        num_classes: K.

    Raises:
        ShapeMismatch: the shapes differ.
        RoadKdError: an id that is no class.
    """
    if target.shape != prediction.shape:
        raise ShapeMismatch(
            "confusion_matrix: prediction", prediction.shape, target.shape, hint="resize to the label, nearest"
        )
    # One pass over pairs of 8 bit ids: several times faster than masks and products of 64 bit ones.
    pairs = target.astype(np.uint16) * np.uint16(_NUM_IDS) + prediction
    joint: Counts = np.bincount(pairs.reshape(-1), minlength=_NUM_IDS**2).reshape(_NUM_IDS, _NUM_IDS)
    joint[IGNORE_INDEX] = 0
    for axis, what in ((1, "target"), (0, "prediction")):
        highest = int(joint.any(axis).nonzero()[0].max(initial=0))
        if highest >= num_classes:
            raise RoadKdError(
                f"confusion_matrix: {what} has id {highest}, expected 0..{num_classes - 1} or {IGNORE_INDEX} (ignore)"
            )
    counts: Counts = joint[:num_classes, :num_classes].copy()
    return counts


def iou(counts: Counts) -> PerClass:
    """Intersection over union, (K,); NaN for a class that is neither in the ground truth nor predicted."""
    hits = np.diag(counts)
    return _ratio(hits, counts.sum(0) + counts.sum(1) - hits)


def precision(counts: Counts) -> PerClass:
    """Share of the pixels predicted as a class that are, (K,); NaN where it was never predicted."""
    return _ratio(np.diag(counts), counts.sum(0))


def recall(counts: Counts) -> PerClass:
    """Share of a class's pixels that were found, (K,); NaN where it does not occur."""
    return _ratio(np.diag(counts), counts.sum(1))


def f1(counts: Counts) -> PerClass:
    """Harmonic mean of precision and recall (the papers' F-score), (K,)."""
    hits = np.diag(counts)
    return _ratio(2 * hits, counts.sum(0) + counts.sum(1))


def mean_iou(counts: Counts) -> float:
    """Mean IoU over the classes that occur in the ground truth; NaN if nothing was scored."""
    return _mean(iou(counts), counts)


def mean_f1(counts: Counts) -> float:
    """Mean F1 over the classes that occur in the ground truth (LIX's mFsc)."""
    return _mean(f1(counts), counts)


def mean_precision(counts: Counts) -> float:
    """Mean precision over the classes that occur in the ground truth; one that was never predicted counts as 0."""
    return _mean(np.nan_to_num(precision(counts)), counts)


def mean_recall(counts: Counts) -> float:
    """Mean recall over the classes that occur in the ground truth."""
    return _mean(recall(counts), counts)


def frequency_weighted_iou(counts: Counts) -> float:
    """IoU weighted by each class's share of the true pixels (LIX's fwIoU); NaN if nothing was scored."""
    return _frequency_weighted(iou(counts), counts)


def frequency_weighted_f1(counts: Counts) -> float:
    """F1 weighted by each class's share of the true pixels (LIX's fwFsc); NaN if nothing was scored."""
    return _frequency_weighted(f1(counts), counts)


def _mean(per_class: PerClass, counts: Counts) -> float:
    present = counts.sum(1) > 0
    return float(per_class[present].mean()) if present.any() else float("nan")


def _frequency_weighted(per_class: PerClass, counts: Counts) -> float:
    pixels = counts.sum(1)
    present = pixels > 0
    return float(np.average(per_class[present], weights=pixels[present])) if present.any() else float("nan")


def _ratio(numerator: Counts, denominator: Counts) -> PerClass:
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio: PerClass = np.where(denominator > 0, numerator / denominator, np.nan)
    return ratio
