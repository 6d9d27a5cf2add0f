# SPDX-License-Identifier: Apache-2.0
import dataclasses
import itertools
import time

import numpy as np
import pytest
import torch

from road_kd_seg.metrics import confusion_matrix, iou, mean_iou
from road_kd_seg.metrics.steadiness import flicker_share
from road_kd_seg.segmenter import Segmenter
from road_kd_seg.smoothing import Smoother
from road_kd_seg.synthetic.__main__ import DEMO_SEED
from road_kd_seg.synthetic.camera import View
from road_kd_seg.synthetic.drive import DriveConfig, plan_drive, render_drive
from road_kd_seg.synthetic.render import render
from road_kd_seg.taxonomy import NEGATIVE_OBSTACLE

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


def driving(num_frames=100):
    """The first ten seconds of the demo's drive."""
    return list(render_drive(DriveConfig(DEMO_SEED, num_frames, rate_hz=10.0)))


def standing(num_frames=30):
    """The same camera before it drives off: the sensor's noise is all that changes."""
    road, rig, look, camera = plan_drive(DriveConfig(DEMO_SEED))
    view = View(camera, rig.pose(road, 0.0))
    noise = np.random.default_rng(0).spawn(num_frames)
    return [render(road, view, look, rng, (n + 1) * 100_000_000, "camera") for n, rng in enumerate(noise)]


@dataclasses.dataclass(frozen=True)
class Steadiness:
    """What smoothing did to a drive; shares and medians over its frames."""

    flicker: float
    miou: float
    potholes: float
    cost_ms: float


@pytest.mark.soak
@pytest.mark.timeout(600)
class TestOnRenderedDrives:
    """Of the shipped model; `-s` prints docs/NODE.md's table."""

    SHARES = (0.0, 0.3, 0.5, 0.7)

    @pytest.fixture(scope="class", params=[driving, standing], ids=lambda drive: drive.__name__)
    def measured(self, request):
        segmenter = Segmenter.from_bundle("road_student", device="cpu", num_threads=1)
        frames = request.param()
        return request.param, {share: self.measure(segmenter, frames, share) for share in self.SHARES}

    @staticmethod
    def measure(segmenter, frames, share):
        predictions, costs_ms = [], []
        smoother = Smoother(share)

        def timed(*arguments):
            start_s = time.perf_counter()
            average = smoother(*arguments)
            costs_ms.append(1e3 * (time.perf_counter() - start_s))
            return average

        for frame, _ in frames:
            predictions.append(segmenter(frame, timed if share else None).label)
        labels = [label for _, label in frames]
        counts = sum(confusion_matrix(one, two, 5) for one, two in zip(labels, predictions, strict=True))
        pairs = itertools.pairwise(zip(labels, predictions, strict=True))
        flicker = np.mean([flicker_share(before[0], after[0], before[1], after[1]) for before, after in pairs])
        median_ms = float(np.median(costs_ms)) if costs_ms else 0.0
        return Steadiness(float(flicker), mean_iou(counts), float(iou(counts)[NEGATIVE_OBSTACLE]), median_ms)

    def test_it_steadies_what_stands_still_and_costs_little_accuracy_and_time(self, measured):
        drive, by_share = measured
        before = by_share[0.0]
        for share, after in by_share.items():
            print(
                f"\n| {drive.__name__} | {share} | {after.flicker / before.flicker:.2f} |"
                f" {100 * (after.miou - before.miou):+.2f} | {100 * (after.potholes - before.potholes):+.2f} |"
                f" {after.cost_ms:.2f} | flicker {before.flicker:.4%}",
                end="",
            )
            assert after.miou > before.miou - 0.01
            assert after.cost_ms < 1.0
        assert by_share[0.7].flicker < (0.6 if drive is standing else 1.0) * before.flicker
