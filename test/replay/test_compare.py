# SPDX-License-Identifier: Apache-2.0
import json
import os

import numpy as np
import pytest

from road_kd_seg.errors import RoadKdError
from road_kd_seg.replay.compare import Contender, compare, own_intervals, read_contender
from road_kd_seg.replay.labels import LabelStore

NAMES = ("road", "pothole")


def contender(recall, *, names=NAMES, frames=60, seed=0, predictions=None, model="a"):
    """A model that finds so many of 100 pothole pixels in each frame, a little more or less, and all of the road."""
    found = (100 * recall + np.random.default_rng(seed).integers(-5, 6, frames)).astype(int)
    pixels = {i: np.array([[900, 900, 1000 - f], [f, 100, f]]) for i, f in enumerate(found)}
    report = dict.fromkeys(("device", "latency_ms", "frames", "metrics", "model_info")) | {"model": model}
    return Contender(report, pixels, names, predictions or LabelStore())


class TestCompare:
    def test_a_model_is_as_good_as_itself(self):
        result = compare(contender(0.6), contender(0.6))
        assert result["delta"]["miou"] == {"value": 0.0, "low": 0.0, "high": 0.0}
        assert result["common"] == 60

    def test_the_difference_is_that_of_the_sums(self):
        delta = compare(contender(0.8), contender(0.6))["delta"]["recall"]["pothole"]
        assert delta["value"] == pytest.approx(0.2)
        assert delta["low"] <= 0.2 <= delta["high"]

    def test_the_interval_of_a_clear_gain_leaves_zero_out_and_that_of_noise_does_not(self):
        gain = compare(contender(0.8, seed=1), contender(0.6))["delta"]["iou"]["pothole"]
        noise = compare(contender(0.6, seed=1), contender(0.6))["delta"]["iou"]["pothole"]
        assert gain["low"] > 0
        assert noise["low"] < 0 < noise["high"]

    def test_it_is_antisymmetric(self):
        forth, back = compare(contender(0.8), contender(0.6)), compare(contender(0.6), contender(0.8))
        assert forth["delta"]["miou"]["value"] == pytest.approx(-back["delta"]["miou"]["value"])

    def test_only_frames_that_both_scored_count(self):
        result = compare(contender(0.8, frames=60), contender(0.6, frames=40))
        assert result["common"] == 40

    def test_frames_of_another_bag_compare_nothing(self):
        other = contender(0.6)
        other = Contender(other.report, {-1: other.pixels[0]}, NAMES, other.predictions)
        assert compare(contender(0.6), other)["delta"] is None

    def test_other_classes_are_named(self):
        with pytest.raises(RoadKdError, match="its classes are road, cat, expected road, pothole"):
            compare(contender(0.6), contender(0.6, names=("road", "cat")))

    def test_predictions_agree_without_any_label(self):
        one, other = np.zeros((4, 5), np.uint8), np.eye(4, 5, dtype=np.uint8)
        ours = LabelStore.of([(1, one), (2, one), (3, one)])
        theirs = LabelStore.of([(1, one), (2, other), (9, one)])
        agreement = compare(contender(0.5, predictions=ours), contender(0.5, predictions=theirs))["agreement"]
        assert agreement == {"frames": 2, "pixels": pytest.approx(0.9), "worst": pytest.approx(0.8)}


class TestOwnIntervals:
    def test_they_hold_the_value(self):
        low, high = own_intervals(contender(0.6))["recall"]["pothole"]
        assert low < 0.6 < high

    def test_blocks_that_are_short_in_time_are_warned_of(self):
        assert "blocks this short make intervals too narrow" in own_intervals(contender(0.6))["note"]


class TestEarlierReport:
    @pytest.mark.parametrize(
        "content",
        ["", "[]", "{}", json.dumps({"metrics": None}), "[" * 200_000, '{"metrics": ' * 200_000, '{"a": ' + "9" * 5000],
        ids=["empty", "list", "map", "without metrics", "deep list", "deep map", "long number"],
    )
    def test_what_is_no_report_is_named_with_what_is_expected(self, tmp_path, content):
        (tmp_path / "report.json").write_text(content)
        with pytest.raises(RoadKdError, match=r"expected the report\.json of an earlier replay_eval"):
            read_contender(tmp_path / "report.json")

    def test_a_missing_one_is_named(self, tmp_path):
        with pytest.raises(RoadKdError, match=r"--baseline .*none\.json"):
            read_contender(tmp_path / "none.json")

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda table: os.mkfifo(table),
            lambda table: table.symlink_to("/dev/zero"),
            lambda table: table.write_text(
                "stamp_ns,correct_px_road,labeled_px_road,predicted_px_road\n1,1" + "0" * 30
            ),
            lambda table: table.write_text('stamp_ns,correct_px_road\n"' + "1" * 200_000),
            lambda table: table.write_bytes(b"stamp_ns\0,\xff\n"),
        ],
        ids=["pipe", "device", "huge number", "huge field", "bytes"],
    )
    def test_a_table_beside_it_that_was_made_to_hurt_is_named(self, tmp_path, spoil):
        (tmp_path / "report.json").write_text(json.dumps({"metrics": {"iou": {"road": 1.0}}}))
        spoil(tmp_path / "per_frame.csv")
        with pytest.raises(RoadKdError, match=r"with per_frame\.csv beside it"):
            read_contender(tmp_path / "report.json")
