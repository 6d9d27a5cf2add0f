# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from road_kd_seg.clouds import costmap_points, ground_points, masked_depth, moved, organized_points
from road_kd_seg.errors import FrameError
from road_kd_seg.frame import Intrinsics, RgbdFrame, Segmentation
from road_kd_seg.ground import assess_depth
from road_kd_seg.postprocess import POINT_DTYPE, obstacle_points
from road_kd_seg.synthetic.drive import render_scene
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY

NEGATIVE, POSITIVE = 3, 4
LIMITS = {"max_range_m": 100.0, "min_confidence": 0.0}


@pytest.fixture(scope="module", params=[1_000_000, 1_000_002])
def scene(request):
    """A rendered road with its ground truth as the segmentation."""
    frame, label = render_scene(request.param, 288, 512)
    confidence = np.ones(label.shape, np.float32)
    return frame, Segmentation(label.copy(), confidence), assess_depth(frame.depth_m).plane


def xyz(points):
    return np.stack([points[axis] for axis in "xyz"], -1).astype(np.float64)


class TestCostmapPoints:
    def test_negative_obstacles_stand_at_the_height_above_the_road_and_the_others_stay(self, scene):
        frame, segmentation, plane = scene
        points = costmap_points(frame, segmentation, DEFAULT_TAXONOMY, plane, height_m=0.15, **LIMITS)
        before = obstacle_points(frame, segmentation, DEFAULT_TAXONOMY, **LIMITS)
        lifted = points["label"] == NEGATIVE
        np.testing.assert_allclose(plane.height_m(xyz(points[lifted]), frame.intrinsics), 0.15, atol=1e-4)
        np.testing.assert_array_equal(points[~lifted], before[~lifted])

    def test_they_move_straight_up(self, scene):
        frame, segmentation, plane = scene
        points = costmap_points(frame, segmentation, DEFAULT_TAXONOMY, plane, height_m=0.3, **LIMITS)
        before = obstacle_points(frame, segmentation, DEFAULT_TAXONOMY, **LIMITS)
        moved = xyz(points) - xyz(before)
        sideways = np.cross(moved, plane.up(frame.intrinsics))
        np.testing.assert_allclose(sideways, 0, atol=1e-5)

    def test_without_a_plane_they_are_the_obstacle_points(self, scene):
        frame, segmentation, _ = scene
        points = costmap_points(frame, segmentation, DEFAULT_TAXONOMY, None, height_m=0.15, **LIMITS)
        np.testing.assert_array_equal(points, obstacle_points(frame, segmentation, DEFAULT_TAXONOMY, **LIMITS))


class TestGroundPoints:
    def test_they_are_drivable_thinned_and_near_the_plane(self, scene):
        frame, segmentation, plane = scene
        points = ground_points(frame, segmentation, DEFAULT_TAXONOMY, stride=8, max_range_m=6.0)
        assert set(points["label"]) <= {1, 2}
        assert 20 < len(points) <= (288 // 8) * (512 // 8)
        assert np.median(np.abs(plane.height_m(xyz(points), frame.intrinsics))) < 0.02
        assert points["z"].max() <= 6.0


class TestOrganizedPoints:
    def test_every_pixel_has_its_place(self, scene):
        frame, _, _ = scene
        points = organized_points(frame.depth_m, frame.intrinsics)
        assert points.shape == frame.size
        valid = frame.depth_m > 0
        np.testing.assert_array_equal(np.isnan(points["z"]), ~valid)
        np.testing.assert_array_equal(points["z"][valid], frame.depth_m[valid])
        camera = frame.intrinsics
        column = points["x"] / points["z"] * camera.fx + camera.cx
        np.testing.assert_allclose(column[valid], np.broadcast_to(np.arange(512), frame.size)[valid], atol=1e-2)

    def test_a_stride_takes_every_so_many_th(self, scene):
        frame, _, _ = scene
        whole, thinned = (organized_points(frame.depth_m, frame.intrinsics, stride) for stride in (1, 3))
        np.testing.assert_array_equal(thinned["x"], whole["x"][::3, ::3])


class TestMaskedDepth:
    def test_obstacles_are_cut_out_and_the_rest_is_millimeters(self, scene):
        frame, segmentation, _ = scene
        millimeters = masked_depth(frame, segmentation, DEFAULT_TAXONOMY)
        obstacle = segmentation.label >= NEGATIVE
        assert obstacle.any()
        assert not millimeters[obstacle].any()
        np.testing.assert_allclose(millimeters[~obstacle], frame.depth_m[~obstacle] * 1000, atol=0.51)

    def test_without_depth_there_is_none(self, scene):
        frame, segmentation, _ = scene
        blind = RgbdFrame(frame.rgb, None)
        assert masked_depth(blind, segmentation, DEFAULT_TAXONOMY) is None
        with pytest.raises(FrameError, match="this frame has no depth"):
            ground_points(blind, segmentation, DEFAULT_TAXONOMY, stride=1, max_range_m=9.0)


class TestMoved:
    def test_a_quarter_turn_about_z_and_a_step(self):
        points = np.zeros(2, POINT_DTYPE)
        points["x"], points["y"], points["z"], points["label"] = [1, 0], [0, 2], [3, 4], [3, 4]
        half = np.sqrt(0.5)
        there = moved(points, (0, 0, half, half), (10, 20, 30))
        np.testing.assert_allclose(xyz(there), [[10, 21, 33], [8, 20, 34]], atol=1e-6)
        np.testing.assert_array_equal(there["label"], points["label"])

    def test_no_rotation_and_no_step_change_nothing_and_pixels_without_depth_stay_so(self):
        points = organized_points(np.float32([[1.0, 0.0]]), Intrinsics(1, 1, 0, 0, 2, 1))
        there = moved(points, (0, 0, 0, 1), (0, 0, 0))
        np.testing.assert_array_equal(xyz(there), xyz(points))
