# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

from road_kd_seg.synthetic.camera import CameraPose, View, d455_intrinsics, plane_points
from road_kd_seg.synthetic.sensor import SensorLook, draw_sensor_look, expose, measure_depth

H, W = 288, 512
LOOK = SensorLook(
    exposure=1.0,
    white_balance=(1.0, 1.0, 1.0),
    contrast=1.0,
    vignetting=0.0,
    blur_px=0.0,
    motion_px=0,
    noise=0.0,
    disparity_noise_px=0.1,
    hole_share=0.0,
)
CAMERA = d455_intrinsics(H, W)
INNER = np.s_[8:-8, 24:-24]
"""Within the depth sensor's field of view, which is a little narrower than the color sensor's."""


def measure(depth_m: np.ndarray, look: SensorLook = LOOK, wet: np.ndarray | None = None, seed: int = 0) -> np.ndarray:
    hole_chance = np.zeros((H, W), np.float32) if wet is None else wet.astype(np.float32)
    return measure_depth(depth_m.astype(np.float32), hole_chance, CAMERA, look, np.random.default_rng(seed))


def wall(depth_m: float) -> np.ndarray:
    return np.full((H, W), depth_m, np.float32)


class TestDepth:
    def test_a_flat_road_is_measured_where_the_rays_meet_it(self):
        view = View(CAMERA, CameraPose(0, 0, 1.3, 0, 0.4, 0))
        true_m, _, _ = plane_points(view, view.directions(0, 0, H, W))
        measured_m = measure(true_m)
        near = np.zeros((H, W), bool)
        near[INNER] = (true_m[INNER] < 6) & (measured_m[INNER] > 0)
        assert near[INNER].mean() > 0.6
        inverse_error = 1 / measured_m[near] - 1 / true_m[near]
        # disparity noise / (focal length x baseline); the constant is a D455's at 1024 px
        expected = LOOK.disparity_noise_px / (512 * 0.095)
        assert abs(inverse_error.mean()) < 0.15 * expected
        assert inverse_error.std() == pytest.approx(expected, rel=0.15)

    def test_noise_grows_with_the_square_of_distance(self):
        deviations = [measure(wall(z))[INNER][measure(wall(z))[INNER] > 0].std() for z in (1.5, 3.0, 6.0)]
        assert deviations[1] / deviations[0] == pytest.approx(4, rel=0.2)
        assert deviations[2] / deviations[1] == pytest.approx(4, rel=0.2)

    def test_noise_is_shared_by_neighbors_as_matching_windows_are(self):
        error = measure(wall(3.0))[INNER] - 3.0
        assert np.corrcoef(error[:, :-1].ravel(), error[:, 1:].ravel())[0, 1] > 0.5

    def test_depth_comes_in_whole_millimeters(self):
        millimeters = measure(wall(2.345)) * 1000
        np.testing.assert_allclose(millimeters, np.rint(millimeters), atol=1e-3)

    def test_nothing_is_seen_of_the_sky_nor_outside_the_depth_sensors_field(self):
        assert not measure(np.full((H, W), np.inf)).any()
        measured_m = measure(wall(2.0))
        assert not measured_m[:, :5].any()
        assert not measured_m[:, -5:].any()
        assert (measured_m[INNER] > 0).all()

    def test_holes_grow_beyond_ten_meters(self):
        shares = [(measure(wall(z))[INNER] == 0).mean() for z in (3.0, 9.0, 13.0, 20.0)]
        assert shares[0] == 0
        assert shares == sorted(shares)
        assert shares[3] > 0.5

    def test_wet_patches_lose_most_of_their_depth_and_the_rest_none(self):
        wet = np.zeros((H, W), bool)
        wet[100:200, 150:350] = True
        lost = measure(wall(3.0), wet=wet) == 0
        assert lost[105:195, 155:345].mean() > 0.4
        assert not lost[INNER][~wet[INNER]].any()

    def test_the_second_camera_cannot_see_just_left_of_something_near(self):
        depth_m = wall(6.0)
        depth_m[:, 250:350] = 2.0
        # parallax between 2 m and 6 m: f b (1/2 - 1/6) = 8.1 px at this size
        lost = (measure(depth_m) == 0).mean(axis=0)
        assert lost[243:246].min() > 0.9
        assert lost[356:420].max() < 0.1

    def test_near_surfaces_grow_over_their_border(self):
        depth_m = wall(3.0)
        depth_m[:, 250:350] = 2.0
        measured_m = measure(depth_m)
        assert np.median(measured_m[:, 350]) == pytest.approx(2.0, abs=0.05)
        assert np.median(measured_m[:, 360]) == pytest.approx(3.0, abs=0.05)

    def test_the_same_generator_gives_the_same_bytes_and_another_does_not(self):
        assert measure(wall(3.0), seed=4).tobytes() == measure(wall(3.0), seed=4).tobytes()
        assert measure(wall(3.0), seed=4).tobytes() != measure(wall(3.0), seed=5).tobytes()


class TestColor:
    def test_exposure_brings_any_light_to_the_same_gray(self):
        images = [
            expose(np.full((H, W, 3), level, np.float32), LOOK, np.random.default_rng(0)) for level in (0.02, 2.0)
        ]
        np.testing.assert_array_equal(images[0], images[1])
        assert 90 < images[0].mean() < 140

    def test_noise_has_the_deviation_it_was_given(self):
        look = replace(LOOK, noise=4.0)
        image = expose(np.full((H, W, 3), 0.3, np.float32), look, np.random.default_rng(0))
        assert image.std() == pytest.approx(4.0, rel=0.1)

    def test_vignetting_darkens_the_corners_only(self):
        image = expose(np.ones((H, W, 3), np.float32), replace(LOOK, vignetting=0.4), np.random.default_rng(0))
        assert image[0, 0, 1] < 0.85 * image[H // 2, W // 2, 1]

    def test_a_warm_white_balance_reddens(self):
        look = replace(LOOK, white_balance=(1.2, 1.0, 0.8))
        red, green, blue = expose(np.ones((H, W, 3), np.float32), look, np.random.default_rng(0)).mean(axis=(0, 1))
        assert red > green > blue

    def test_highlights_saturate_without_wrapping(self):
        light = np.full((H, W, 3), 0.1, np.float32)
        light[:20] = 1e4
        image = expose(light, LOOK, np.random.default_rng(0))
        assert image[5].min() > 245

    def test_every_drawn_camera_is_usable(self):
        for seed in range(20):
            look = draw_sensor_look(np.random.default_rng(seed))
            assert 0.4 < look.exposure < 2.5
            assert 0 <= look.hole_share < 0.05
