# SPDX-License-Identifier: Apache-2.0
from itertools import islice

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from road_kd_seg.bags import topics
from road_kd_seg.bags.writer import write_bag
from road_kd_seg.frame import LabeledFrame
from road_kd_seg.synthetic import DriveConfig, render_drive, render_scene
from road_kd_seg.synthetic.camera import View, d455_intrinsics, plane_points
from road_kd_seg.synthetic.drive import FIRST_STAMP_NS, plan_drive
from road_kd_seg.taxonomy import BACKGROUND, DEFAULT_TAXONOMY, LANE_MARKING, NEGATIVE_OBSTACLE, POSITIVE_OBSTACLE, ROAD

SMALL = {"height": 144, "width": 256}


def drive(seed: int, num_frames: int, rate_hz: float = 15.0) -> list[LabeledFrame]:
    return list(render_drive(DriveConfig(seed=seed, num_frames=num_frames, rate_hz=rate_hz, **SMALL)))


@pytest.fixture(scope="module")
def sparse_drives() -> list[LabeledFrame]:
    """Eight drives, five frames each, a second apart."""
    return [frame for seed in range(8) for frame in drive(seed, 5, rate_hz=1.0)]


@pytest.fixture(scope="module")
def scenes() -> list[LabeledFrame]:
    return [render_scene(seed, **SMALL) for seed in range(45)]


class TestDeterminism:
    def test_a_seed_always_gives_the_same_bytes(self):
        for (first, first_label), (again, again_label) in zip(drive(5, 2), drive(5, 2), strict=True):
            assert first.rgb.tobytes() == again.rgb.tobytes()
            assert first.depth_m.tobytes() == again.depth_m.tobytes()
            assert first_label.tobytes() == again_label.tobytes()

    def test_a_frame_does_not_depend_on_how_many_follow_or_what_was_rendered_before(self):
        short = drive(5, 1)[0]
        drive(6, 1)
        long = next(islice(render_drive(DriveConfig(seed=5, num_frames=1000, **SMALL)), 1))
        assert short.frame.rgb.tobytes() == long.frame.rgb.tobytes()

    def test_a_scene_is_its_seeds(self):
        first, again, other = (render_scene(seed, **SMALL) for seed in (9, 9, 10))
        assert first.frame.rgb.tobytes() == again.frame.rgb.tobytes()
        assert first.frame.rgb.tobytes() != other.frame.rgb.tobytes()


class TestFrames:
    def test_frames_are_what_the_camera_gives(self):
        frames = drive(1, 3)
        for i, (frame, label) in enumerate(frames):
            assert frame.size == label.shape == (144, 256)
            assert label.dtype == np.uint8
            assert frame.intrinsics == d455_intrinsics(144, 256)
            assert frame.frame_id == topics.COLOR_OPTICAL_FRAME
            assert frame.stamp_ns == FIRST_STAMP_NS + round(i * 1e9 / 15)
            assert np.isfinite(frame.depth_m).all()
            assert frame.depth_m.min() == 0

    def test_labels_are_classes_of_the_default_taxonomy(self, scenes, sparse_drives):
        seen = set(np.unique(np.concatenate([f.label.ravel() for f in scenes + sparse_drives])))
        assert seen == set(range(len(DEFAULT_TAXONOMY)))


class TestClassMix:
    def test_every_frame_of_a_drive_shows_road_and_nearly_every_one_paint(self, sparse_drives):
        assert all((f.label == ROAD).mean() > 0.15 for f in sparse_drives)
        assert np.mean([(f.label == LANE_MARKING).mean() > 0.002 for f in sparse_drives]) > 0.9

    def test_most_frames_show_a_pothole_or_crack_and_about_half_an_obstacle(self, sparse_drives):
        assert np.mean([(f.label == NEGATIVE_OBSTACLE).any() for f in sparse_drives]) > 0.6
        assert 0.35 < np.mean([(f.label == POSITIVE_OBSTACLE).any() for f in sparse_drives]) < 0.95

    def test_about_one_scene_in_seven_is_a_close_up_with_a_pothole_and_nothing_but_road(self, scenes):
        close_ups = [f for f in scenes if not (f.label == BACKGROUND).any() and not (f.label == LANE_MARKING).any()]
        assert 3 <= len(close_ups) <= 13
        assert np.mean([(f.label == NEGATIVE_OBSTACLE).mean() > 0.003 for f in close_ups]) > 0.7

    def test_images_are_neither_dark_nor_burnt_out(self, scenes):
        for frame, label in scenes:
            assert 60 < np.median(frame.rgb[label == ROAD]) < 190


