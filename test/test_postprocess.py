# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from road_kd_seg.errors import FrameError
from road_kd_seg.frame import Intrinsics, RgbdFrame, Segmentation
from road_kd_seg.postprocess import colorize, obstacle_points, overlay, role_mask
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY, Role

LABEL = np.array([[0, 1, 2], [3, 4, 1]], np.uint8)
CONFIDENCE = np.array([[1.0, 0.9, 0.4], [0.8, 0.3, 0.7]], np.float32)
SEGMENTATION = Segmentation(LABEL, CONFIDENCE)
CAMERA = Intrinsics(fx=2.0, fy=4.0, cx=1.0, cy=0.5, width=3, height=2)


class TestRoleMask:
    def test_obstacles_are_both_kinds(self):
        assert role_mask(SEGMENTATION, DEFAULT_TAXONOMY, Role.OBSTACLE).tolist() == [[0, 0, 0], [255, 255, 0]]

    def test_unsure_pixels_are_left_out(self):
        assert role_mask(SEGMENTATION, DEFAULT_TAXONOMY, Role.OBSTACLE, 0.5).tolist() == [[0, 0, 0], [255, 0, 0]]
        assert not role_mask(SEGMENTATION, DEFAULT_TAXONOMY, Role.LANE, 0.5).any()


class TestOverlay:
    rgb = np.full((2, 3, 3), 100, np.uint8)

    def test_alpha_zero_is_the_image_and_one_is_the_colors(self):
        assert (overlay(self.rgb, LABEL, DEFAULT_TAXONOMY, 0.0) == self.rgb).all()
        painted = overlay(self.rgb, LABEL, DEFAULT_TAXONOMY, 1.0)
        assert (painted[LABEL > 0] == colorize(LABEL, DEFAULT_TAXONOMY)[LABEL > 0]).all()

    def test_background_keeps_the_image(self):
        assert (overlay(self.rgb, LABEL, DEFAULT_TAXONOMY, 1.0)[0, 0] == 100).all()

    def test_every_pixel_is_the_blend_of_its_own_color(self):
        random = np.random.default_rng(0)
        rgb, label = random.integers(0, 256, (40, 50, 3), np.uint8), random.integers(0, 7, (40, 50), np.uint8)
        painted = np.where(label[..., None] == 0, rgb, colorize(label, DEFAULT_TAXONOMY))
        expected = 0.7 * rgb + 0.3 * painted
        np.testing.assert_allclose(overlay(rgb, label, DEFAULT_TAXONOMY, 0.3), expected, atol=0.51)

    def test_half_is_the_mean(self):
        blended = overlay(self.rgb, LABEL, DEFAULT_TAXONOMY, 0.5)[0, 2]
        np.testing.assert_allclose(blended, (100 + 255) / 2, atol=1)


class TestObstaclePoints:
    def frame(self, depth):
        return RgbdFrame(np.zeros((2, 3, 3), np.uint8), np.array(depth, np.float32), CAMERA)

    def test_by_hand(self):
        frame = self.frame([[5, 5, 5], [2, 3, 5]])
        points = obstacle_points(frame, SEGMENTATION, DEFAULT_TAXONOMY, max_range_m=10, min_confidence=0)
        assert points["label"].tolist() == [3, 4]
        np.testing.assert_allclose(points["x"], [(0 - 1) / 2 * 2, 0])
        np.testing.assert_allclose(points["y"], [0.5 / 4 * 2, 0.5 / 4 * 3])
        np.testing.assert_allclose(points["z"], [2, 3])
        np.testing.assert_allclose(points["confidence"], [0.8, 0.3])

    def test_invalid_far_and_unsure_points_are_left_out(self):
        invalid = obstacle_points(
            self.frame([[5, 5, 5], [0, 3, 5]]), SEGMENTATION, DEFAULT_TAXONOMY, max_range_m=10, min_confidence=0
        )
        assert invalid["label"].tolist() == [4]
        far = obstacle_points(
            self.frame([[5, 5, 5], [2, 3, 5]]), SEGMENTATION, DEFAULT_TAXONOMY, max_range_m=2.5, min_confidence=0
        )
        assert far["label"].tolist() == [3]
        unsure = obstacle_points(
            self.frame([[5, 5, 5], [2, 3, 5]]), SEGMENTATION, DEFAULT_TAXONOMY, max_range_m=10, min_confidence=0.5
        )
        assert unsure["label"].tolist() == [3]

    def test_without_depth_or_camera_it_says_which_is_missing(self):
        rgb = np.zeros((2, 3, 3), np.uint8)
        for frame, lacking in (
            (RgbdFrame(rgb, None, CAMERA), "depth"),
            (RgbdFrame(rgb, np.ones((2, 3), np.float32)), "intr"),
        ):
            with pytest.raises(FrameError, match=f"has no .*{lacking}"):
                obstacle_points(frame, SEGMENTATION, DEFAULT_TAXONOMY, max_range_m=5, min_confidence=0)
