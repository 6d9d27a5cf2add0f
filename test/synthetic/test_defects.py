# SPDX-License-Identifier: Apache-2.0
import math
from dataclasses import replace

import numpy as np
import pytest

from road_kd_seg.synthetic.defects import build_patch
from road_kd_seg.synthetic.roads import draw_light
from road_kd_seg.synthetic.scene import Defect, Light

POTHOLE = Defect("pothole", 7, 0.0, 0.0, 0.6, 0.35, 0.08, "gravel", 0.006)
CRACK = Defect("crack", 7, 0.0, 0.0, 0.9, 0.03, 0.015, "dark", 0.006)
ASPHALT = (0.25, 0.25, 0.25)


def light_from(azimuth_rad: float) -> Light:
    low = math.radians(30)
    to_sun = (math.cos(low) * math.sin(azimuth_rad), math.cos(low) * math.cos(azimuth_rad), math.sin(low))
    return Light(to_sun, (1.6, 1.6, 1.6), (0.2, 0.2, 0.2), (0.3, 0.4, 0.7), (0.8, 0.8, 0.9))


OVERCAST = replace(light_from(0.0), sun=(0.0, 0.0, 0.0), sky=(1.0, 1.0, 1.0))


class TestPothole:
    @pytest.mark.parametrize("seed", range(5))
    def test_it_is_about_as_deep_and_wide_as_asked_and_flat_outside(self, seed: int):
        patch = build_patch(replace(POTHOLE, seed=seed), OVERCAST, ASPHALT)
        assert 0.7 * POTHOLE.depth_m < np.percentile(patch.depth_m[patch.opening == 255], 95) < 1.6 * POTHOLE.depth_m
        radius_m = math.sqrt((patch.opening > 127).sum() * POTHOLE.resolution_m**2 / math.pi)
        assert radius_m == pytest.approx(POTHOLE.size_m, rel=0.3)
        assert not patch.depth_m[patch.opening == 0].any()
        assert (patch.depth_m >= 0).all()

    def test_it_fits_its_patch(self):
        for seed in range(8):
            opening = build_patch(replace(POTHOLE, seed=seed), OVERCAST, ASPHALT).opening
            border = np.concatenate([opening[0], opening[-1], opening[:, 0], opening[:, -1]])
            assert not border.any()

    def test_the_wall_away_from_the_sun_is_lit_and_the_one_near_it_in_shadow(self):
        # sun at the right (+t): light falls onto the left wall, the right wall shades itself
        patch = build_patch(POTHOLE, light_from(math.pi / 2), ASPHALT)
        plain = build_patch(POTHOLE, OVERCAST, ASPHALT)
        gain = patch.rgb.mean(axis=2) / plain.rgb.mean(axis=2)
        slope_t = np.gradient(patch.depth_m, axis=1)
        inside = patch.opening == 255
        facing_sun, facing_away = inside & (slope_t > 0.002), inside & (slope_t < -0.002)
        assert gain[facing_sun].mean() > 1.3 * gain[facing_away].mean()

    def test_the_cover_holds_the_whole_opening(self):
        patch = build_patch(POTHOLE, OVERCAST, ASPHALT)
        assert (patch.cover[patch.opening > 127] == 255).all()

    def test_the_same_defect_is_the_same_patch_and_another_seed_another(self):
        first = build_patch(POTHOLE, OVERCAST, ASPHALT)
        build_patch.cache_clear()
        again = build_patch(POTHOLE, OVERCAST, ASPHALT)
        assert again is not first
        np.testing.assert_array_equal(again.rgb, first.rgb)
        assert (build_patch(replace(POTHOLE, seed=8), OVERCAST, ASPHALT).opening != first.opening).any()


class TestCrack:
    @pytest.mark.parametrize("seed", range(5))
    def test_it_is_thin_long_and_dark(self, seed: int):
        patch = build_patch(replace(CRACK, seed=seed), OVERCAST, ASPHALT)
        drawn = patch.opening > 127
        rows, columns = np.nonzero(drawn)
        extent_m = math.hypot(np.ptp(rows), np.ptp(columns)) * CRACK.resolution_m
        assert extent_m > 0.8
        assert drawn.mean() < 0.12
        assert patch.rgb[drawn].mean() < 0.5 * ASPHALT[0]

    def test_only_what_is_drawn_is_open(self):
        patch = build_patch(CRACK, OVERCAST, ASPHALT)
        np.testing.assert_array_equal(patch.cover, patch.opening)
        np.testing.assert_allclose(patch.depth_m[patch.opening > 0], CRACK.depth_m, rtol=1e-6)
        assert not patch.depth_m[patch.opening == 0].any()


class TestLight:
    def test_flat_ground_gets_about_the_same_light_from_any_sky(self):
        for seed in range(30):
            light = draw_light(np.random.default_rng(seed))
            green = light.sky[1] + light.sun[1] * light.to_sun[2]
            assert 0.9 < green < 1.2
            assert 0.1 < light.shadow_gain <= 1.0
            assert math.hypot(*light.to_sun) == pytest.approx(1)
