# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

from road_kd_seg.frame import Intrinsics
from road_kd_seg.ground import assess_depth, beyond_depth

H, W = 240, 320
CAMERA = Intrinsics(200.0, 210.0, 150.0, 130.0, W, H)
HEIGHT_M, PITCH = 1.2, math.radians(25)
NORMAL = np.array([0.0, math.cos(PITCH), math.sin(PITCH)]) / HEIGHT_M  # n · p = 1 on the road


def rays():
    v, u = np.mgrid[:H, :W]
    return np.stack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones((H, W))], -1)


def road_depth_m(max_m=12.0):
    inverse = rays() @ NORMAL
    return np.where(inverse > 1 / max_m, 1 / np.maximum(inverse, 1e-6), 0).astype(np.float32)


class TestPlane:
    def test_a_road_is_found_at_its_height_and_pitch(self):
        quality = assess_depth(road_depth_m())
        np.testing.assert_allclose(quality.plane.normal(CAMERA), NORMAL, atol=1e-4)
        np.testing.assert_allclose(quality.plane.up(CAMERA), -NORMAL * HEIGHT_M, atol=1e-4)

    def test_heights_are_meters_above_the_road(self):
        plane = assess_depth(road_depth_m()).plane
        on_road = rays()[200, [20, 160, 300]] * road_depth_m()[200, [20, 160, 300], None]
        raised = on_road - 0.15 * NORMAL * HEIGHT_M
        np.testing.assert_allclose(plane.height_m(on_road, CAMERA), 0, atol=1e-3)
        np.testing.assert_allclose(plane.height_m(raised, CAMERA), 0.15, atol=1e-3)

    def test_the_image_size_does_not_change_it(self):
        depth_m = road_depth_m()
        small = assess_depth(depth_m[::2, ::2]).plane.normal(Intrinsics(100, 105, 75, 65, W // 2, H // 2))
        np.testing.assert_allclose(small, NORMAL, atol=1e-3)

    def test_the_valid_share_is_counted_and_a_grid_of_holes_is_none(self):
        depth_m = np.ones((H, W), np.float32)
        depth_m[: H // 4] = 0
        assert assess_depth(depth_m).valid_share == pytest.approx(0.75, abs=0.01)

    def test_what_only_some_pixels_agree_on_is_no_road(self):
        random = np.random.default_rng(0).uniform(0.5, 5.0, (H, W)).astype(np.float32)
        assert assess_depth(random).plane is None

    def test_a_ceiling_is_no_road(self):
        assert assess_depth(road_depth_m()[::-1].copy()).plane is None

    def test_nothing_is_no_plane(self):
        quality = assess_depth(np.zeros((H, W), np.float32))
        assert (quality.valid_share, quality.plane) == (0.0, None)


class TestBeyondDepth:
    @pytest.mark.parametrize(
        "border", [np.s_[-20:], np.s_[:40], np.s_[:, :30], np.s_[:, -30:]], ids=["bottom", "top", "left", "right"]
    )
    def test_a_border_strip_without_depth_is_beyond_and_nothing_else(self, border):
        depth_m = np.ones((H, W), np.float32)
        depth_m[border] = 0
        beyond = beyond_depth(depth_m)
        # On a grid of 96 x 160: up to one of its pixels off.
        assert (beyond != (depth_m == 0)).mean() < 0.02

    def test_holes_are_not(self):
        depth_m = np.ones((H, W), np.float32)
        depth_m[60:180, 80:240] = 0  # in the middle, large
        depth_m[-20:, 100:140] = 0  # at the bottom, an eighth of the width
        assert not beyond_depth(depth_m).any()

    def test_without_depth_everything_is(self):
        assert beyond_depth(np.zeros((H, W), np.float32)).all()

    @pytest.mark.parametrize("size", [(H, W), (115, 203), (97, 64)])
    @pytest.mark.parametrize("seed", range(8))
    def test_looking_at_some_pixels_finds_the_same_there(self, size, seed):
        random = np.random.default_rng(seed)
        depth_m = np.ones(size, np.float32)
        depth_m[: random.integers(size[0] // 2)] = 0
        depth_m[:, size[1] - random.integers(size[1] // 2) :] = 0
        depth_m[random.random(size) < 0.3] = np.nan
        where = np.zeros(size, np.uint8)
        for _ in range(random.integers(3)):
            top, left = random.integers(size)
            where[top : top + 30, left : left + 50] = 1
        np.testing.assert_array_equal(beyond_depth(depth_m, where), beyond_depth(depth_m) & (where > 0))
