# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from road_kd_seg.taxonomy import DEFAULT_TAXONOMY
from road_kd_training.augment import Augment
from road_kd_training.cli import main
from road_kd_training.config import AugmentConfig, InputConfig
from road_kd_training.corruptions import COLOR, CORRUPTIONS, Corrupted, corrupt_depth, dark, projector_dots
from road_kd_training.datasets.common.sample import RgbdSample
from road_kd_training.errors import DatasetError

SIZE = (60, 100)


def image(seed=0):
    return np.random.default_rng(seed).integers(60, 120, (*SIZE, 3), np.uint8)


@pytest.mark.parametrize("corrupt", COLOR, ids=lambda corrupt: corrupt.__name__)
class TestColor:
    @given(seed=st.integers(0, 1000))
    @settings(max_examples=15, deadline=None)
    def test_gives_another_image_of_the_same_kind_and_keeps_its_input(self, corrupt, seed):
        source = image()
        corrupted = corrupt(source, np.random.default_rng(seed))
        assert (corrupted.shape, corrupted.dtype) == (source.shape, np.uint8)
        assert not np.array_equal(corrupted, source)
        np.testing.assert_array_equal(source, image())

    def test_is_a_function_of_the_generator(self, corrupt):
        first, second = (corrupt(image(), np.random.default_rng(5)) for _ in range(2))
        np.testing.assert_array_equal(first, second)


def test_dusk_is_darker_and_dots_are_brighter():
    assert dark(image(), np.random.default_rng(0)).mean() < 0.7 * image().mean()
    assert projector_dots(image(), np.random.default_rng(0)).mean() > image().mean()


class TestDepth:
    @given(seed=st.integers(0, 1000))
    @settings(max_examples=25, deadline=None)
    def test_is_noisier_further_away_and_never_invents_depth(self, seed):
        depth_m = np.full(SIZE, 1.5, np.float32)
        depth_m[:, 50:] = 6.0
        depth_m[10:20] = 0
        noisy = corrupt_depth(depth_m, np.random.default_rng(seed))
        assert noisy.dtype == np.float32
        assert np.isfinite(noisy).all()
        assert (noisy[10:20] == 0).all()
        valid = noisy > 0
        assert abs(1 / noisy[valid] - 1 / depth_m[valid]).max() < 0.04  # five times the largest spread and more

    def test_some_of_it_is_lost(self):
        depth_m = np.full(SIZE, 2.0, np.float32)
        lost = [(corrupt_depth(depth_m, np.random.default_rng(seed)) == 0).mean() for seed in range(30)]
        assert 0.02 < np.mean(lost) < 0.5


def test_augmented_examples_repeat_with_the_seed():
    sample = RgbdSample(image(), np.full(SIZE, 2.0, np.float32), np.ones(SIZE, np.uint8), "x")
    augment = Augment(AugmentConfig(weather=1.0, depth_noise=1.0), InputConfig(*SIZE), DEFAULT_TAXONOMY)
    examples = []
    for _ in range(2):
        torch.manual_seed(3)
        examples.append(augment(sample))
    for first, second in zip(*examples, strict=True):
        assert torch.equal(first, second)


class Scenes:
    taxonomy = DEFAULT_TAXONOMY

    def __init__(self, depth=True):
        self.depth = depth

    def __len__(self):
        return 2

    def __getitem__(self, index):
        depth_m = np.full(SIZE, 2.0, np.float32) if self.depth else None
        return RgbdSample(image(index), depth_m, np.ones(SIZE, np.uint8), f"scene{index}")


class TestCorrupted:
    @pytest.mark.parametrize("name", CORRUPTIONS)
    def test_changes_color_or_depth_alone_and_the_same_way_in_every_run(self, name):
        for index in range(2):
            clean, first, second = Scenes()[index], Corrupted(Scenes(), name)[index], Corrupted(Scenes(), name)[index]
            changed = [not np.array_equal(getattr(clean, part), getattr(first, part)) for part in ("rgb", "depth_m")]
            assert changed == [name != "stereo_noise", name == "stereo_noise"]
            np.testing.assert_array_equal(first.label, clean.label)
            np.testing.assert_array_equal(first.rgb, second.rgb)
            np.testing.assert_array_equal(first.depth_m, second.depth_m)

    def test_samples_do_not_share_their_draw(self):
        class Same(Scenes):
            def __getitem__(self, index):
                return super().__getitem__(0)

        first, second = Corrupted(Same(), "rain")[0], Corrupted(Same(), "rain")[1]
        assert not np.array_equal(first.rgb, second.rgb)

    def test_an_unknown_name_is_answered_with_those_that_are_known(self):
        with pytest.raises(DatasetError, match="corruption 'rian' is unknown.*rain"):
            Corrupted(Scenes(), "rian")

    def test_noise_of_depth_needs_depth(self):
        with pytest.raises(DatasetError, match="scene0 has no depth"):
            Corrupted(Scenes(depth=False), "stereo_noise")[0]

    def test_the_help_of_evaluate_names_all(self, capsys):
        with pytest.raises(SystemExit):
            main(["evaluate", "--help"])
        text = " ".join(capsys.readouterr().out.split())
        assert all(name in text for name in CORRUPTIONS)
