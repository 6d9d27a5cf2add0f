# SPDX-License-Identifier: Apache-2.0
import pytest

from road_kd_seg.replay.gates import GateResult
from road_kd_seg.replay.verdict import give_verdict


def report(**changes):
    """Of a good run on an idle machine."""
    return {
        "metrics": {
            "miou": 0.85,
            "iou": {"road": 0.98, "pothole": 0.7, "lane": None},
            "confusion_matrix": [[900, 5, 0], [5, 50, 0], [0, 0, 0]],
        },
        "latency_ms": {"p50": 20.0, "p95": 30.0},
        "period_ms": 100.0,
        "frames": {"sent": 200, "published": 150, "scored": 150},
        "load": {"before": 0.1, "cores": 2},
    } | changes


class TestVerdict:
    def test_one_sentence_has_accuracy_speed_and_share(self):
        verdict = give_verdict(report(), [])
        assert verdict["sentence"] == (
            "mIoU 0.850, worst class pothole at 0.700; latency 20 ms at the median and 30 ms at p95,"
            " within the camera's period of 100 ms; 75 % of the frames predicted."
        )
        assert verdict["passed"] is None
        assert verdict["warnings"] == []

    def test_a_latency_above_the_period_is_said(self):
        assert "above the camera's period of 25 ms" in give_verdict(report(period_ms=25.0), [])["sentence"]

    def test_unknown_accuracy_is_not_zero(self):
        sentence = give_verdict(report(metrics=None), [])["sentence"]
        assert sentence.startswith("Accuracy is unknown, because no labeled frame was scored; latency")

    def test_no_latency_and_no_frame_are_said(self):
        changes = {"latency_ms": {"p50": None, "p95": None}, "frames": {"sent": 0, "published": 0, "scored": 0}}
        sentence = give_verdict(report(**changes), [])["sentence"]
        assert "no latency was measured; the bag holds no color image." in sentence

    @pytest.mark.parametrize(
        ("met", "words"), [(True, "all of 2 requirements met"), (False, "1 of 2 requirements met")]
    )
    def test_requirements_decide_whether_it_passed(self, met, words):
        verdict = give_verdict(report(), [GateResult("miou>=0.5", 0.85, True), GateResult("iou/road>=0.9", 0.98, met)])
        assert verdict["passed"] is met
        assert words in verdict["sentence"]

    def test_few_frames_and_a_busy_machine_are_warned_of(self):
        changes = {"frames": {"sent": 9, "published": 9, "scored": 9}, "load": {"before": 3.0, "cores": 2}}
        few, busy = give_verdict(report(**changes), [])["warnings"]
        assert few.startswith("few frames: 9 were scored")
        assert busy.startswith("the machine was busy: load 3.0 on 2 cores")

    def test_a_system_that_does_not_tell_its_load_is_not_called_busy(self):
        assert give_verdict(report(load={"before": None, "cores": 2}), [])["warnings"] == []

    def test_labels_that_are_masks_of_one_class_are_warned_of(self):
        masks = {"miou": 0.4, "iou": {"background": 0.1, "road": 0.0, "pothole": 0.7}}
        matrix = [[100, 300, 0], [0, 0, 0], [0, 20, 80]]
        (warning,) = give_verdict(report(metrics={**masks, "confusion_matrix": matrix}), [])["warnings"]
        assert warning.startswith("64 % of the labeled pixels are predicted as classes that no label holds (road)")
        matrix = [[400, 50, 0], [0, 0, 0], [0, 20, 80]]  # as many may be mistakes
        assert give_verdict(report(metrics={**masks, "confusion_matrix": matrix}), [])["warnings"] == []
