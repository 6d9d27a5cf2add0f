# SPDX-License-Identifier: Apache-2.0
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from road_kd_seg.bags.reader import BagReader
from road_kd_seg.bags.writer import write_bag
from road_kd_seg.bundle import load_bundle
from road_kd_seg.errors import RoadKdError
from road_kd_seg.frame import LabeledFrame
from road_kd_seg.metrics.risk_control import draw_promises
from road_kd_seg.replay.calibrate import (
    GRID,
    MIN_PIXELS,
    SHARE,
    calibrate,
    missed_shares,
    parse_target,
    promise_outcome,
    reached_counts,
)
from road_kd_seg.replay.cli import main
from road_kd_seg.replay.labels import LabelStore
from road_kd_seg.synthetic import render_scene
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY
from road_kd_seg.thresholds import ClassThreshold, Thresholds, read_thresholds

S = 1_000_000_000
NEGATIVE = DEFAULT_TAXONOMY.names.index("negative_obstacle")
POSITIVE = DEFAULT_TAXONOMY.names.index("positive_obstacle")
OBSTACLES = ["negative_obstacle", "positive_obstacle"]


def drive(frames_of, seconds: int) -> list[LabeledFrame]:
    """A labeled frame each second."""
    frames = frames_of(range(seconds), height=48, width=80)
    return [LabeledFrame(replace(frame, stamp_ns=(n + 1) * S), label) for n, (frame, label) in enumerate(frames)]


@pytest.fixture
def bundle(tiny_bundle, tmp_path):
    return shutil.copytree(tiny_bundle, tmp_path / "model")


def evaluate(bag, bundle, out, *options) -> int:
    return main([str(a) for a in (bag, "--model", bundle, "--out", out, "--device", "cpu", *options)])


class TestCommand:
    def test_thresholds_are_written_into_the_bundle_and_used_and_the_report_shows_promise_and_outcome(
        self, tmp_path, frames_of, bundle
    ):
        write_bag(tmp_path / "bag", drive(frames_of, 55))
        assert evaluate(tmp_path / "bag", bundle, tmp_path / "out", "--calibrate", "miss=0.2") == 0
        thresholds = read_thresholds(load_bundle(bundle))
        assert thresholds is not None
        assert sorted(thresholds.classes) == OBSTACLES
        promise = json.loads((tmp_path / "out" / "report.json").read_text())["promise"]
        assert (promise["max_missed"], promise["share"], promise["same_recording"]) == (0.2, 0.9, True)
        for row in promise["classes"].values():
            assert row["missed"] <= 0.2
            assert row["blocks"] == row["blocks_here"] == 11
            assert row["blocks_kept"] >= 10
        assert "Thresholds picked on bag" in (tmp_path / "out" / "report.html").read_text()

        write_bag(tmp_path / "other", drive(frames_of, 60)[55:])
        assert evaluate(tmp_path / "other", bundle, tmp_path / "again") == 0
        promise = json.loads((tmp_path / "again" / "report.json").read_text())["promise"]
        assert promise["same_recording"] is False
        assert all(row["blocks_here"] == 1 for row in promise["classes"].values())

    def test_with_too_few_blocks_it_says_so_and_nothing_is_written(self, tmp_path, frames_of, bundle, capsys):
        write_bag(tmp_path / "bag", drive(frames_of, 40))
        assert evaluate(tmp_path / "bag", bundle, tmp_path / "out", "--calibrate", "miss=0.2") == 1
        lines = capsys.readouterr().err.splitlines()
        said = "8 blocks of 5 s show it, 9 are needed: label a longer drive"
        assert lines == [f"no promise for {name}: {said}" for name in OBSTACLES]
        assert read_thresholds(load_bundle(bundle)) is None
        report = json.loads((tmp_path / "out" / "report.json").read_text())
        assert report["promise"] == {"classes": {}, "problems": dict.fromkeys(OBSTACLES, said)}
        assert said in (tmp_path / "out" / "report.html").read_text()

    def test_a_bag_without_labels_cannot_calibrate(self, tmp_path, frames_of, bundle, capsys):
        write_bag(tmp_path / "bag", frames_of(range(2), height=48, width=80, label=False))
        assert evaluate(tmp_path / "bag", bundle, tmp_path / "out", "--calibrate", "miss=0.2") == 1
        assert "has no labeled frame that can be segmented" in capsys.readouterr().err

    @pytest.mark.parametrize("target", ["0.05", "miss=0", "miss=1", "miss=five", "false=0.1"])
    def test_a_target_that_is_none_is_found_before_the_run(self, tmp_path, target):
        with pytest.raises(RoadKdError, match=r"expected miss=P .* such as miss=0\.05"):
            parse_target(target)


