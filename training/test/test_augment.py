# SPDX-License-Identifier: Apache-2.0
"""One affine map for brightness, contrast, saturation and hue, against torchvision's four steps."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from road_kd_seg.taxonomy import DEFAULT_TAXONOMY, Role, SemanticClass, Taxonomy
from road_kd_training.augment import LUMA, Augment
from road_kd_training.config import AugmentConfig, InputConfig
from road_kd_training.datasets.apolloscape_lane import LANE_MARKS
from road_kd_training.datasets.common.sample import RgbdSample
from road_kd_training.datasets.culane import EGO_LANES
from road_kd_training.errors import TrainingError

SIZE = (48, 64)
NO_COLORS = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}


def sample(rgb):
    return RgbdSample(rgb, None, None, "x")


def muted(seed=0):
    """Colors far enough from black and white that nothing is clipped."""
    return np.random.default_rng(seed).integers(90, 150, (*SIZE, 3), np.uint8)


def change(rgb, seed, **colors):
    """The example of a sample whose window is the whole image, and the same with no change of colors."""
    config = AugmentConfig(max_scale=1.0, flip=0.0, **{**NO_COLORS, **colors})
    torch.manual_seed(seed)
    return Augment(config, InputConfig(*rgb.shape[:2]), DEFAULT_TAXONOMY)(sample(rgb))[0].numpy()


def luma(rgb):
    return rgb.astype(np.float64) @ LUMA


class TestColors:
    def test_without_amounts_nothing_changes(self):
        assert np.array_equal(change(muted(), 3), muted())

    @pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
    @pytest.mark.parametrize("seed", range(4))
    def test_each_amount_alone_is_torchvisions(self, name, seed):
        changed = change(muted(), seed, **{name: 0.3})
        # The factor that was drawn follows from what happened to the colors' spread or level.
        before, after = muted().astype(float), changed.astype(float)
        gray = {"brightness": 0.0, "contrast": luma(before).mean(), "saturation": luma(before)[..., None]}[name]
        factor = float(np.sum((after - gray) * (before - gray)) / np.sum((before - gray) ** 2))
        assert 0.7 <= factor <= 1.3
        image = torch.from_numpy(muted()).permute(2, 0, 1)
        expected = getattr(reference, f"adjust_{name}")(image, factor).permute(1, 2, 0).numpy()
        assert np.abs(changed.astype(int) - expected.astype(int)).max() <= 1

    def test_amounts_are_drawn_over_their_whole_range(self):
        levels = [change(np.full((*SIZE, 3), 100, np.uint8), seed, brightness=0.4).mean() for seed in range(200)]
        assert min(levels) == pytest.approx(60, abs=3)
        assert max(levels) == pytest.approx(140, abs=3)

    def test_an_amount_above_1_never_inverts_the_image(self):
        levels = [change(np.full((*SIZE, 3), 10, np.uint8), seed, brightness=3.0).mean() for seed in range(50)]
        assert min(levels) >= 0
        assert max(levels) > 30

    @pytest.mark.parametrize("seed", range(4))
    def test_hue_and_saturation_keep_the_luma_and_leave_gray_alone(self, seed):
        changed = change(muted(), seed, hue=0.5, saturation=0.5)
        assert np.abs(luma(changed) - luma(muted())).max() <= 0.6  # rounding
        gray = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, -1)
        assert np.array_equal(change(gray, seed, hue=0.5, saturation=0.5), gray)

    def test_a_third_of_a_turn_moves_red_towards_green_or_blue(self):
        red = np.full((*SIZE, 3), (150, 100, 100), np.uint8)
        for seed in range(20):
            shifted = change(red, seed, hue=1 / 3)[0, 0].astype(int)
            assert abs(luma(shifted) - luma(red[0, 0])) <= 1
        strongest = {int(change(red, seed, hue=0.5)[0, 0].argmax()) for seed in range(40)}
        assert strongest == {0, 1, 2}

    def test_values_are_clipped_not_wrapped(self):
        white = np.full((*SIZE, 3), 250, np.uint8)
        assert min(int(change(white, seed, brightness=0.4).min()) for seed in range(30)) >= 150 - 1


class TestGeometry:
    def test_a_mirror_image_mirrors_all_three(self):
        rows = np.broadcast_to(np.arange(64, dtype=np.uint8), SIZE)
        source = RgbdSample(np.stack([rows] * 3, -1), rows.astype(np.float32), rows.copy(), "x")
        config = AugmentConfig(max_scale=1.0, flip=1.0, **NO_COLORS)
        image, depth, label, _ = Augment(config, InputConfig(*SIZE), DEFAULT_TAXONOMY)(source)
        assert image[0, :, 0].tolist() == depth[0].tolist() == label[0].tolist() == list(range(64))[::-1]

    def test_a_shrunken_image_is_averaged_as_the_node_does(self):
        stripes = np.zeros((96, 128, 3), np.uint8)
        stripes[:, ::2] = 200
        config = AugmentConfig(max_scale=1.0, flip=0.0, **NO_COLORS)
        image = Augment(config, InputConfig(*SIZE), DEFAULT_TAXONOMY)(sample(stripes))[0]
        assert (image == 100).all()

    def test_the_example_is_no_view_of_the_sample(self):
        source = sample(muted())
        config = AugmentConfig(max_scale=1.0, flip=0.0, **NO_COLORS)
        Augment(config, InputConfig(*SIZE), DEFAULT_TAXONOMY)(source)[0].zero_()
        assert np.array_equal(source.rgb, muted())

    @pytest.mark.parametrize("size", [(1, 1), (3, 500), (700, 2)])
    def test_images_of_any_size_become_examples(self, size):
        source = RgbdSample(np.zeros((*size, 3), np.uint8), np.ones(size, np.float32), np.zeros(size, np.uint8), "x")
        for seed in range(10):
            torch.manual_seed(seed)
            image, depth, label, _ = Augment(
                AugmentConfig(min_scale=0.3, max_scale=3.0), InputConfig(*SIZE), DEFAULT_TAXONOMY
            )(source)
            assert (image.shape, depth.shape, label.shape) == ((*SIZE, 3), SIZE, SIZE)
            assert torch.equal(label == 255, depth == 0)  # outside is ignored where it is invalid, and nowhere else

    def test_what_the_networks_crop_leaves_is_all_that_is_drawn_from(self):
        rows = np.broadcast_to(np.arange(96, dtype=np.uint8)[:, None], (96, 128))
        source = RgbdSample(np.stack([rows] * 3, -1), rows.astype(np.float32), rows.copy(), "x")
        frame = InputConfig(48, 128, crop=(0.5, 0.0, 1.0, 1.0))
        config = AugmentConfig(max_scale=1.0, flip=0.0, **NO_COLORS)
        image, depth, label, _ = Augment(config, frame, DEFAULT_TAXONOMY)(source)
        assert image[:, 0, 0].tolist() == depth[:, 0].tolist() == label[:, 0].tolist() == list(range(48, 96))


class TestMirrorImages:
    @pytest.fixture
    def lanes(self):
        label = np.array([[1, 2, 0, 3, 4, 255]], np.uint8).repeat(4, 0)
        return RgbdSample(np.zeros((4, 6, 3), np.uint8), None, label, "x")

    def test_left_and_right_swap(self, lanes):
        config = AugmentConfig(max_scale=1.0, flip=1.0, **NO_COLORS)
        _, _, label, _ = Augment(config, InputConfig(4, 6), EGO_LANES)(lanes)
        assert label[0].tolist() == [255, 1, 2, 0, 3, 4]

    def test_two_mirrors_restore_every_taxonomy_that_has_counterparts(self):
        for taxonomy in (EGO_LANES, DEFAULT_TAXONOMY):
            assert (taxonomy.mirror_table[taxonomy.mirror_table] == np.arange(256)).all()

    def test_a_class_without_counterpart_is_ignored_in_a_mirror(self):
        assert LANE_MARKS.mirror_table[LANE_MARKS.names.index("a_w_u")] == 255

    def test_classes_with_sides_and_no_counterparts_are_refused(self):
        sides = Taxonomy(tuple(SemanticClass(i, n, Role.LANE, (0, 0, 0)) for i, n in enumerate(("left_lane", "right"))))
        message = "augment: flip is 0.5: taxonomy: left_lane, right change in a mirror image.*: set flip to 0"
        with pytest.raises(TrainingError, match=message):
            Augment(AugmentConfig(), InputConfig(*SIZE), sides)
        Augment(AugmentConfig(flip=0.0), InputConfig(*SIZE), sides)


class TestViewForTeachers:
    @pytest.mark.parametrize("seed", range(3))
    def test_a_larger_view_shows_the_same_window(self, seed):
        rng = np.random.default_rng(seed)
        blocks = np.kron(rng.integers(90, 150, (12, 16, 3)), np.ones((16, 16, 1))).astype(np.uint8)
        depth_m = np.linspace(2, 6, blocks[..., 0].size, dtype=np.float32).reshape(blocks.shape[:2])
        whole = RgbdSample(blocks, depth_m, blocks[..., 0] % 5, "x")
        config = AugmentConfig(crop_height=24, crop_width=32, min_scale=0.8, max_scale=1.2, **NO_COLORS)

        def example(view):
            torch.manual_seed(seed)
            return Augment(config, InputConfig(48, 64), DEFAULT_TAXONOMY, view)(whole)

        small, large = example(1.0), example(2.0)
        assert large[0].shape == (48, 64, 3)
        reduced = large[0].float().unflatten(0, (24, 2)).unflatten(2, (32, 2)).mean((1, 3))
        assert (reduced - small[0].float()).abs().median() <= 1
        assert (large[1][::2, ::2] - small[1]).abs().max() < 0.1
        assert torch.allclose(large[3], small[3], atol=0.02)

    @pytest.mark.parametrize("view", [0.0, -1.0, 0.5, 5.0, float("nan")])
    def test_other_views_are_refused(self, view):
        with pytest.raises(TrainingError, match="teacher_view is .*, expected from 1 to 4"):
            Augment(AugmentConfig(), InputConfig(48, 64), DEFAULT_TAXONOMY, view)
