import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from road_kd_training.augment import Augment, check_labels
from road_kd_training.config import AugmentConfig
from road_kd_training.data import DrawnExamples, Draws
from road_kd_training.datasets.sample import RgbdSample
from road_kd_training.errors import DatasetError


def sample(height=60, width=100):
    """Every pixel tells where it came from: red and depth by row, label by column parity."""
    rows = np.arange(height, dtype=np.uint8)[:, None].repeat(width, 1)
    rgb = np.stack([rows, rows, rows], -1)
    label = (np.arange(width, dtype=np.uint8) % 2)[None].repeat(height, 0) * 3
    return RgbdSample(rgb, rows.astype(np.float32) + 1, label, "grid")


class TestDraws:
    @given(seed=st.integers(0, 99), first=st.integers(0, 40))
    @settings(max_examples=20, deadline=None)
    def test_a_resumed_run_draws_what_the_whole_run_would_have(self, seed, first):
        whole = list(Draws([7, 3], [0.7, 0.3], seed, 0, 40))
        assert list(Draws([7, 3], [0.7, 0.3], seed, first, 40)) == whole[first:]

    def test_every_sample_comes_once_before_any_comes_twice(self):
        indices = [index for _, _, index in Draws([10], [1.0], 0, 0, 20)]
        assert sorted(indices[:10]) == sorted(indices[10:]) == list(range(10))

    def test_sources_come_by_their_weights(self):
        sources = [source for _, source, _ in Draws([5, 5], [0.75, 0.25], 0, 0, 4000)]
        assert np.mean(sources) == pytest.approx(0.25, abs=0.03)


class TestAugment:
    def test_gives_the_networks_size_and_types(self):
        image, depth, label = Augment(AugmentConfig(), (32, 48))(sample())
        assert (image.shape, depth.shape, label.shape) == ((32, 48, 3), (32, 48), (32, 48))
        assert (image.dtype, depth.dtype, label.dtype) == (torch.uint8, torch.float32, torch.int64)

    @given(seed=st.integers(0, 200))
    @settings(max_examples=20, deadline=None)
    def test_depth_and_labels_are_sampled_never_blended(self, seed):
        torch.manual_seed(seed)
        source = sample()
        _, depth, label = Augment(AugmentConfig(), (33, 47))(source)
        assert set(depth.unique().tolist()) <= set(np.unique(source.depth_m).tolist())
        assert set(label.unique().tolist()) <= {0, 3}

    @given(seed=st.integers(0, 200))
    @settings(max_examples=20, deadline=None)
    def test_image_and_depth_stay_on_each_other(self, seed):
        torch.manual_seed(seed)
        plain = AugmentConfig(brightness=0, contrast=0, saturation=0, hue=0)
        image, depth, _ = Augment(plain, (30, 50))(sample())
        assert (
            image[..., 0].float() + 1 - depth
        ).abs().max() <= 1.5  # bilinear against nearest, on a ramp of 1 per row

    def test_depth_can_be_dropped(self):
        assert not Augment(AugmentConfig(drop_depth=1.0), (16, 16))(sample())[1].any()

    def test_the_same_draw_gives_the_same_example_and_leaves_the_generator_alone(self):
        examples = DrawnExamples([[sample()]], Augment(AugmentConfig(), (24, 40)), seed=3)
        state = torch.get_rng_state()
        first, second, other = examples[(5, 0, 0)], examples[(5, 0, 0)], examples[(6, 0, 0)]
        assert torch.equal(torch.get_rng_state(), state)
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
        assert not torch.equal(first[0], other[0])

    def test_an_unlabelled_sample_is_refused(self):
        unlabelled = RgbdSample(sample().rgb, None, None, "x")
        with pytest.raises(DatasetError, match="sample x has no label"):
            Augment(AugmentConfig(), (16, 16))(unlabelled)


def test_labels_that_are_no_class_are_refused():
    check_labels(torch.tensor([0, 4, 255]), 5)
    with pytest.raises(DatasetError, match=r"holds class 5, expected 0..4 or 255"):
        check_labels(torch.tensor([0, 5, 255]), 5)
