# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from road_kd_seg.metrics.calibration import (
    NUM_BINS,
    confidence_counts,
    expected_calibration_error,
    precision_recall,
)

SHAPE = (100, 200)


def drawn(share_right, confidence, seed=0):
    """Predictions of class 1 that are right with some probability."""
    right = np.random.default_rng(seed).random(SHAPE) < share_right
    ground_truth = np.where(right, 1, 0).astype(np.uint8)
    return ground_truth, np.ones(SHAPE, np.uint8), np.full(SHAPE, confidence, np.float32)


class TestConfidenceCounts:
    def test_pixels_are_counted_by_class_bin_and_whether_they_are_right(self):
        ground_truth, prediction = np.array([[0, 1, 1, 255]], np.uint8), np.array([[0, 0, 1, 1]], np.uint8)
        counts = confidence_counts(ground_truth, prediction, np.array([[0.99, 0.5, 1.0, 0.1]], np.float32), 2)
        assert counts.shape == (2, NUM_BINS, 2)
        assert counts[0, [25, 49]].tolist() == [[1, 0], [1, 1]]
        assert counts[1, 49].tolist() == [1, 1]
        assert counts[..., 0].sum() == 3

    def test_images_add_up(self):
        parts = [drawn(0.8, 0.7, seed) for seed in (1, 2)]
        both = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
        assert (sum(confidence_counts(*part, 2) for part in parts) == confidence_counts(*both, 2)).all()


class TestCalibrationError:
    def test_confidence_that_is_the_share_of_right_pixels_has_none(self):
        assert expected_calibration_error(confidence_counts(*drawn(0.81, 0.81), 2)) == pytest.approx(0, abs=0.01)

    def test_being_too_sure_by_a_tenth_is_an_error_of_a_tenth(self):
        assert expected_calibration_error(confidence_counts(*drawn(0.81, 0.91), 2)) == pytest.approx(0.1, abs=0.01)

    def test_nothing_scored_is_not_a_number(self):
        assert np.isnan(expected_calibration_error(np.zeros((2, NUM_BINS, 2), np.int64)))


class TestPrecisionRecall:
    def test_equals_scikit_learn(self):
        metrics = pytest.importorskip("sklearn.metrics")
        random = np.random.default_rng(0)
        ground_truth = random.integers(0, 3, SHAPE, np.uint8)
        prediction = np.where(random.random(SHAPE) < 0.7, ground_truth, random.integers(0, 3, SHAPE)).astype(np.uint8)
        confidence = random.random(SHAPE).astype(np.float32)
        counts = confidence_counts(ground_truth, prediction, confidence, 3)
        precision, recall = precision_recall(counts, np.bincount(ground_truth.ravel(), minlength=3))
        for class_id in range(3):
            for first in (0, 13, 40):
                chosen = (prediction == class_id) & ((confidence * NUM_BINS).astype(int) >= first)
                scores = metrics.precision_recall_fscore_support(
                    (ground_truth == class_id).ravel(), chosen.ravel(), average="binary"
                )
                assert (precision[class_id, first], recall[class_id, first]) == pytest.approx(scores[:2])

    def test_a_class_that_is_not_there_has_neither(self):
        precision, recall = precision_recall(np.zeros((1, NUM_BINS, 2), np.int64), np.zeros(1, np.int64))
        assert np.isnan(precision).all()
        assert np.isnan(recall).all()
