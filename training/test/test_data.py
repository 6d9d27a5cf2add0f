# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from road_kd_seg.taxonomy import DEFAULT_TAXONOMY
from road_kd_training.augment import Augment, check_labels
from road_kd_training.config import AugmentConfig, DataConfig, InputConfig
from road_kd_training.data import Draw, DrawnExamples, Draws, Pool, build_datasets
from road_kd_training.datasets.common.sample import RgbdSample
from road_kd_training.errors import DatasetError, TrainingError


def sample(height=60, width=100):
    """Every pixel tells where it came from: red and depth by row, label by column parity."""
    rows = np.arange(height, dtype=np.uint8)[:, None].repeat(width, 1)
    rgb = np.stack([rows, rows, rows], -1)
    label = (np.arange(width, dtype=np.uint8) % 2)[None].repeat(height, 0) * 3
    return RgbdSample(rgb, rows.astype(np.float32) + 1, label, "grid")


def pool(sizes, weights, batch_size=1, *, labeled=True):
    return Pool([[sample()] * size for size in sizes], weights, batch_size, labeled)


def augment(size=(32, 48), **changes):
    return Augment(AugmentConfig(**changes), InputConfig(height=size[0], width=size[1]), DEFAULT_TAXONOMY)


class TestDraws:
    @given(seed=st.integers(0, 99), first=st.integers(0, 10))
    @settings(max_examples=20, deadline=None)
    def test_a_resumed_run_draws_what_the_whole_run_would_have(self, seed, first):
        pools = [pool([7, 3], [0.7, 0.3], 3), pool([4], [1.0], 2, labeled=False)]
        whole = list(Draws(pools, seed, 0, 10))
        assert list(Draws(pools, seed, first, 10)) == whole[first * 5 :]
        assert len(whole) == len(Draws(pools, seed, 0, 10)) == 50

    def test_every_sample_comes_once_before_any_comes_twice(self):
        indices = [draw.index for draw in Draws([pool([10], [1.0])], 0, 0, 20)]
        assert sorted(indices[:10]) == sorted(indices[10:]) == list(range(10))

    def test_sources_come_by_their_weights(self):
        sources = [draw.source for draw in Draws([pool([5, 5], [0.75, 0.25])], 0, 0, 4000)]
        assert np.mean(sources) == pytest.approx(0.25, abs=0.03)

    def test_every_batch_has_its_share_of_labeled_and_unlabeled_samples(self):
        draws = list(Draws([pool([4], [1.0], 3), pool([4], [1.0], 2, labeled=False)], 0, 0, 6))
        assert [draw.pool for draw in draws] == [0, 0, 0, 1, 1] * 6
        assert [draw.position for draw in draws] == list(range(30))

    def test_positions_of_a_second_process_s_batches_are_its_own(self):
        assert len({draw.position for draw in Draws([pool([3], [1.0], 2)], 0, 0, 8)}) == 16


