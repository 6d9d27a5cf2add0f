# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

from road_kd_seg.frame import Intrinsics, RgbdFrame
from road_kd_seg.replay.doctor import MEASURES, camera_pose, examine
from road_kd_seg.synthetic.drive import DriveConfig, plan_drive, render_drive

pytestmark = pytest.mark.xdist_group("doctor")  # one worker renders the drive

SEED = 1


@pytest.fixture(scope="module")
def drive():
    """Frames of a synthetic drive, one second apart."""
    return [frame for frame, _ in render_drive(DriveConfig(SEED, 16, 1.0, 288, 512))]


def findings(frames):
    return {finding["key"]: finding for finding in examine(frames)}


class TestExamine:
    def test_a_synthetic_drive_is_as_trained(self, drive):
        assert {finding["finding"] for finding in examine(drive)} == {"as trained"}

    def test_height_pitch_and_roll_are_those_of_the_mount(self, drive):
        rig, found = plan_drive(DriveConfig(SEED)).rig, findings(drive)
        assert found["height_m"]["value"] == pytest.approx(rig.height_m, abs=0.05)
        assert found["pitch_deg"]["value"] == pytest.approx(np.degrees(rig.pitch_rad), abs=1)
        assert found["roll_deg"]["value"] == pytest.approx(np.degrees(rig.roll_rad), abs=1)

    def test_depth_that_lies_aside_is_noticed(self, drive):
        shifted = [replace(f, depth_m=np.roll(f.depth_m, 14, axis=1)) for f in drive]
        found = findings(shifted)["shift_px"]
        assert found["finding"] == "outside"
        assert found["value"] == pytest.approx(14, abs=2)

    def test_depth_that_is_mirrored_is_noticed(self, drive):
        mirrored = [replace(f, depth_m=np.ascontiguousarray(f.depth_m[:, ::-1])) for f in drive]
        assert findings(mirrored)["mirrored"]["finding"] == "outside"

    @pytest.mark.parametrize("factor", [1000, 0.001])
    def test_depth_in_another_unit_is_noticed(self, drive, factor):
        wrong = [replace(f, depth_m=(f.depth_m * factor).astype(np.float32)) for f in drive]
        assert findings(wrong)["depth_median_m"]["finding"] == "outside"

    def test_a_dark_and_a_blurred_image_are_noticed(self, drive):
        dark = [replace(f, rgb=f.rgb // 8) for f in drive]
        flat = [replace(f, rgb=np.full_like(f.rgb, 120)) for f in drive]
        assert findings(dark)["brightness"]["finding"] == "outside"
        assert findings(flat)["sharpness"]["finding"] == "outside"

    def test_a_wall_is_no_road_ahead(self, drive):
        wall = [replace(f, depth_m=np.full_like(f.depth_m, 3)) for f in drive]
        assert findings(wall)["pitch_deg"]["finding"] != "as trained"

    def test_what_a_color_only_bag_cannot_tell_is_unknown(self, drive):
        found = findings([replace(f, depth_m=None) for f in drive])
        known = {key for key, finding in found.items() if finding["finding"] != "unknown"}
        assert known == {"brightness", "sharpness"}

    def test_no_frame_and_no_valid_depth_tell_nothing_and_do_no_harm(self, drive):
        assert {finding["value"] for finding in examine([])} == {None}
        empty = findings([replace(drive[0], depth_m=np.zeros_like(drive[0].depth_m))])
        assert empty["depth_valid"]["value"] == 0
        assert empty["height_m"]["value"] is None

    def test_every_measure_has_a_finding(self, drive):
        assert [finding["key"] for finding in examine(drive[:1])] == [measure.key for measure in MEASURES]

    def test_a_tiny_image_is_measured(self):
        assert examine([RgbdFrame(np.zeros((6, 8, 3), np.uint8), np.ones((6, 8), np.float32))])


class TestCameraPose:
    @pytest.mark.parametrize("pitch_deg", [0.0, 20.0, 60.0])
    def test_a_pitched_camera_above_a_plane(self, pitch_deg):
        camera, height_m = Intrinsics(400, 410, 300, 200, 640, 400), 1.3
        pitch = np.radians(pitch_deg)
        u, v = np.meshgrid(np.arange(640.0), np.arange(400.0))
        inverse = (np.cos(pitch) * (v - camera.cy) / camera.fy + np.sin(pitch)) / height_m
        ones = np.stack([np.linspace(-1, 1, 640)[u.astype(int)], np.linspace(-1, 1, 400)[v.astype(int)], u**0], -1)
        plane = np.linalg.lstsq(ones.reshape(-1, 3), inverse.ravel(), rcond=None)[0]
        assert camera_pose(plane, camera) == pytest.approx((height_m, pitch_deg, 0), abs=1e-6)
