# SPDX-License-Identifier: Apache-2.0
import pytest

from road_kd_seg.errors import RoadKdError
from road_kd_seg.replay.gates import parse_gate

NAMES = ["road", "pothole"]
REPORT = {
    "latency_ms": {"p50": 20.0, "p99": None},
    "frames": {"sent": 10, "published": 9},
    "metrics": {
        "miou": 0.7,
        "fwiou": 0.8,
        "mean_boundary_f1": 0.5,
        "iou": {"road": 0.9, "pothole": 0.6},
        "recall": {"road": None, "pothole": 0.7},
        "by_distance": [{"band_m": [0.0, 5.0], "recall": {"pothole": 0.95}, "object_recall": {"pothole": None}}],
    },
}


class TestGate:
    @pytest.mark.parametrize(
        ("text", "value", "met"),
        [
            ("iou/pothole>=0.6", 0.6, True),
            ("iou/pothole > 0.6", 0.6, False),
            ("miou<=0.5", 0.7, False),
            ("boundary_f1>=0.5", 0.5, True),
            ("recall/pothole@0-5m>=0.9", 0.95, True),
            ("recall/pothole>=0.9", 0.7, False),
            ("latency_ms/p50<=50", 20.0, True),
            ("predicted>=0.95", 0.9, False),
        ],
    )
    def test_it_compares_what_the_report_measured(self, text, value, met):
        result = parse_gate(text, NAMES).check(REPORT)
        assert (result.value, result.met) == (value, met)

    @pytest.mark.parametrize(
        "text",
        ["recall/road>=0", "latency_ms/p99<=1e9", "object_recall/pothole@0-5m>=0", "recall/pothole@5-9m>=0"],
    )
    def test_what_was_not_measured_is_not_met(self, text):
        result = parse_gate(text, NAMES).check(REPORT)
        assert (result.value, result.met) == (None, False)

    def test_without_labels_no_accuracy_is_met(self):
        assert not parse_gate("miou>=0", NAMES).check(REPORT | {"metrics": None}).met

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("iou/pothole", "expected QUANTITY/NAME>=NUMBER, such as 'iou/pothole>=0.6'"),
            ("", "expected QUANTITY/NAME"),
            ("iou/cat>=0.5", r"'iou/cat' is not measured: expected miou.*\{road,pothole\}"),
            ("speed<=3", "'speed' is not measured"),
            ("latency_ms/p75<=3", "'latency_ms/p75' is not measured"),
            ("iou/road@0-5m>=0.5", "a distance goes with recall or object_recall"),
            ("recall/road@5-0m>=0.5", "the nearer end first"),
            ("recall/road@1.2.3-5m>=0.5", "could not convert"),
            ("iou/road>=1e999", "inf is no bound"),
        ],
    )
    def test_what_cannot_be_checked_is_refused_with_what_can(self, text, message):
        with pytest.raises(RoadKdError, match=message):
            parse_gate(text, NAMES)