class TestCalibrate:
    def test_its_shares_are_those_of_the_labels_that_the_thresholds_give(self, tmp_path, frames_of, bundle):
        from road_kd_seg.segmenter import Segmenter

        write_bag(tmp_path / "bag", drive(frames_of, 50))
        with BagReader(tmp_path / "bag") as reader:
            labels = LabelStore.of(reader.label_images())
            plain = Segmenter.from_bundle(bundle, device="cpu")
            assert evaluate(tmp_path / "bag", bundle, tmp_path / "out", "--calibrate", "miss=0.3") == 0
            calibrated = Segmenter.from_bundle(bundle, device="cpu")
            found = calibrate(reader, plain, labels, 0.3)
            again = calibrate(reader, calibrated, labels, 0.3)  # what it has already does not matter
            predictions = LabelStore.of((f.stamp_ns, calibrated(f).label) for f, _ in reader.frames())
        assert found == again
        assert found.thresholds == calibrated.thresholds
        outcome = promise_outcome(found.thresholds, labels, predictions, DEFAULT_TAXONOMY)
        assert all(row["blocks_kept"] == row["blocks_here"] == 10 for row in outcome["classes"].values())

    def test_missed_is_what_does_not_reach_the_threshold(self):
        scores = np.array([-np.inf, GRID[0], 0.5005, GRID[-1], np.inf], np.float32)
        (missed,) = missed_shares([reached_counts(scores)])
        assert missed.tolist() == [float((scores < threshold).mean()) for threshold in GRID]

    @pytest.mark.parametrize("num_calibration", [9, 30])
    def test_on_rendered_scenes_another_one_is_within_the_bound_in_the_promised_share_of_1000_draws(
        self, scene_counts, num_calibration
    ):
        draws, random = 1000, np.random.default_rng(num_calibration)
        drawn = draw_promises(missed_shares(scene_counts), num_calibration, 0.1, SHARE, draws, random)
        assert (drawn.threshold >= 0).all()
        spread = 3 * np.sqrt(SHARE * (1 - SHARE) / draws)
        assert SHARE - spread <= drawn.kept.mean() <= SHARE + 1 / (num_calibration + 1) + spread

    @pytest.fixture(scope="class")
    def scene_counts(self, tiny_bundle):
        """Of every scene that shows something on the road."""
        from road_kd_seg.segmenter import Segmenter

        segmenter = Segmenter.from_bundle(tiny_bundle, device="cpu")
        counts = []
        for seed in range(80):
            frame, label = render_scene(seed, 72, 128)
            shown = segmenter.obstacle_scores(frame)[POSITIVE][label == POSITIVE]
            if shown.size >= MIN_PIXELS:
                counts.append(reached_counts(shown))
        return counts


class TestOutcome:
    def test_it_is_counted_by_hand(self):
        thresholds = Thresholds(0.25, 0.9, 5.0, "fp32", "a drive", {"negative_obstacle": ClassThreshold(0.1, 9)})
        truth = np.full((10, 20), NEGATIVE, np.uint8)
        truth[5:] = 1
        kept, broken = truth.copy(), truth.copy()
        kept[:2, :10] = 1  # 20 of 100 missed
        broken[:2] = 0  # 40 of 100 missed
        broken[9] = NEGATIVE  # 20 of 100 false
        stamps_ns = [0, 6 * S]
        outcome = promise_outcome(
            thresholds,
            LabelStore.of((s, truth) for s in stamps_ns),
            LabelStore.of(zip(stamps_ns, (kept, broken), strict=True)),
            DEFAULT_TAXONOMY,
        )
        assert outcome == {
            "false_share": 0.1,
            "classes": {
                "negative_obstacle": {
                    "threshold": 0.1,
                    "blocks": 9,
                    "missed": 0.3,
                    "blocks_here": 2,
                    "blocks_kept": 1,
                }
            },
        }
