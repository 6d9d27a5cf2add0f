# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from road_kd_seg import metrics
from road_kd_seg.errors import RoadKdError, ShapeMismatch


def labels(*values):
    return np.array(values, np.uint8)


class TestConfusionMatrix:
    def test_rows_are_the_target_and_columns_are_prediction(self):
        counts = metrics.confusion_matrix(labels(0, 0, 1, 2), labels(0, 1, 1, 1), 3)
        assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]

    def test_ignored_pixels_are_not_counted_whatever_was_predicted(self):
        assert metrics.confusion_matrix(labels(255, 1), labels(0, 1), 2).tolist() == [[0, 0], [0, 1]]

    def test_other_shapes_are_named(self):
        with pytest.raises(ShapeMismatch, match=r"got shape \(2,\), expected \(3,\): resize to the label, nearest"):
            metrics.confusion_matrix(labels(0, 0, 0), labels(0, 0), 2)

    @pytest.mark.parametrize(("target", "prediction"), [(labels(7), labels(0)), (labels(0), labels(255))])
    def test_an_id_that_is_no_class_is_refused(self, target, prediction):
        with pytest.raises(RoadKdError, match=r"expected 0..2 or 255 \(ignore\)"):
            metrics.confusion_matrix(target, prediction, 3)

    @given(seed=st.integers(0, 1000), parts=st.integers(1, 5))
    @settings(max_examples=20, deadline=None)
    def test_counts_of_parts_add_up(self, seed, parts):
        generator = np.random.default_rng(seed)
        target, prediction = generator.integers(0, 4, (2, 60), np.uint8)
        split = zip(np.array_split(target, parts), np.array_split(prediction, parts), strict=True)
        total = sum(metrics.confusion_matrix(t, p, 4) for t, p in split)
        assert (total == metrics.confusion_matrix(target, prediction, 4)).all()


class TestDerived:
    counts = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]])

    def test_by_hand(self):
        np.testing.assert_allclose(metrics.iou(self.counts), [6 / 9, 3 / 6, np.nan])
        np.testing.assert_allclose(metrics.precision(self.counts), [6 / 7, 3 / 5, np.nan])
        np.testing.assert_allclose(metrics.recall(self.counts), [6 / 8, 3 / 4, np.nan])
        np.testing.assert_allclose(metrics.f1(self.counts), [12 / 15, 6 / 9, np.nan])

    def test_the_mean_leaves_out_classes_without_ground_truth(self):
        assert metrics.mean_iou(self.counts) == pytest.approx((6 / 9 + 3 / 6) / 2)

    def test_nothing_scored_is_not_a_number(self):
        assert np.isnan(metrics.mean_iou(np.zeros((3, 3), np.int64)))

    def test_means_by_hand(self):
        assert metrics.mean_f1(self.counts) == pytest.approx((12 / 15 + 6 / 9) / 2)
        assert metrics.mean_precision(self.counts) == pytest.approx((6 / 7 + 3 / 5) / 2)
        assert metrics.mean_recall(self.counts) == pytest.approx((6 / 8 + 3 / 4) / 2)

    def test_frequency_weights_are_shares_of_true_pixels(self):
        assert metrics.frequency_weighted_iou(self.counts) == pytest.approx((8 * 6 / 9 + 4 * 3 / 6) / 12)
        assert metrics.frequency_weighted_f1(self.counts) == pytest.approx((8 * 12 / 15 + 4 * 6 / 9) / 12)

    def test_a_class_that_was_never_predicted_has_precision_0_in_the_mean(self):
        missed = np.array([[4, 0], [4, 0]])
        assert metrics.mean_precision(missed) == pytest.approx(0.5 / 2)

    @pytest.mark.parametrize(
        "summary",
        [
            metrics.mean_f1,
            metrics.mean_precision,
            metrics.mean_recall,
            metrics.frequency_weighted_iou,
            metrics.frequency_weighted_f1,
        ],
    )
    def test_summaries_of_nothing_are_not_numbers_and_of_perfection_1(self, summary):
        assert np.isnan(summary(np.zeros((3, 3), np.int64)))
        assert summary(np.diag([5, 0, 7])) == 1

    @given(seed=st.integers(0, 1000))
    @settings(max_examples=20, deadline=None)
    def test_equal_frequencies_make_weighted_and_plain_means_equal(self, seed):
        counts = np.random.default_rng(seed).integers(1, 50, (4, 4))
        counts[:, 0] += counts.sum(1).max() - counts.sum(1)
        assert metrics.frequency_weighted_iou(counts) == pytest.approx(metrics.mean_iou(counts))
        assert metrics.frequency_weighted_f1(counts) == pytest.approx(metrics.mean_f1(counts))

    @given(seed=st.integers(0, 1000))
    @settings(max_examples=20, deadline=None)
    def test_f1_and_iou_are_two_views_of_one_thing(self, seed):
        counts = np.random.default_rng(seed).integers(1, 50, (4, 4))
        iou = metrics.iou(counts)
        np.testing.assert_allclose(metrics.f1(counts), 2 * iou / (1 + iou))


class TestAgainstScikitLearn:
    @given(seed=st.integers(0, 10_000), ignored=st.sampled_from([0.0, 0.3, 1.0]), classes=st.sampled_from([2, 4, 6]))
    @settings(max_examples=30, deadline=None)
    def test_random_maps_with_ignored_pixels_and_absent_classes(self, seed, ignored, classes):
        sklearn = pytest.importorskip("sklearn.metrics")
        random = np.random.default_rng(seed)
        drawn = random.choice(random.integers(0, classes, 3), (2, 20, 30)).astype(np.uint8)
        known = random.random((20, 30)) >= ignored
        ground_truth, prediction = np.where(known, drawn[0], 255).astype(np.uint8), drawn[1]
        counts = metrics.confusion_matrix(ground_truth, prediction, classes)
        true, predicted, ids = drawn[0][known], drawn[1][known], list(range(classes))
        if not true.size:
            assert not counts.any()
            return
        assert (counts == sklearn.confusion_matrix(true, predicted, labels=ids)).all()
        precision, recall, f1, support = sklearn.precision_recall_fscore_support(
            true, predicted, labels=ids, zero_division=np.nan
        )
        np.testing.assert_allclose(metrics.precision(counts), precision)
        np.testing.assert_allclose(metrics.recall(counts), recall)
        np.testing.assert_allclose(metrics.f1(counts), f1)
        iou = sklearn.jaccard_score(true, predicted, labels=ids, average=None, zero_division=0)
        np.testing.assert_allclose(np.nan_to_num(metrics.iou(counts)), iou)
        present = support > 0
        assert metrics.mean_iou(counts) == pytest.approx(iou[present].mean())
        assert metrics.frequency_weighted_iou(counts) == pytest.approx(
            sklearn.jaccard_score(true, predicted, labels=ids, average="weighted", zero_division=0)
        )
