# SPDX-License-Identifier: Apache-2.0
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from road_kd_seg.errors import RoadKdError, ShapeMismatch
from road_kd_seg.metrics.boundary import boundary_counts, boundary_f1, mean_boundary_f1


def halves(column, size=(10, 20)):
    """Class 0 left of `column`, class 1 from there on."""
    label = np.zeros(size, np.uint8)
    label[:, column:] = 1
    return label


def brute_force(target, prediction, num_classes, tolerance_px):
    """By distance transforms, class by class."""

    def edges(label):
        padded = np.pad(label, 1, mode="edge")
        neighbors = [padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]
        differs = np.any([(n != label) & (n != 255) for n in neighbors], axis=0) & (label != 255)
        return [differs & (label == index) for index in range(num_classes)]

    def near(edge):
        if not edge.any():
            return np.zeros(edge.shape, bool)
        return cv2.distanceTransform(np.uint8(~edge), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= tolerance_px + 1e-4

    pairs = zip(edges(target), edges(np.where(target == 255, 255, prediction)), strict=True)
    return np.array([[(t & near(p)).sum(), t.sum(), (p & near(t)).sum(), p.sum()] for t, p in pairs])


class TestBoundaryCounts:
    def test_a_straight_edge_has_one_pixel_per_row_on_each_side(self):
        assert boundary_counts(halves(8), halves(8), 2, 0).tolist() == [[10, 10, 10, 10]] * 2

    @pytest.mark.parametrize(("tolerance_px", "matched"), [(2, 0), (3, 10)])
    def test_an_edge_three_pixels_off_is_matched_within_three(self, tolerance_px, matched):
        assert boundary_counts(halves(8), halves(11), 2, tolerance_px).tolist() == [[matched, 10, matched, 10]] * 2

    def test_a_boundary_of_another_class_does_not_match(self):
        counts = boundary_counts(halves(8), halves(8) * 2, 3, 3)
        assert counts[1].tolist() == [0, 10, 0, 0]
        assert counts[2].tolist() == [0, 0, 0, 10]

    def test_the_frame_of_the_image_is_no_boundary(self):
        assert not boundary_counts(np.ones((5, 5), np.uint8), np.ones((5, 5), np.uint8), 2).any()

    def test_ignored_pixels_are_inert_and_their_edge_is_no_boundary(self):
        target = halves(8)
        target[:, 12:] = 255
        noise = np.random.default_rng(0).integers(0, 2, (10, 20), np.uint8)
        predictions = [np.where(target == 255, fill, halves(9)) for fill in (noise, 0, 1)]
        counts = [boundary_counts(target, prediction.astype(np.uint8), 2, 3) for prediction in predictions]
        assert (counts[0] == counts[1]).all()
        assert (counts[0] == counts[2]).all()
        assert counts[0][:, 1].tolist() == [10, 10]

    @given(
        seed=st.integers(0, 10_000),
        tolerance_px=st.integers(0, 5),
        size=st.tuples(st.integers(1, 17), st.integers(1, 23)),
    )
    @settings(max_examples=40, deadline=None)
    def test_equals_distance_transforms(self, seed, tolerance_px, size):
        generator = np.random.default_rng(seed)
        coarse = generator.choice([0, 1, 2, 255], (2, 1 + size[0] // 4, 1 + size[1] // 4)).astype(np.uint8)
        target, prediction = (c.repeat(4, 0).repeat(4, 1)[: size[0], : size[1]] for c in coarse)
        prediction = np.where(prediction == 255, 0, prediction)
        expected = brute_force(target, prediction, 3, tolerance_px)
        assert (boundary_counts(target, prediction, 3, tolerance_px) == expected).all()

    def test_other_shapes_and_negative_tolerances_are_named(self):
        with pytest.raises(
            ShapeMismatch, match=r"boundary_counts: prediction: got shape \(10, 20\), expected \(5, 5\)"
        ):
            boundary_counts(np.zeros((5, 5), np.uint8), halves(3), 2)
        with pytest.raises(RoadKdError, match="tolerance_px is -1, expected 0 or more"):
            boundary_counts(halves(3), halves(3), 2, -1)


class TestBoundaryF1:
    def test_by_hand(self):
        # P = 3/4, R = 1/2: 2PR / (P + R) = 0.6.
        assert boundary_f1(np.array([[5, 10, 3, 4]])) == pytest.approx([0.6])

    def test_none_on_both_sides_is_not_a_number_and_on_one_side_0(self):
        scores = boundary_f1(np.array([[0, 0, 0, 0], [0, 7, 0, 0], [0, 0, 0, 7], [0, 7, 0, 7]]))
        np.testing.assert_array_equal(scores, [np.nan, 0, 0, 0])

    def test_the_mean_leaves_out_classes_without_true_boundary(self):
        assert mean_boundary_f1(np.array([[10, 10, 10, 10], [0, 0, 0, 7], [0, 5, 0, 0]])) == pytest.approx(0.5)
        assert np.isnan(mean_boundary_f1(np.zeros((2, 4), np.int64)))
