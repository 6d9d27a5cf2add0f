# SPDX-License-Identifier: Apache-2.0
"""Adapting to a drive: labels that agree over time, scores on held-back frames, and no bundle that got worse."""

import json

import numpy as np
import pytest

from road_kd_seg.bags.writer import write_bag
from road_kd_seg.frame import Intrinsics, LabeledFrame, RgbdFrame
from road_kd_seg.segmenter import Segmenter
from road_kd_training.adapt import agreeing, evenly, measure_gain
from road_kd_training.cli import main
from road_kd_training.datasets import build_dataset
from road_kd_training.datasets.common.label_folder import write_label, write_legend

CAMERA = Intrinsics(100.0, 100.0, 64.0, 36.0, 128, 72)


class TestAgreeing:
    def test_what_moved_a_little_agrees_and_what_vanished_does_not(self):
        label, neighbor = np.zeros((2, 40, 40), np.uint8)
        label[10:14, 10:14], neighbor[10:14, 14:18] = 3, 3
        label[30:34, 30:34] = 4
        kept = agreeing(label, neighbor, 5, radius_px=5)
        assert kept[10:14, 10:14].all()
        assert not kept[30:34, 30:34].any()
        assert kept[label == 0].all()

    def test_a_label_agrees_with_itself(self):
        label = np.random.default_rng(0).integers(0, 5, (20, 30), np.uint8)
        assert agreeing(label, label, 5, radius_px=1).all()


@pytest.mark.parametrize(("count", "most", "expected"), [(0, 5, []), (3, 5, [0, 1, 2]), (101, 3, [0, 50, 100])])
def test_evenly(count, most, expected):
    assert evenly(count, most) == expected


@pytest.fixture
def drive(tmp_path):
    """Six seconds at 5 Hz without labels: a block for training, one held back, and the rest."""
    generator = np.random.default_rng(0)
    rows = np.arange(72, dtype=np.float32)[:, None].repeat(128, 1)
    frames = []
    for number in range(30):
        rgb = generator.integers(60, 120, (72, 128, 3), np.uint8)
        rgb[40:50, 20 + number : 50 + number] = 230
        depth_m = 1 / (0.1 + rows / 100)
        frames.append(LabeledFrame(RgbdFrame(rgb, depth_m, CAMERA, 10**9 + number * 2 * 10**8, "camera"), None))
    write_bag(tmp_path / "drive", frames)
    return tmp_path / "drive"


def adapt(drive, model, teacher, out, *more):
    cut = ("block_s=2", "gap_s=0.2")
    flags = ("--model", str(model), "--teacher", str(teacher), "--out", str(out), "--rehearsal", "0")
    return main(["adapt", str(drive), *cut, *more, *flags, "--min-confidence", "0"])


class TestAdapt:
    def test_a_student_that_learned_from_its_teacher_is_shipped_with_its_scores(
        self, drive, tiny_bundle, other_bundle, tmp_path
    ):
        assert adapt(drive, tiny_bundle, other_bundle, tmp_path / "out", "--steps", "25", "--frames", "12") == 0
        report = json.loads((tmp_path / "out" / "adapt.json").read_text())
        assert report["shipped"] is True
        assert report["held_back"] == {"frames_with_own_label": 0, "scored_against": "the teacher's labels"}
        models = [Segmenter.from_bundle(path) for path in (tiny_bundle, tmp_path / "out" / "bundle")]
        held_back = build_dataset("frames", root=tmp_path / "out" / "held_back")
        gain = measure_gain(*models, held_back)
        assert report["miou"]["after"] == pytest.approx(gain.after, abs=1e-4)
        assert gain.after > gain.before

    def test_one_that_got_worse_is_not(self, drive, tiny_bundle, other_bundle, tmp_path, capsys):
        """The labels are what the model predicts already: it can only lose."""
        model, labels = Segmenter.from_bundle(tiny_bundle), tmp_path / "labels"
        write_legend(labels, model.taxonomy)
        bag = build_dataset("bag", root=drive)
        for index in range(len(bag)):
            sample = bag[index]
            write_label(labels, sample.id, model(RgbdFrame(sample.rgb, sample.depth_m)).label)
        out = tmp_path / "out"
        assert adapt(drive, tiny_bundle, other_bundle, out, f"labels={labels}", "--steps", "3", "--frames", "4") == 1
        assert "no better, so nothing was shipped" in " ".join(capsys.readouterr().err.split())
        report = json.loads((out / "adapt.json").read_text())
        assert (report["shipped"], report["miou"]["before"]) == (False, 1.0)
        assert not (out / "bundle").exists()

    def test_its_own_teacher_without_labels_can_show_nothing(self, drive, tiny_bundle, tmp_path, capsys):
        assert adapt(drive, tiny_bundle, tiny_bundle, tmp_path / "out", "--frames", "4") == 1
        assert "nothing could show a gain: name a stronger --teacher" in " ".join(capsys.readouterr().err.split())

    def test_senseless_numbers_are_refused(self, drive, tiny_bundle, other_bundle, tmp_path, capsys):
        assert adapt(drive, tiny_bundle, other_bundle, tmp_path / "out", "--steps", "0") == 1
        assert "steps and frames are at least 1" in " ".join(capsys.readouterr().err.split())
