# SPDX-License-Identifier: Apache-2.0
import numpy as np

from road_kd_seg.replay.report.pictures import (
    ERROR_COLORS,
    crop_around,
    error_masks,
    paint_depth,
    paint_errors,
    paint_prediction,
)
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY

ROAD, LANE, HOLE, BOX = 1, 2, 3, 4


class TestDepth:
    def test_near_is_bright_far_is_dark_and_invalid_is_black(self):
        near, middle, far, invalid = paint_depth(np.array([[1.0, 5.0, 9.0, 0.0]], np.float32), (1.0, 9.0))[0]
        assert near.sum() > middle.sum() > far.sum() > 0
        assert invalid.tolist() == [0, 0, 0]


class TestErrors:
    ground_truth = np.array([[HOLE, ROAD, ROAD, HOLE, 255, ROAD]], np.uint8)
    prediction = np.array([[ROAD, BOX, LANE, BOX, HOLE, ROAD]], np.uint8)

    def test_a_missed_an_invented_obstacle_and_other_errors_are_told_apart(self):
        missed, false, other = error_masks(self.ground_truth, self.prediction, DEFAULT_TAXONOMY)
        assert missed.astype(int).tolist() == [[1, 0, 0, 0, 0, 0]]
        assert false.astype(int).tolist() == [[0, 1, 0, 0, 0, 0]]
        assert other.astype(int).tolist() == [[0, 0, 1, 1, 0, 0]]

    def test_right_and_ignored_pixels_stay_gray(self):
        rgb = np.full((1, 6, 3), (100, 100, 100), np.uint8)
        painted = paint_errors(rgb, self.ground_truth, self.prediction, DEFAULT_TAXONOMY)[0]
        assert [tuple(p) for p in painted[:3].tolist()] == [
            ERROR_COLORS["missed obstacle"],
            ERROR_COLORS["false obstacle"],
            ERROR_COLORS["other error"],
        ]
        assert painted[4:].tolist() == [[50, 50, 50]] * 2


class TestPrediction:
    def test_an_obstacle_is_outlined_in_its_color_and_the_image_is_not_changed(self):
        rgb, label = np.full((40, 60, 3), 100, np.uint8), np.full((40, 60), ROAD, np.uint8)
        label[10:30, 20:40] = HOLE
        painted = paint_prediction(rgb, label, DEFAULT_TAXONOMY)
        assert tuple(painted[10, 30]) == DEFAULT_TAXONOMY.classes[HOLE].color
        assert painted[9, 30].tolist() == [0, 0, 0]
        assert (rgb == 100).all()


class TestCrop:
    def test_it_is_a_square_inside_the_image_that_holds_the_box(self):
        marked = np.zeros((200, 300), np.uint8)
        marked[0:20, 280:300] = 1
        cropped = crop_around(marked, (280, 0, 20, 20))
        assert cropped.shape == (96, 96)
        assert cropped.sum() == 400

    def test_a_box_larger_than_the_image_gives_what_there_is(self):
        assert crop_around(np.zeros((20, 30), np.uint8), (0, 0, 30, 20)).shape == (20, 20)