class TestConsecutiveFrames:
    @pytest.mark.parametrize("seed", [0, 2, 8])
    def test_known_ego_motion_carries_the_road_onto_the_next_frame(self, seed: int):
        rate_hz = 5.0
        before, after = drive(seed, 2, rate_hz)
        road, rig, _, camera = plan_drive(DriveConfig(seed, height=144, width=256))
        view_before, view_after = (View(camera, rig.pose(road, i / rate_hz)) for i in (0, 1))
        depth_m, x_m, y_m = plane_points(view_after, view_after.directions(0, 0, 144, 256))
        on_plane = (depth_m < 12) & np.isin(after.label, (ROAD, LANE_MARKING))
        points = np.stack([x_m[on_plane], y_m[on_plane], np.zeros(on_plane.sum())], 1)
        columns, rows, _ = np.rint(view_before.project(points.astype(np.float64))).T.astype(int)
        inside = (columns >= 0) & (columns < 256) & (rows >= 0) & (rows < 144)
        carried, seen = before.label[rows[inside], columns[inside]], after.label[on_plane][inside]
        assert inside.sum() > 3000
        assert (carried == seen).mean() > 0.93
        still = before.label[on_plane]
        assert (carried == seen).mean() > (still[inside] == seen).mean()

    def test_a_drive_moves(self):
        first, second = drive(4, 2)
        assert (first.frame.rgb != second.frame.rgb).mean() > 0.5


class TestDepth:
    @pytest.mark.parametrize("seed", [1, 3, 8])
    def test_a_plane_in_inverse_depth_recovers_road_potholes_and_obstacles(self, seed: int):
        """What preprocessing relies on: 1/z is linear over the road, smaller in potholes, larger on obstacles."""
        frames = drive(seed, 12, rate_hz=1.0)
        hollow, raised, road_error = [], [], []
        for frame, label in frames:
            rows, columns = np.nonzero((frame.depth_m > 0) & (frame.depth_m < 6))
            inverse = 1 / frame.depth_m[rows, columns].astype(np.float64)
            design = np.stack([columns, rows, np.ones(len(rows))], 1)
            on_road = label[rows, columns] == ROAD
            plane, *_ = np.linalg.lstsq(design[on_road], inverse[on_road], rcond=None)
            residual = inverse - design @ plane
            road_error.append(residual[on_road].std())
            hollow.append(residual[label[rows, columns] == NEGATIVE_OBSTACLE])
            raised.append(residual[label[rows, columns] == POSITIVE_OBSTACLE])
        noise = float(np.median(road_error))
        assert noise < 0.004
        assert np.concatenate(hollow).mean() < -noise
        if sum(map(len, raised)) > 200:
            assert np.concatenate(raised).mean() > 2 * noise


class TestBag:
    def test_a_drive_becomes_a_bag_with_rising_stamps_and_back(self, tmp_path):
        config = DriveConfig(seed=2, num_frames=3, **SMALL)
        assert write_bag(tmp_path / "drive", render_drive(config)) == 3
        with AnyReader([tmp_path / "drive"]) as reader:
            connections = [c for c in reader.connections if c.topic == topics.LABEL_TOPIC]
            labels = [reader.deserialize(raw, c.msgtype).data for c, _, raw in reader.messages(connections)]
        expected = [frame.label for frame in render_drive(config)]
        np.testing.assert_array_equal(np.stack(labels).reshape(3, 144, 256), np.stack(expected))
