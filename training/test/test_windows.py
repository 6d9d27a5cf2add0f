# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from road_kd_seg.preprocess.road_plane import plane_residual
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY
from road_kd_training.augment import Augment
from road_kd_training.config import AugmentConfig, InputConfig
from road_kd_training.datasets.common.sample import RgbdSample
from road_kd_training.windows import (
    PLANE_SIZE,
    ROAD_PLANE,
    Window,
    cut,
    far_end,
    plane_image,
    plane_in_window,
    sample_plane,
    scale_relief,
)

PLANE = np.array([0.05, 0.3, 0.4], np.float32)
SIDES = (60, 100)


def road_sample(depth_m=None):
    depth_m = 1 / plane_image(PLANE, SIDES) if depth_m is None else depth_m
    label = np.zeros(SIDES, np.uint8)
    label[20:, 30:70] = 1
    return RgbdSample(np.zeros((*SIDES, 3), np.uint8), depth_m.astype(np.float32), label, "road")


class TestPlaneInWindow:
    @given(
        top=st.integers(0, 20), left=st.integers(0, 40), height=st.integers(8, 40), width=st.integers(8, 60),
        mirrored=st.booleans(),
    )  # fmt: skip
    @settings(max_examples=40, deadline=None)
    def test_is_the_plane_that_the_window_shows(self, top, left, height, width, mirrored):
        window = Window(top, left, height, width)
        shown = plane_image(PLANE, SIDES)[top : top + height, left : left + width]
        shown = shown[:, ::-1] if mirrored else shown
        plane = plane_in_window(PLANE, SIDES, window, (height, width), mirrored)
        np.testing.assert_allclose(plane_image(plane, (height, width)), shown, atol=1e-5)

    def test_a_resized_window_keeps_what_lies_between_the_pixels(self):
        size = (16, 32)
        window = Window(10, 20, 40, 64)
        shown = cut(plane_image(PLANE, SIDES), window, size, False, 1, 0)  # 1: bilinear, exact on a plane
        plane = plane_in_window(PLANE, SIDES, window, size, False)
        np.testing.assert_allclose(plane_image(plane, size), shown, atol=1e-5)


class TestSamplePlane:
    def test_is_fitted_to_the_whole_frame(self):
        depth_m = 1 / plane_image(PLANE, PLANE_SIZE)
        sample = RgbdSample(np.zeros((*PLANE_SIZE, 3), np.uint8), depth_m, None, "road")
        np.testing.assert_allclose(sample_plane(sample), PLANE, atol=1e-4)

    def test_one_that_is_known_is_taken(self):
        sample = RgbdSample(np.zeros((*SIDES, 3), np.uint8), np.ones(SIDES, np.float32), None, "x", {ROAD_PLANE: PLANE})
        assert sample_plane(sample) is PLANE

    def test_without_depth_there_is_none(self):
        sample = RgbdSample(np.zeros((*SIDES, 3), np.uint8), None, None, "x")
        assert not sample_plane(sample).any()


class TestScaleRelief:
    def test_multiplies_what_leaves_the_plane_and_nothing_else(self):
        inverse = plane_image(PLANE, SIDES)
        inverse[30:40, 40:60] -= 0.05
        scaled = 1 / scale_relief(1 / inverse, PLANE, 1.4)
        fitted = plane_image(PLANE, SIDES)
        np.testing.assert_allclose(scaled - fitted, 1.4 * (inverse - fitted), atol=1e-5)

    def test_invalid_depth_stays_invalid(self):
        depth_m = 1 / plane_image(PLANE, SIDES)
        depth_m[5, 5] = 0
        assert scale_relief(depth_m, PLANE, 0.6)[5, 5] == 0


class TestFarEnd:
    def test_is_where_the_road_begins(self):
        row, column = far_end(road_sample().label)
        assert row == 20
        assert 30 <= column < 70

    @pytest.mark.parametrize("value", [0, 255])
    def test_an_image_without_road_has_none(self, value):
        assert far_end(np.full(SIDES, value, np.uint8)) is None


class TestExamples:
    @given(seed=st.integers(0, 50))
    @settings(max_examples=20, deadline=None)
    def test_depth_and_plane_of_every_variant_agree(self, seed):
        """However it is cut, mirrored and scaled, a bare road leaves no residual against its own plane."""
        config = AugmentConfig(max_scale=2.0, depth_scale=0.5, relief_scale=0.4, far_road=0.5)
        torch.manual_seed(seed)
        sample = road_sample()
        sample = RgbdSample(sample.rgb, sample.depth_m, sample.label, "road", {ROAD_PLANE: PLANE})
        _, depth, _, plane = Augment(config, InputConfig(*SIDES), DEFAULT_TAXONOMY)(sample)
        residual = plane_residual(torch.where(depth > 0, 1 / depth, 0)[None], plane[None])
        assert residual.abs().max() < 0.02  # half a pixel of sampling, at twice the gradient

    def test_far_windows_show_the_far_end_enlarged(self):
        torch.manual_seed(0)
        label = road_sample().label
        _, _, shown, _ = Augment(AugmentConfig(far_road=1.0, flip=0.0), InputConfig(*SIDES), DEFAULT_TAXONOMY)(
            road_sample()
        )
        assert (shown == 1).any()
        assert (shown == 0).any()
        assert (shown == 1).float().mean() != (label == 1).mean()