class TestAugment:
    def test_gives_the_networks_size_and_types(self):
        image, depth, label, _ = augment((32, 48))(sample())
        assert (image.shape, depth.shape, label.shape) == ((32, 48, 3), (32, 48), (32, 48))
        assert (image.dtype, depth.dtype, label.dtype) == (torch.uint8, torch.float32, torch.int64)

    @given(seed=st.integers(0, 200), low=st.sampled_from([0.3, 1.0, 1.5]))
    @settings(max_examples=20, deadline=None)
    def test_depth_and_labels_are_sampled_never_blended(self, seed, low):
        torch.manual_seed(seed)
        source = sample()
        _, depth, label, _ = augment((33, 47), min_scale=low)(source)
        assert set(depth.unique().tolist()) <= {0, *np.unique(source.depth_m).tolist()}
        assert set(label.unique().tolist()) <= {0, 3, 255}

    @given(seed=st.integers(0, 200))
    @settings(max_examples=20, deadline=None)
    def test_image_and_depth_stay_on_each_other(self, seed):
        torch.manual_seed(seed)
        image, depth, *_ = augment((30, 50), brightness=0, contrast=0, saturation=0, hue=0)(sample())
        apart = (image[..., 0].float() + 1 - depth).abs().max()
        assert apart <= 1.5  # bilinear against nearest, on a ramp of 1 per row

    def test_at_scale_1_the_whole_frame_is_seen(self):
        plain = augment((60, 100), max_scale=1.0, flip=0.0, brightness=0, contrast=0, saturation=0, hue=0)
        image, depth, label, _ = plain(sample())
        assert np.array_equal(image.numpy(), sample().rgb)
        assert np.array_equal(depth.numpy(), sample().depth_m)
        assert np.array_equal(label.numpy(), sample().label)

    def test_a_window_is_cut_from_the_frame_at_its_scale(self):
        window = augment((60, 100), max_scale=1.0, crop_height=20, crop_width=30, flip=0.0)
        _, depth, label, _ = window(sample())
        assert depth.shape == (20, 30)
        assert torch.equal(depth.diff(dim=0), torch.ones(19, 30))
        assert (label != 255).all()

    def test_what_lies_beside_a_smaller_frame_is_ignored_and_has_no_depth(self):
        shrunk = augment(
            (60, 100), min_scale=0.5, max_scale=0.5, flip=0.0, brightness=0, contrast=0, saturation=0, hue=0
        )
        _, depth, label, _ = shrunk(sample())
        outside = label == 255
        assert outside.sum() == 60 * 100 - 30 * 50
        assert not depth[outside].any()
        assert (depth[~outside] > 0).all()

    def test_depth_is_scaled_as_a_whole_and_holes_stay_holes(self):
        source = sample()
        source.depth_m[10:20] = 0
        _, depth, *_ = augment((60, 100), max_scale=1.0, flip=0.0, depth_scale=0.5)(source)
        ratio = depth[source.depth_m > 0] / torch.from_numpy(source.depth_m)[source.depth_m > 0]
        assert ratio.std() < 1e-6
        assert 0.5 <= ratio.mean() <= 1.5
        assert not depth[10:20].any()

    def test_depth_can_be_dropped(self):
        assert not augment(drop_depth=1.0)(sample())[1].any()

    def test_scales_in_the_wrong_order_are_refused(self):
        with pytest.raises(TrainingError, match=r"min_scale 2.0 and max_scale 1.0: expected 0 < min <= max"):
            augment(min_scale=2.0, max_scale=1.0)


class TestDrawnExamples:
    def test_the_same_draw_gives_the_same_example_and_leaves_the_generator_alone(self):
        examples = DrawnExamples([pool([1], [1.0])], augment((24, 40)), seed=3)
        state = torch.get_rng_state()
        first, second, other = (examples[Draw(position, 0, 0, 0)] for position in (5, 5, 6))
        assert torch.equal(torch.get_rng_state(), state)
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
        assert not torch.equal(first[0], other[0])

    def test_labels_of_the_unlabeled_pool_are_not_looked_at(self):
        examples = DrawnExamples([pool([1], [1.0], labeled=False)], augment(), seed=0)
        assert (examples[Draw(0, 0, 0, 0)][2] == 255).all()

    def test_an_unlabeled_sample_among_the_labeled_is_refused(self):
        unlabeled = RgbdSample(sample().rgb, None, None, "x")
        examples = DrawnExamples([Pool([[unlabeled]], [1.0], 1, True)], augment(), seed=0)
        with pytest.raises(DatasetError, match="sample x has no label: list its dataset under unlabeled, or label it"):
            examples[Draw(0, 0, 0, 0)]


@pytest.mark.parametrize("other", ["synthetic", "no4k"])
def test_a_missing_folder_is_told_before_any_scene_is_rendered(tmp_path, other):
    options = {"root": str(tmp_path / "nowhere")} | ({"num_scenes": 1} if other == "synthetic" else {})
    (tmp_path / "scenes").mkdir()
    scenes = DataConfig("synthetic", {"root": str(tmp_path / "scenes"), "num_scenes": 1})
    with pytest.raises(DatasetError, match="nowhere"):
        build_datasets([scenes, DataConfig(other, options)])
    assert not list((tmp_path / "scenes").iterdir())


def test_labels_that_are_no_class_are_refused():
    check_labels(torch.tensor([0, 4, 255]), 5)
    with pytest.raises(DatasetError, match=r"holds class 5, expected 0..4 or 255"):
        check_labels(torch.tensor([0, 5, 255]), 5)
