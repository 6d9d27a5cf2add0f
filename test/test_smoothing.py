import numpy as np
import pytest
import torch

from road_kd_seg.smoothing import Smoother

SIZE, PERIOD_NS = (144, 256), 66_000_000
STILL = np.full((*SIZE, 3), 100, np.uint8)


def logits(seed):
    return torch.randn(1, 5, 36, 64, generator=torch.Generator().manual_seed(seed))


def run(smoother, frames):
    return [smoother(each, rgb, n * PERIOD_NS) for n, (each, rgb) in enumerate(frames, start=1)]


class TestSmoother:
    def test_where_nothing_moves_it_is_the_exponential_average(self):
        frames = [logits(n) for n in range(4)]
        averages = run(Smoother(0.6), [(each, STILL) for each in frames])
        expected = frames[0]
        for each, average in zip(frames[1:], averages[1:], strict=True):
            expected = 0.6 * expected + 0.4 * each
            torch.testing.assert_close(average, expected)

    def test_what_moves_is_as_the_network_says(self):
        moved = STILL.copy()
        moved[:72, :128] = 160
        first, second = logits(0), logits(1)
        _, average = run(Smoother(0.6), [(first, STILL), (second, moved)])
        torch.testing.assert_close(average[..., :18, :32], second[..., :18, :32])
        torch.testing.assert_close(average[..., 20:, 34:], 0.6 * first[..., 20:, 34:] + 0.4 * second[..., 20:, 34:])

    def test_noise_of_the_image_is_no_motion(self):
        random = np.random.default_rng(0)
        noisy = [np.clip(STILL + random.normal(0, 2, STILL.shape), 0, 255).astype(np.uint8) for _ in range(2)]
        first, second = logits(0), logits(1)
        _, average = run(Smoother(0.5), [(first, noisy[0]), (second, noisy[1])])
        torch.testing.assert_close(average, (first + second) / 2)

    @pytest.mark.parametrize("stamp_ns", [PERIOD_NS // 2, PERIOD_NS, PERIOD_NS + 2_000_000_000])
    def test_after_a_gap_and_when_time_goes_back_the_past_is_forgotten(self, stamp_ns):
        smoother = Smoother(0.6)
        smoother(logits(0), STILL, PERIOD_NS)
        torch.testing.assert_close(smoother(logits(1), STILL, stamp_ns), logits(1))

    def test_another_size_begins_anew(self):
        smoother = Smoother(0.6)
        smoother(logits(0), STILL, PERIOD_NS)
        other = torch.randn(1, 5, 18, 32)
        torch.testing.assert_close(smoother(other, STILL, 2 * PERIOD_NS), other)

    def test_the_networks_own_memory_is_not_kept(self):
        smoother, buffer = Smoother(0.5), logits(0)
        expected = (logits(0) + logits(1)) / 2
        smoother(buffer, STILL, PERIOD_NS)
        buffer.copy_(logits(1))
        torch.testing.assert_close(smoother(buffer, STILL, 2 * PERIOD_NS), expected)
