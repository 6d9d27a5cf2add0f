# SPDX-License-Identifier: Apache-2.0
"""Scores of label maps, in NumPy: the confusion matrix and what is derived from it; `boundary` has its surroundings."""

from road_kd_seg.metrics.confusion import (
    Counts,
    PerClass,
    confusion_matrix,
    f1,
    frequency_weighted_f1,
    frequency_weighted_iou,
    iou,
    mean_f1,
    mean_iou,
    mean_precision,
    mean_recall,
    precision,
    recall,
)

__all__ = [
    "Counts",
    "PerClass",
    "confusion_matrix",
    "f1",
    "frequency_weighted_f1",
    "frequency_weighted_iou",
    "iou",
    "mean_f1",
    "mean_iou",
    "mean_precision",
    "mean_recall",
    "precision",
    "recall",
]
