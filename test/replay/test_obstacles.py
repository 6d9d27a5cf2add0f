# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from road_kd_seg.frame import RgbdFrame
from road_kd_seg.replay.labels import LabelStore
from road_kd_seg.replay.obstacles import score_obstacles
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY

ROAD, HOLE, BOX = 1, 3, 4
SIZE = (40, 60)
PERIOD_NS = 100_000_000


def painted(*areas):
    label = np.full(SIZE, ROAD, np.uint8)
    for class_id, rows, columns in areas:
        label[slice(*rows), slice(*columns)] = class_id
    return label


NOTHING, LEFT, RIGHT = painted(), painted((HOLE, (5, 15), (5, 15))), painted((HOLE, (5, 15), (40, 50)))


def scores_of(labels, predictions, depth_m=2.0, stamps_ns=None):
    stamps_ns = stamps_ns or [i * PERIOD_NS for i in range(len(labels))]
    frames = [
        RgbdFrame(np.zeros((*SIZE, 3), np.uint8), np.full(SIZE, depth_m, np.float32), stamp_ns=s) for s in stamps_ns
    ]
    stores = [LabelStore.of(zip(stamps_ns, images, strict=True)) for images in (labels, predictions)]
    return score_obstacles(frames, *stores, DEFAULT_TAXONOMY, PERIOD_NS)


class TestObjects:
    def test_they_are_counted_in_their_band(self):
        scores = scores_of([LEFT, LEFT], [LEFT, NOTHING], depth_m=7.0)
        assert scores.all_objects[HOLE].tolist() == [1, 2]
        assert scores.objects[:, HOLE].tolist() == [[0, 0], [1, 2], [0, 0]]
        assert scores.pixels[1, HOLE].tolist() == [100, 200]


class TestFalseAlarms:
    def test_one_that_lasts_is_one_and_one_that_comes_back_is_two(self):
        assert scores_of([NOTHING] * 4, [LEFT, LEFT, NOTHING, LEFT]).false_alarms == 2

    def test_one_that_moves_a_little_is_the_same(self):
        assert scores_of([NOTHING] * 2, [LEFT, painted((HOLE, (8, 18), (20, 30)))]).false_alarms == 1

    def test_one_elsewhere_is_another(self):
        assert scores_of([NOTHING] * 2, [LEFT, RIGHT]).false_alarms == 2

    def test_the_time_is_that_between_neighbors(self):
        stamps_ns = [0, PERIOD_NS, 50 * PERIOD_NS, 51 * PERIOD_NS]
        scores = scores_of([NOTHING] * 4, [LEFT] * 4, stamps_ns=stamps_ns)
        assert scores.minutes == pytest.approx(0.2 / 60)
        assert scores.false_alarms == 2


class TestSteadiness:
    def test_an_object_that_was_found_and_is_missed_next_is_lost(self):
        scores = scores_of([LEFT] * 4, [LEFT, NOTHING, LEFT, LEFT])
        assert (scores.lasting, scores.lost) == (2, 1)

    def test_an_object_that_leaves_is_not_lost(self):
        assert scores_of([LEFT, RIGHT], [LEFT, NOTHING]).lasting == 0

    def test_flicker_is_what_changes_where_the_label_does_not(self):
        assert scores_of([NOTHING] * 2, [NOTHING, LEFT]).flicker == pytest.approx(100 / (40 * 60))

    def test_a_single_frame_has_none(self):
        assert np.isnan(scores_of([NOTHING], [NOTHING]).flicker)
