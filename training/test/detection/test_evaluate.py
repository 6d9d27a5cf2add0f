# SPDX-License-Identifier: Apache-2.0
import builtins
import math

import numpy as np
import pytest

from road_kd_training.detection.evaluate import NAMES, Detections, average_precision
from road_kd_training.errors import TrainingError


def detections(*rows):
    """Rows of (left, top, right, bottom, class, score)."""
    values = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(values[:, :4], values[:, 4].astype(np.int64), values[:, 5])


class TestAveragePrecision:
    def test_two_objects_and_three_detections_by_hand(self, boxes):
        """The first detection is exact, the second hits nothing, the third has IoU 50 / 80 = 0.625.

        Up to IoU 0.6, precision is 1 to recall 0.5 (51 of COCO's 101 points) and 2 / 3 beyond (50 points); above, half
        of the objects are found with precision 1.
        """
        truth = boxes((0, 0, 20, 20, 0), (100, 0, 180, 10, 0))
        found = detections((0, 0, 20, 20, 0, 0.9), (300, 300, 320, 320, 0, 0.8), (100, 0, 150, 10, 0, 0.7))
        scores = average_precision([(truth, found)], ["pothole"])
        loose, strict = (51 + 50 * 2 / 3) / 101, 51 / 101
        assert scores["AP50"] == pytest.approx(loose)
        assert scores["AP75"] == pytest.approx(strict)
        assert scores["AP"] == pytest.approx((3 * loose + 7 * strict) / 10)
        assert scores["APS"] == pytest.approx(scores["AP"])
        assert math.isnan(scores["APM"])
        assert math.isnan(scores["APL"])

    def test_exact_detections_score_1(self, boxes):
        images = [
            (boxes((0, 0, 20, 20, 0)), detections((0, 0, 20, 20, 0, 0.3))),
            (boxes((5, 5, 200, 200, 1)), detections((5, 5, 200, 200, 1, 0.9))),
        ]
        scores = average_precision(images, ["a", "b"])
        assert [scores[name] for name in ("AP", "AP50", "AP75", "APS", "APL")] == [1.0] * 5

    def test_the_right_box_of_the_wrong_class_is_nothing(self, boxes):
        scores = average_precision([(boxes((0, 0, 20, 20, 0)), detections((0, 0, 20, 20, 1, 0.9)))], ["a", "b"])
        assert scores["AP"] == 0

    def test_a_second_detection_of_the_same_object_is_a_false_positive_below_it(self, boxes):
        truth = boxes((0, 0, 20, 20, 0), (100, 0, 120, 20, 0))
        found = detections(
            (0, 0, 20, 20, 0, 0.9), (0, 0, 20, 20, 0, 0.8), (100, 0, 120, 20, 0, 0.7)
        )  # fmt: skip
        assert average_precision([(truth, found)], ["a"])["AP"] == pytest.approx((51 + 50 * 2 / 3) / 101)

    def test_detections_in_a_crowd_neither_help_nor_harm(self, boxes):
        truth = boxes((0, 0, 20, 20, 0), (100, 100, 200, 200, 0), crowd=(1,))
        exact = (0, 0, 20, 20, 0, 0.5)
        in_crowd = (110, 110, 150, 150, 0, 0.9)
        assert average_precision([(truth, detections(exact, in_crowd))], ["a"])["AP"] == 1.0

    def test_sizes_are_those_of_the_objects_and_not_of_their_boxes(self, boxes):
        truth = boxes((0, 0, 50, 50, 0))
        truth.areas[:] = 100  # thin, in a box of 2,500 pixels
        scores = average_precision([(truth, detections((0, 0, 50, 50, 0, 0.5)))], ["a"])
        assert scores["APS"] == 1.0
        assert math.isnan(scores["APM"])

    def test_nothing_detected_scores_0_and_nothing_to_detect_has_no_score(self, boxes):
        assert average_precision([(boxes((0, 0, 5, 5, 0)), detections())], ["a"]) == dict.fromkeys(NAMES, 0.0)
        assert all(math.isnan(value) for value in average_precision([(boxes(), detections())], ["a"]).values())

    def test_a_false_alarm_on_an_empty_image_lowers_the_score(self, boxes):
        hit = (boxes((0, 0, 20, 20, 0)), detections((0, 0, 20, 20, 0, 0.5)))
        alarm = (boxes(), detections((0, 0, 20, 20, 0, 0.9)))
        assert average_precision([hit, alarm], ["a"])["AP"] == pytest.approx(0.5)

    def test_it_prints_nothing(self, boxes, capsys):
        average_precision([(boxes((0, 0, 5, 5, 0)), detections((0, 0, 5, 5, 0, 1)))], ["a"])
        assert capsys.readouterr().out == ""

    def test_a_missing_package_is_named_with_its_extra(self, boxes, monkeypatch):
        real = builtins.__import__

        def refuse(name, *args, **kwargs):
            if name == "faster_coco_eval":
                raise ImportError(name)
            return real(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", refuse)
        with pytest.raises(TrainingError, match=r"pip install 'road_kd_training\[detection\]'"):
            average_precision([(boxes(), detections())], ["a"])
