# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from road_kd_seg.metrics.bootstrap import MIN_FRAMES, block_bootstrap


def ratio(sums):
    """Hits over pixels, as recall is."""
    return (sums[..., 0] / sums[..., 1])[..., None]


def autoregressive(random, correlation, size):
    """Standard normal series whose neighbors correlate; one per row."""
    noise = random.standard_normal(size)
    series = np.empty(size)
    series[:, 0] = noise[:, 0]
    for i in range(1, size[1]):
        series[:, i] = correlation * series[:, i - 1] + np.sqrt(1 - correlation**2) * noise[:, i]
    return series


class TestBlockBootstrap:
    @pytest.mark.parametrize("correlation", [0.0, 0.5, 0.8])
    def test_the_interval_holds_the_true_value_in_93_to_97_percent_of_drives(self, correlation):
        """Frames with areas of their own, whose hit rate drifts; the true ratio is the mean rate."""
        random = np.random.default_rng(7)
        drives, num_frames = 1000, 600
        rate = 1 / (1 + np.exp(-1.2 - autoregressive(random, correlation, (drives, num_frames))))
        pixels = 1000 * np.exp(0.5 * autoregressive(random, correlation, (drives, num_frames)))
        truth = (1 / (1 + np.exp(-1.2 - np.random.default_rng(1).standard_normal(1_000_000)))).mean()
        counts = np.stack([rate * pixels, pixels], -1).round().astype(np.int64)
        intervals = [block_bootstrap(drive, ratio, seed=i) for i, drive in enumerate(counts)]
        held = np.mean([i.low[0] <= truth <= i.high[0] for i in intervals])
        assert 0.93 <= held <= 0.97

    def test_the_value_is_that_of_the_sums(self):
        frames = np.array([[1, 2], [3, 4]] * 20)
        assert block_bootstrap(frames, ratio).value == pytest.approx([4 / 6])

    def test_frames_that_are_all_alike_have_an_interval_of_no_width(self):
        intervals = block_bootstrap(np.array([[1, 2]] * 40), ratio)
        assert (intervals.low[0], intervals.high[0]) == (0.5, 0.5)

    def test_too_few_frames_give_no_interval(self):
        intervals = block_bootstrap(np.random.default_rng(0).integers(1, 9, (MIN_FRAMES - 1, 2)), ratio)
        assert np.isnan([intervals.low[0], intervals.high[0]]).all()

    def test_a_quantity_that_is_not_defined_has_no_interval(self):
        intervals = block_bootstrap(np.zeros((40, 2), np.int64), lambda sums: np.full((*sums.shape[:-1], 1), np.nan))
        assert np.isnan([intervals.value[0], intervals.low[0], intervals.high[0]]).all()

    def test_the_same_seed_gives_the_same_interval(self):
        counts = np.random.default_rng(0).integers(1, 9, (50, 2))
        assert block_bootstrap(counts, ratio).low == block_bootstrap(counts, ratio).low
