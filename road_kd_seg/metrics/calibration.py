# SPDX-License-Identifier: Apache-2.0
"""Does a confidence of 0.9 mean nine in ten? Reliability from histograms that add up over frames. B bins, K classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.frame import IGNORE_INDEX
from road_kd_seg.metrics.confusion import Counts

NUM_BINS = 50
"""Of confidence, 0 to 1; a confidence of 1 lies in the last."""


def confidence_counts(
    ground_truth: NDArray[np.uint8], prediction: NDArray[np.uint8], confidence: NDArray[np.float32], num_classes: int
) -> Counts:
    """Count pixels by predicted class, confidence and whether they are right; counts of several images add up.

    Args:
        ground_truth: (H, W) class ids or IGNORE_INDEX, which is not counted.
        prediction: (H, W) class ids.
        confidence: (H, W), probability of the predicted class.
        num_classes: K.

    Returns:
        (K, B, 2): all, and those that are right.
    """
    cell = prediction.astype(np.uint16)
    cell *= np.uint16(NUM_BINS)
    cell += np.clip(confidence * np.float32(NUM_BINS), 0, NUM_BINS - 1).astype(np.uint16)
    cell *= np.uint16(2)
    cell += ground_truth == prediction
    num_cells = num_classes * NUM_BINS * 2
    cell[ground_truth == IGNORE_INDEX] = num_cells
    counted = np.bincount(cell.reshape(-1), minlength=num_cells + 1)[:num_cells].reshape(num_classes, NUM_BINS, 2)
    wrong, right = np.moveaxis(counted, 2, 0)
    counts: Counts = np.stack([wrong + right, right], axis=-1)
    return counts


def bin_centers() -> NDArray[np.float64]:
    """(B,) confidences in the middle of the bins."""
    return (np.arange(NUM_BINS) + 0.5) / NUM_BINS


def expected_calibration_error(counts: Counts) -> float:
    """Mean distance of confidence and share of right pixels (Guo et al., ICML 2017), weighted by pixels; NaN for none.

    Args:
        counts: (K, B, 2) of `confidence_counts`; a bin's confidence is its middle.
    """
    total, right = counts.sum(0).T
    if not total.sum():
        return float("nan")
    return float(np.abs(right - total * bin_centers()).sum() / total.sum())


def precision_recall(counts: Counts, true_pixels: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision and recall of each class if only predictions of at least a bin's confidence count.

    Args:
        counts: (K, B, 2) of `confidence_counts`.
        true_pixels: (K,) labeled pixels of each class.

    Returns:
        (K, B) each; NaN where nothing is predicted, or the class does not occur.
    """
    predicted, right = np.moveaxis(np.flip(np.flip(counts, 1).cumsum(1), 1), 2, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(predicted > 0, right / predicted, np.nan)
        recall = np.where(true_pixels[:, None] > 0, right / true_pixels[:, None], np.nan)
    return precision, recall
