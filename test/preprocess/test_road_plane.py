# SPDX-License-Identifier: Apache-2.0
import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from road_kd_seg.preprocess.road_plane import fit_road_plane, inverse_of, plane_residual, relative_height
from road_kd_seg.preprocess.road_plane_array import fit_road_plane_array

HEIGHT, WIDTH = 72, 128


def road_inverse_depth(pitch_deg: float = 15.0, roll: float = 0.0, height_m: float = 1.3) -> torch.Tensor:
    """1/z of a flat road seen by a pinhole camera, 0 above the horizon, (1, H, W)."""
    focal = 0.5 * WIDTH
    v = (torch.arange(HEIGHT) - (HEIGHT - 1) / 2)[:, None] / focal
    u = (torch.arange(WIDTH) - (WIDTH - 1) / 2)[None] / focal
    pitch = math.radians(pitch_deg)
    return ((v * math.cos(pitch) + math.sin(pitch) + roll * u) / height_m).clamp(min=0)[None]


class TestPlaneResidual:
    @given(pitch=st.floats(8, 55), roll=st.floats(-0.1, 0.1), height_m=st.floats(0.8, 2.0))
    @settings(max_examples=25, deadline=None)
    def test_a_flat_road_leaves_nothing(self, pitch, roll, height_m):
        inverse = road_inverse_depth(pitch, roll, height_m)
        residual = plane_residual(inverse)
        assert residual.abs().max() < 1e-4  # float32 over a range of 1 1/m

    def test_a_pothole_keeps_its_depth_below_the_road(self):
        inverse = road_inverse_depth()
        inverse[:, 50:60, 40:60] -= 0.02
        residual = plane_residual(inverse)
        torch.testing.assert_close(residual[:, 50:60, 40:60], torch.full((1, 10, 20), -0.02), atol=1e-4, rtol=0)
        assert residual[:, 62:, 70:].abs().max() < 1e-4

    def test_a_wall_across_the_upper_half_and_a_box_do_not_move_the_plane(self):
        inverse = road_inverse_depth()
        clean = plane_residual(inverse)
        cluttered = inverse.clone()
        cluttered[:, :30] = 0.15
        cluttered[:, 45:65, 90:115] = 0.5
        residual = plane_residual(cluttered)
        # Where box and wall come within the tolerance of the plane they pull at it a little: 1 % of a pothole's depth.
        torch.testing.assert_close(residual[:, 66:], clean[:, 66:], atol=3e-4, rtol=0)

    def test_noise_of_a_stereo_camera_is_averaged_out(self):
        generator = torch.Generator().manual_seed(0)
        inverse = road_inverse_depth()
        valid = inverse > 0.1
        noisy = inverse + 0.003 * torch.randn(inverse.shape, generator=generator)
        shift = plane_residual(torch.where(valid, noisy, 0)) - (noisy - inverse)
        assert shift[valid].abs().max() < 0.003  # the plane is off by less than one pixel's noise

    def test_a_wall_alone_leaves_nothing(self):
        inverse = torch.full((1, HEIGHT, WIDTH), 0.4)
        assert plane_residual(inverse).abs().max() < 1e-4

    def test_a_wall_that_hides_most_of_the_road_is_not_taken_for_it(self):
        inverse = road_inverse_depth()
        road = plane_residual(inverse)
        inverse[:, : HEIGHT * 3 // 4] = 0.3
        residual = plane_residual(inverse)
        # Where the wall comes within the tolerance of the plane it pulls at it a little.
        torch.testing.assert_close(residual[:, HEIGHT * 3 // 4 :], road[:, HEIGHT * 3 // 4 :], atol=3e-3, rtol=0)

    @pytest.mark.parametrize("height_m", [0.3, 1.2, 4.0])
    @given(pitch=st.floats(5, 90))
    @settings(max_examples=25, deadline=None)
    def test_the_road_is_found_from_any_height_down_to_straight_below(self, pitch, height_m):
        inverse = road_inverse_depth(pitch, height_m=height_m)
        valid = inverse > 1 / 30
        assert fit_road_plane(torch.where(valid, inverse, 0))[1].item()

    @pytest.mark.parametrize("share", [0.6, 0.8, 0.9])
    def test_holes_do_not_lose_it(self, share):
        inverse = road_inverse_depth()
        random = np.random.default_rng(0)
        blobs = cv2.GaussianBlur(random.standard_normal((HEIGHT, WIDTH)).astype(np.float32), (0, 0), 4)
        holes = {
            "salt": random.random((HEIGHT, WIDTH)) < share,
            "blobs": blobs > np.quantile(blobs, 1 - share),
            "all but the lowest rows": (np.arange(HEIGHT) < share * HEIGHT)[:, None].repeat(WIDTH, 1),
        }
        for kind, mask in holes.items():
            valid = ~torch.from_numpy(mask)[None] & (inverse > 0)
            plane, found = fit_road_plane(torch.where(valid, inverse, 0))
            assert found.item(), kind
            torch.testing.assert_close(plane, fit_road_plane(inverse)[0], atol=1e-3, rtol=0)

    def test_no_valid_depth_gives_zeros_and_no_nan(self):
        nothing = torch.zeros(2, HEIGHT, WIDTH)
        assert torch.equal(plane_residual(nothing), nothing)

    def test_each_frame_of_a_batch_has_its_own_plane(self):
        frames = [road_inverse_depth(12), road_inverse_depth(30), torch.zeros(1, HEIGHT, WIDTH)]
        batch = torch.cat(frames)
        alone = torch.cat([plane_residual(f) for f in frames])
        torch.testing.assert_close(plane_residual(batch), alone, atol=1e-6, rtol=0)


class TestRelativeHeight:
    @given(pitch=st.floats(8, 55), height_m=st.floats(0.4, 2.5), scale=st.floats(0.3, 3.0))
    @settings(max_examples=25, deadline=None)
    def test_neither_camera_height_nor_the_scale_of_depth_matters(self, pitch, height_m, scale):
        """A pothole as deep as a 20th of the camera's height gives -1/20, near and far."""
        inverse = road_inverse_depth(pitch, height_m=height_m) * scale
        inverse[:, 50:54, 40:60] /= 1.05
        inverse[:, 66:70, 40:60] /= 1.05
        plane = fit_road_plane(road_inverse_depth(pitch, height_m=height_m) * scale)[0]
        height = relative_height(1 / inverse, plane)
        for rows in (slice(50, 54), slice(66, 70)):
            torch.testing.assert_close(height[:, rows, 40:60], torch.full((1, 4, 20), -0.05), atol=1e-3, rtol=0)

    def test_the_camera_itself_is_one_high(self):
        inverse = road_inverse_depth()
        inverse[:, 40:44, 10:14] = 1e6
        height = relative_height(1 / inverse)
        torch.testing.assert_close(height[:, 40:44, 10:14], torch.ones(1, 4, 4), atol=1e-4, rtol=0)

    def test_invalid_pixels_and_frames_without_a_plane_are_zero(self):
        depth_m = 1 / road_inverse_depth()
        depth_m[:, 50] = 0
        assert relative_height(depth_m)[:, 50].abs().max() == 0
        wall = torch.full((1, HEIGHT, WIDTH), 2.5)
        assert relative_height(wall, torch.zeros(1, 3)).abs().max() == 0


def test_a_given_plane_is_the_fitted_one():
    inverse = road_inverse_depth()
    inverse[:, 50:60, 40:60] -= 0.02
    plane, _ = fit_road_plane(inverse)
    for encode, image in ((plane_residual, inverse), (relative_height, 1 / inverse)):
        torch.testing.assert_close(encode(image, plane), encode(image))


class TestOneImageInNumPy:
    @given(pitch=st.floats(-20, 90), holes=st.floats(0, 1), clutter=st.floats(0, 1), seed=st.integers(0, 99))
    @settings(max_examples=60, deadline=None)
    def test_the_plane_is_that_of_the_tensor(self, pitch, holes, clutter, seed):
        random = torch.Generator().manual_seed(seed)
        draw = lambda: torch.rand(1, HEIGHT, WIDTH, generator=random)  # noqa: E731
        depth_m = inverse_of(road_inverse_depth(pitch).clamp(min=0) * (1 + 0.002 * draw()))
        depth_m[:, : int(HEIGHT * clutter), : WIDTH // 2] = 1.5
        depth_m[draw() < holes] = 0
        plane, found = fit_road_plane(inverse_of(depth_m))
        ours = torch.from_numpy(fit_road_plane_array(depth_m[0].numpy()))[None]
        assert ours.any() == found.item()
        torch.testing.assert_close(ours, plane, atol=1e-4, rtol=1e-3)
