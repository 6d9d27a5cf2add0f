# SPDX-License-Identifier: Apache-2.0
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrology import measure_potholes
from road_kd_seg.errors import FrameError
from road_kd_seg.frame import Intrinsics, RgbdFrame, Segmentation
from road_kd_seg.ground import GroundPlane
from road_kd_seg.obstacles import MIN_PIXELS, depth_noise, find_obstacles
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY, NEGATIVE_OBSTACLE, POSITIVE_OBSTACLE, ROAD

H, W = 240, 320
CAMERA = Intrinsics(200.0, 210.0, 150.0, 130.0, W, H)
HEIGHT_M = 1.2


def plane_at(pitch_deg):
    """The road below a camera that looks down by this."""
    pitch = math.radians(pitch_deg)
    rows, offset = math.cos(pitch) / HEIGHT_M / CAMERA.fy, math.sin(pitch) / HEIGHT_M
    return GroundPlane(0.0, rows, offset - rows * CAMERA.cy)


def road_m(plane):
    v, u = np.mgrid[:H, :W]
    return 1 / np.maximum(plane.columns * u + plane.rows * v + plane.offset, 0.05)


def scene(plane, area, class_id, *, below_m=0.0, noise_per_m=0.0):
    """A road whose pixels of an area lie on a floor below it."""
    label = np.full((H, W), ROAD, np.uint8)
    label[area] = class_id
    depth_m = road_m(plane)
    depth_m[area] *= 1 + below_m / HEIGHT_M  # a parallel plane is seen further away by the same share everywhere
    depth_m = 1 / (1 / depth_m + np.random.default_rng(0).normal(0, noise_per_m, (H, W)))
    frame = RgbdFrame(np.zeros((H, W, 3), np.uint8), depth_m.astype(np.float32), CAMERA)
    return frame, Segmentation(label, np.ones((H, W), np.float32))


def find(frame, segmentation, plane, **limits):
    return find_obstacles(frame, segmentation, DEFAULT_TAXONOMY, plane, **limits)


HOLE = np.s_[150:190, 120:200]


class TestPothole:
    def test_straight_below_it_measures_what_the_ruler_does(self):
        plane, below_m = plane_at(90), 0.08
        (hole,) = find(*scene(plane, HOLE, NEGATIVE_OBSTACLE, below_m=below_m), plane)
        num_pixels, pixel = 40 * 80, 1 / (CAMERA.fx * CAMERA.fy)
        assert hole.depth_m.value == pytest.approx(below_m, rel=1e-4)
        assert hole.area_m2.value == pytest.approx(num_pixels * pixel * HEIGHT_M**2, rel=1e-4)
        between = ((HEIGHT_M + below_m) ** 3 - HEIGHT_M**3) / 3
        assert hole.volume_m3.value == pytest.approx(num_pixels * pixel * between, rel=1e-4)

    @pytest.mark.parametrize("pitch_deg", [20, 40, 60])
    def test_its_depth_is_the_same_from_every_pitch(self, pitch_deg):
        plane = plane_at(pitch_deg)
        (hole,) = find(*scene(plane, HOLE, NEGATIVE_OBSTACLE, below_m=0.05), plane)
        assert hole.depth_m.value == pytest.approx(0.05, rel=1e-3)

    def test_its_box_reaches_from_the_road_to_its_depth(self):
        plane = plane_at(40)
        (hole,) = find(*scene(plane, HOLE, NEGATIVE_OBSTACLE, below_m=0.05), plane)
        top_m = hole.position_m + hole.axes @ [0, 0, hole.size_m[2] / 2]
        assert plane.height_m(top_m[None], CAMERA)[0] == pytest.approx(0, abs=1e-6)
        assert hole.size_m[2] == pytest.approx(hole.depth_m.value)

    def test_missing_depth_inside_changes_its_volume_little(self):
        plane = plane_at(40)
        frame, segmentation = scene(plane, HOLE, NEGATIVE_OBSTACLE, below_m=0.05)
        (whole,) = find(frame, segmentation, plane)
        frame.depth_m[150:190:2, 120:200:3] = 0
        (holed,) = find(frame, segmentation, plane)
        assert holed.volume_m3.value == pytest.approx(whole.volume_m3.value, rel=0.02)
        assert holed.area_m2 == whole.area_m2

    def test_noise_widens_every_interval_and_moves_depth_by_less_than_it(self):
        plane = plane_at(40)
        (clean,) = find(*scene(plane, HOLE, NEGATIVE_OBSTACLE, below_m=0.05), plane)
        (noisy,) = find(*scene(plane, HOLE, NEGATIVE_OBSTACLE, below_m=0.05, noise_per_m=0.005), plane)
        for name in ("depth_m", "area_m2", "volume_m3"):
            widths = [(measure := getattr(each, name)).high - measure.low for each in (clean, noisy)]
            assert widths[0] < widths[1], name
        assert noisy.depth_m.low < 0.05 < noisy.depth_m.high

    @settings(max_examples=25, deadline=None)
    @given(noise_per_m=st.floats(0.001, 0.006))
    def test_the_noise_is_read_off_the_road(self, noise_per_m):
        plane = plane_at(40)
        frame, _ = scene(plane, HOLE, ROAD, noise_per_m=noise_per_m)
        assert depth_noise(frame.depth_m, plane) == pytest.approx(noise_per_m, rel=0.1)


