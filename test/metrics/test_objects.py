# SPDX-License-Identifier: Apache-2.0
import numpy as np

from road_kd_seg.metrics.objects import counts_by_distance, false_alarms, labeled_objects

ROAD, HOLE, BOX = 1, 3, 4
SIZE = (40, 60)


def painted(*areas, base=ROAD):
    """A label with rectangles of (class, rows, columns)."""
    label = np.full(SIZE, base, np.uint8)
    for class_id, rows, columns in areas:
        label[slice(*rows), slice(*columns)] = class_id
    return label


HOLE_LEFT, HOLE_RIGHT = (HOLE, (5, 15), (5, 15)), (HOLE, (5, 15), (40, 50))


class TestLabeledObjects:
    def test_each_connected_area_is_an_object_that_is_found_or_not(self):
        things = list(labeled_objects(painted(HOLE_LEFT, HOLE_RIGHT), painted(HOLE_LEFT), None, [HOLE, BOX]))
        assert sorted((t.class_id, t.area_px, t.found) for t in things) == [(HOLE, 100, False), (HOLE, 100, True)]

    def test_half_of_its_pixels_are_enough_and_less_are_not(self):
        for columns, found in (((5, 10), True), ((5, 9), False)):
            (thing,) = labeled_objects(painted(HOLE_LEFT), painted((HOLE, (5, 15), columns)), None, [HOLE])
            assert thing.found is found

    def test_another_obstacle_class_does_not_find_it(self):
        (thing,) = labeled_objects(painted(HOLE_LEFT), painted((BOX, *HOLE_LEFT[1:])), None, [HOLE])
        assert not thing.found

    def test_its_distance_is_the_median_of_its_valid_depth(self):
        depth_m = np.zeros(SIZE, np.float32)
        depth_m[5:8, 5:15] = 3.0
        depth_m[20:] = 9.0
        near, nowhere = labeled_objects(painted(HOLE_LEFT, HOLE_RIGHT), painted(), depth_m, [HOLE])
        assert {near.distance_m, nowhere.distance_m} == {3.0, None}

    def test_specks_are_no_objects(self):
        assert not list(labeled_objects(painted((HOLE, (0, 7), (0, 9))), painted(), None, [HOLE]))


class TestFalseAlarms:
    def test_an_area_that_touches_no_obstacle_is_one(self):
        (alarm,) = false_alarms(painted(HOLE_LEFT), painted(HOLE_LEFT, HOLE_RIGHT), [HOLE, BOX])
        assert (painted(HOLE_RIGHT) == HOLE)[alarm].all()

    def test_too_large_an_answer_at_an_obstacle_is_none(self):
        assert false_alarms(painted(HOLE_LEFT), painted((BOX, (0, 30), (0, 30))), [HOLE, BOX]) == []

    def test_nobody_knows_whether_an_unlabeled_area_is_one(self):
        assert false_alarms(painted(base=255), painted(HOLE_LEFT), [HOLE, BOX]) == []


class TestCountsByDistance:
    def test_pixels_are_counted_in_the_band_of_their_depth(self):
        ground_truth, prediction = painted(HOLE_LEFT), painted((HOLE, (5, 10), (5, 15)))
        depth_m = np.full(SIZE, 2.0, np.float32)
        depth_m[12:15, 5:15] = 7.0
        depth_m[14] = 0
        counts = counts_by_distance(ground_truth, prediction, depth_m, [(0, 5), (5, 10)], 5)
        assert counts[:, HOLE].tolist() == [[50, 70], [0, 20]]

    def test_ignored_pixels_are_not_counted(self):
        depth_m = np.ones(SIZE, np.float32)
        assert not counts_by_distance(painted(base=255), painted(), depth_m, [(0, 5)], 5).any()
