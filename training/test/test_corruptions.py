# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from road_kd_seg.taxonomy import DEFAULT_TAXONOMY
from road_kd_training.augment import Augment
from road_kd_training.config import AugmentConfig, InputConfig
from road_kd_training.corruptions import COLOR, corrupt_depth, dark, projector_dots
from road_kd_training.datasets.common.sample import RgbdSample

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