class TestObjects:
    def test_what_stands_on_the_road_has_a_height_and_nothing_else(self):
        plane = plane_at(40)
        (box,) = find(*scene(plane, HOLE, POSITIVE_OBSTACLE, below_m=-0.3), plane)
        middle_m = plane.height_m(box.position_m[None], CAMERA)[0]
        assert middle_m == pytest.approx(0.3, abs=0.02)
        assert (box.depth_m, box.area_m2, box.volume_m3) == (None, None, None)

    def test_without_a_plane_they_lie_in_the_cameras_axes_and_are_not_measured(self):
        (hole,) = find(*scene(plane_at(40), HOLE, NEGATIVE_OBSTACLE), None)
        np.testing.assert_array_equal(hole.axes, [[1, 0, 0], [0, 0, -1], [0, 1, 0]])
        assert hole.depth_m is None

    def test_two_areas_are_two_objects_nearest_first(self):
        plane = plane_at(40)
        frame, segmentation = scene(plane, HOLE, NEGATIVE_OBSTACLE)
        segmentation.label[100:120, 20:60] = NEGATIVE_OBSTACLE
        near, far = find(frame, segmentation, plane)
        assert np.linalg.norm(near.position_m) < np.linalg.norm(far.position_m)
        assert near.num_points == 40 * 80

    @pytest.mark.parametrize("pitch_deg", [0, 30, 90])
    def test_the_axes_are_a_right_handed_frame_that_stands_on_the_road(self, pitch_deg):
        plane = plane_at(pitch_deg)
        (hole,) = find(*scene(plane, np.s_[200:230, 100:200], NEGATIVE_OBSTACLE), plane)
        np.testing.assert_allclose(hole.axes.T @ hole.axes, np.eye(3), atol=1e-12)
        assert np.linalg.det(hole.axes) == pytest.approx(1)
        np.testing.assert_allclose(hole.axes[:, 2], plane.up(CAMERA), atol=1e-12)

    def test_specks_and_what_is_far_or_unsure_are_left_out(self):
        plane = plane_at(40)
        assert find(*scene(plane, np.s_[150:157, 120:129], NEGATIVE_OBSTACLE), plane) == []
        assert MIN_PIXELS > 7 * 9
        frame, segmentation = scene(plane, HOLE, NEGATIVE_OBSTACLE)
        assert find(frame, segmentation, plane, max_range_m=0.5) == []
        unsure = Segmentation(segmentation.label, np.full((H, W), 0.3, np.float32))
        assert find(frame, unsure, plane, min_confidence=0.4) == []

    def test_one_at_the_border_says_that_it_is_cut(self):
        plane = plane_at(40)
        (hole,) = find(*scene(plane, np.s_[150:190, :80], NEGATIVE_OBSTACLE), plane)
        assert hole.is_cut

    @pytest.mark.parametrize("lacking", ["depth_m", "intrinsics"])
    def test_a_frame_without_depth_or_camera_info_is_refused(self, lacking):
        plane = plane_at(40)
        frame, segmentation = scene(plane, HOLE, NEGATIVE_OBSTACLE)
        with pytest.raises(FrameError, match="obstacles need depth and camera_info"):
            find(replace(frame, **{lacking: None}), segmentation, plane)


@pytest.mark.soak
@pytest.mark.timeout(900)
class TestMetrology:
    """Of rendered potholes, from the sensor's depth, against the exact geometry; `-s` prints docs/NODE.md's table."""

    @pytest.fixture(scope="class")
    def potholes(self):
        return measure_potholes(30_000, 100)

    @pytest.mark.parametrize("quantity", ["depth_cm", "area_m2", "volume_l"])
    def test_the_90_percent_interval_holds_for_85_to_95_percent_up_to_5_m(self, potholes, quantity):
        print(f"\n{potholes.table(quantity)}")
        assert 0.85 <= potholes.coverage(quantity) <= 0.95
