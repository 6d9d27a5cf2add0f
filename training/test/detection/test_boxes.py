# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from road_kd_seg.taxonomy import DEFAULT_TAXONOMY, Role, SemanticClass, Taxonomy
from road_kd_training.datasets import RgbdSample
from road_kd_training.detection.boxes import LabeledObstacles, boxes_of_label
from road_kd_training.errors import DatasetError

LABELS = arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 4))


class TestBoxesOfLabel:
    def test_a_rectangle_has_its_own_corners_and_area(self):
        label = np.zeros((20, 30), np.uint8)
        label[4:9, 10:17] = 3
        found = boxes_of_label(label, [3])
        assert found.corners.tolist() == [[10, 4, 17, 9]]
        assert (found.classes.tolist(), found.areas.tolist()) == ([0], [35])
        assert not found.crowd.any()

    def test_one_pixel_is_a_box_of_one_by_one(self):
        label = np.zeros((3, 3), np.uint8)
        label[2, 2] = 1
        assert boxes_of_label(label, [1]).corners.tolist() == [[2, 2, 3, 3]]

    def test_separate_regions_are_separate_and_those_that_touch_by_a_corner_are_one(self):
        label = np.zeros((6, 8), np.uint8)
        label[0, 0] = label[1, 1] = 3  # a corner
        label[0:2, 4:6] = 3
        assert boxes_of_label(label, [3]).corners.tolist() == [[0, 0, 2, 2], [4, 0, 6, 2]]

    def test_the_area_is_the_regions_and_not_its_boxs(self):
        label = np.zeros((4, 4), np.uint8)
        label[0, :] = label[:, 0] = 3
        assert boxes_of_label(label, [3]).areas.tolist() == [7]

    def test_neighbors_of_two_classes_are_two_objects(self):
        label = np.array([[3, 3, 4, 4]], np.uint8)
        found = boxes_of_label(label, [3, 4])
        assert found.corners.tolist() == [[0, 0, 2, 1], [2, 0, 4, 1]]
        assert found.classes.tolist() == [0, 1]

    def test_ignored_pixels_and_small_regions_are_no_objects(self):
        label = np.array([[255, 255, 0, 3, 0, 3, 3]], np.uint8)
        assert boxes_of_label(label, [3], min_area=2).corners.tolist() == [[5, 0, 7, 1]]

    def test_an_empty_road_has_no_boxes(self):
        assert boxes_of_label(np.ones((5, 5), np.uint8), [3, 4]).corners.shape == (0, 4)

    @given(LABELS)
    def test_areas_sum_to_the_pixels_and_every_pixel_lies_in_a_box(self, label):
        found = boxes_of_label(label, [3, 4])
        assert found.areas.sum() == np.isin(label, (3, 4)).sum()
        covered = np.zeros(label.shape, bool)
        for left, top, right, bottom in found.corners.astype(int):
            covered[top:bottom, left:right] = True
        assert covered[np.isin(label, (3, 4))].all()

    @given(LABELS)
    def test_a_mirror_image_has_mirrored_boxes(self, label):
        width = label.shape[1]
        mirrored = boxes_of_label(label[:, ::-1], [3]).corners
        mirrored[:, [0, 2]] = width - mirrored[:, [2, 0]]
        assert sorted(mirrored.tolist()) == sorted(boxes_of_label(label, [3]).corners.tolist())


class OneLabel:
    def __init__(self, label, taxonomy=DEFAULT_TAXONOMY):
        self.label, self.taxonomy = label, taxonomy

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return RgbdSample(np.zeros((8, 8, 3), np.uint8), None, self.label, "the one")


class TestLabeledObstacles:
    def test_obstacle_classes_become_the_detectors(self):
        label = np.zeros((8, 8), np.uint8)
        label[2:4, 2:4] = DEFAULT_TAXONOMY.names.index("positive_obstacle")
        dataset = LabeledObstacles(OneLabel(label), min_area=1)
        assert dataset.class_names == ["negative_obstacle", "positive_obstacle"]
        assert dataset[0].boxes.classes.tolist() == [1]

    def test_a_sample_without_label_is_named(self):
        with pytest.raises(DatasetError, match="the one has no label"):
            LabeledObstacles(OneLabel(None))[0]

    def test_classes_without_obstacles_are_refused(self):
        road = Taxonomy((SemanticClass(0, "road", Role.DRIVABLE, (1, 2, 3)),))
        with pytest.raises(DatasetError, match=r"\['road'\] hold no obstacles"):
            LabeledObstacles(OneLabel(None, road))
