# SPDX-License-Identifier: Apache-2.0
"""From a bag without labels to a dataset with labels that a network made."""

import json
import os

import cv2
import numpy as np
import pytest
import torch

from road_kd_seg.bags.writer import write_bag
from road_kd_seg.bundle import load_bundle, save_bundle
from road_kd_seg.errors import FrameError
from road_kd_seg.frame import LabeledFrame, RgbdFrame
from road_kd_seg.preprocess.input_spec import DepthEncoding, InputSpec
from road_kd_seg.replay.labels import read_label_folder
from road_kd_seg.segmenter import Segmenter
from road_kd_seg.synthetic import DriveConfig, render_drive
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY
from road_kd_training.cli import main
from road_kd_training.contact_sheet import ROWS, Entry, draw_pages, paint_confidence
from road_kd_training.datasets import RgbdSample, build_dataset
from road_kd_training.datasets.bag import Bag
from road_kd_training.datasets.common.label_folder import write_label
from road_kd_training.datasets.common.output import write_png
from road_kd_training.errors import DatasetError
from road_kd_training.pseudo_label import (
    PseudoFrame,
    PseudoLabels,
    ignore_unsure,
    least_sure,
    predict,
    write_pseudo_labels,
)

NUM_FRAMES = 7
TRUE = (1, 4)
"""Frames that have a label of their own."""


@pytest.fixture(scope="module")
def drive():
    torch.set_num_threads(1)
    return list(render_drive(DriveConfig(seed=1, num_frames=NUM_FRAMES, rate_hz=2.0, height=48, width=80)))


@pytest.fixture(scope="module")
def bag(drive, tmp_path_factory):
    path = tmp_path_factory.mktemp("recording") / "bag"
    write_bag(path, [LabeledFrame(f.frame, f.label if number in TRUE else None) for number, f in enumerate(drive)])
    return path


@pytest.fixture
def segmenter(tiny_bundle):
    return Segmenter.from_bundle(tiny_bundle, device="cpu")


class TestFromBagToDataset:
    @pytest.fixture(scope="class")
    def out(self, bag, tiny_bundle, tmp_path_factory):
        out = tmp_path_factory.mktemp("labels") / "pseudo"
        assert main(["pseudo-label", "bag", f"root={bag}", "--model", str(tiny_bundle), "--out", str(out)]) == 0
        return out

    def test_the_bag_reads_back_with_the_networks_labels(self, bag, out, segmenter, drive):
        labeled = build_dataset("bag", root=bag, labels=out / "label", part="labeled")
        assert len(labeled) == NUM_FRAMES - len(TRUE)
        for sample in labeled:
            frame = next(f for f, _ in drive if str(f.stamp_ns) == sample.id)
            expected = segmenter(RgbdFrame(frame.rgb, sample.depth_m))
            assert np.array_equal(sample.label, expected.label)
            confidence = cv2.imread(str(out / "confidence" / f"{sample.id}.png"), cv2.IMREAD_UNCHANGED)
            np.testing.assert_allclose(confidence / 255, expected.confidence, atol=0.5 / 255 + 1e-6)

    def test_the_replay_reads_the_same_labels(self, bag, out):
        replayed = dict(read_label_folder(out / "label"))
        samples = list(Bag(bag, labels=out / "label", part="labeled"))
        assert len(replayed) == len(samples)
        assert all(np.array_equal(replayed[int(s.id)], s.label) for s in samples)

    def test_frames_with_a_label_are_left_out(self, out, drive):
        for number, (frame, _) in enumerate(drive):
            assert (out / "label" / f"{frame.stamp_ns}.png").exists() == (number not in TRUE)

    def test_the_report_says_who_made_the_labels_and_how_sure_it_was(self, out, tiny_bundle):
        report = json.loads((out / "pseudo_labels.json").read_text())
        assert report["model"] == {"name": "tiny", "weights_sha256": load_bundle(tiny_bundle).weights_sha256}
        assert report["frames"] == {"pseudo_labeled": 5, "labeled_already": 2, "skipped": 0}
        assert len(report["per_frame"]) == 5
        for frame in report["per_frame"]:
            label = cv2.imread(str(out / "label" / f"{frame['id']}.png"), cv2.IMREAD_UNCHANGED)
            confidence = cv2.imread(str(out / "confidence" / f"{frame['id']}.png"), cv2.IMREAD_UNCHANGED)
            assert frame["confidence"] == pytest.approx(confidence.mean() / 255, abs=0.003)
            assert frame["class_shares"]["road"] == pytest.approx((label == 1).mean(), abs=1e-4)
            assert frame["ignored"] == 0
        assert sum(report["class_shares"].values()) == pytest.approx(1, abs=1e-3)

    def test_frames_that_were_written_by_bag_to_dataset_take_the_labels_too(self, bag, out, tmp_path):
        assert main(["bag-to-dataset", str(bag), "--out", str(tmp_path / "frames")]) == 0
        frames = build_dataset("frames", root=tmp_path / "frames", labels=out / "label", part="labeled")
        assert [s.id for s in frames] == [s.id for s in Bag(bag, labels=out / "label", part="labeled")]

    def test_nothing_is_overwritten(self, bag, out, tiny_bundle, capsys):
        before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
        assert main(["pseudo-label", "bag", f"root={bag}", "--model", str(tiny_bundle), "--out", str(out)]) == 1
        assert "holds files already and nothing is overwritten" in capsys.readouterr().err
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


class TestOptions:
    def run(self, bag, tiny_bundle, out, *more):
        return main(["pseudo-label", "bag", f"root={bag}", *more, "--model", str(tiny_bundle), "--out", str(out)])

    def test_unsure_pixels_are_ignored(self, bag, tiny_bundle, tmp_path):
        out = tmp_path / "pseudo"
        assert self.run(bag, tiny_bundle, out) == 0
        confidences = np.stack(
            [cv2.imread(str(p), cv2.IMREAD_UNCHANGED) for p in sorted((out / "confidence").iterdir())]
        )
        threshold = float(np.median(confidences)) / 255 + 0.5 / 255  # between two steps of the 8-bit scale
        strict = tmp_path / "strict"
        assert self.run(bag, tiny_bundle, strict, "--min_confidence", str(threshold)) == 0
        for path in sorted((out / "label").glob("*.png")):
            lax, kept = (cv2.imread(str(f / "label" / path.name), cv2.IMREAD_UNCHANGED) for f in (out, strict))
            confidence = cv2.imread(str(out / "confidence" / path.name), cv2.IMREAD_UNCHANGED)
            assert np.array_equal(kept == 255, confidence / 255 < threshold)
            assert np.array_equal(kept[kept != 255], lax[kept != 255])
        ignored = json.loads((strict / "pseudo_labels.json").read_text())["ignored"]
        assert ignored == pytest.approx((confidences / 255 < threshold).mean(), abs=1e-3)

    def test_with_frames_the_folder_is_a_dataset_by_itself(self, bag, tiny_bundle, tmp_path, drive):
        out = tmp_path / "pseudo"
        assert self.run(bag, tiny_bundle, out, "--with_frames", "--flip") == 0
        samples = list(build_dataset("frames", root=out))
        assert len(samples) == 5
        assert all(sample.label is not None and sample.depth_m is not None for sample in samples)
        assert samples[0].meta["intrinsics"] == drive[0].frame.intrinsics

    def test_pages_can_be_limited_or_left_out(self, bag, tiny_bundle, tmp_path):
        out = tmp_path / "pseudo"
        assert self.run(bag, tiny_bundle, out, "label_topic=/none", "--sheets", "1") == 0
        assert [path.name for path in out.glob("*.png")] == ["contact_sheet.png"]
        none = tmp_path / "none"
        assert self.run(bag, tiny_bundle, none, "--sheets", "0") == 0
        assert not list(none.glob("*.png"))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--min_confidence", "1.5"], "min_confidence is 1.5 and sheets 10: expected a share from 0 to 1"),
            (["--sheets", "-1"], "a number of pages that is not negative"),
            (["part=labeled"], "no frame to label: 2 of 2 have a label already, 0 cannot be segmented"),
            (["part=both"], "part 'both' is unknown"),
        ],
    )
    def test_bad_options_say_what_to_do_and_leave_nothing_behind(
        self, bag, tiny_bundle, tmp_path, capsys, arguments, message
    ):
        out = tmp_path / "pseudo"
        assert self.run(bag, tiny_bundle, out, *arguments) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert message in error
        assert not list(out.rglob("*"))

    def test_a_missing_model_is_named(self, bag, tmp_path, capsys):
        assert self.run(bag, tmp_path / "nothing", tmp_path / "out") == 1
        assert "model bundle" in capsys.readouterr().err


def test_the_least_sure_frames_come_first():
    frames = [
        PseudoFrame(index, str(index), confidence, np.ones(1), np.ones(1))
        for index, confidence in enumerate((0.9, 0.3, 0.6))
    ]
    assert [frame.id for frame in least_sure(frames, 2)] == ["1", "2"]


class TestKept:
    def result(self, label, confidence, min_confidence):
        label, confidence = np.array([label], np.uint8), np.array([confidence], np.float32)
        frame = ignore_unsure(0, "x", label, confidence, min_confidence, len(DEFAULT_TAXONOMY))
        return PseudoLabels([frame], 0, {})

    def test_it_is_the_share_of_each_class_that_was_sure_enough(self):
        result = self.result([0, 0, 1, 1, 1, 1], [0.9, 0.8, 0.9, 0.5, 0.5, 0.5], 0.7)
        assert result.kept()[:2].tolist() == [1.0, 0.25]
        assert np.isnan(result.kept()[2:]).all()
        report = result.to_dict(DEFAULT_TAXONOMY)
        assert report["class_kept"]["road"] == 0.25
        assert report["class_kept"]["lane_marking"] is None
        assert report["ignored"] == 0.5

    def test_pixels_outside_the_crop_were_never_predicted(self):
        assert self.result([0, 0], [0.9, 0.0], 0.0).kept()[0] == 1.0

    def test_a_class_that_is_mostly_ignored_is_told(self, bag, tiny_bundle, tmp_path, capsys):
        command = ["pseudo-label", "bag", f"root={bag}", "--model", str(tiny_bundle), "--sheets", "0"]
        assert main([*command, "--out", str(tmp_path / "all")]) == 0
        assert "lower --min-confidence" not in capsys.readouterr().out
        assert main([*command, "--out", str(tmp_path / "none"), "--min_confidence", "1"]) == 0
        printed = capsys.readouterr().out
        assert "is ignored: a model that is trained on the rest sees too little of it" in printed
        assert printed.splitlines()[-1].startswith("next: train on them")


class TestPredict:
    FRAME = RgbdFrame(
        np.random.default_rng(0).integers(0, 256, (48, 80, 3), np.uint8), np.full((48, 80), 2.0, np.float32)
    )

    def test_flipping_makes_the_prediction_independent_of_the_mirror(self, segmenter):
        mirror = RgbdFrame(
            np.ascontiguousarray(self.FRAME.rgb[:, ::-1]), np.ascontiguousarray(self.FRAME.depth_m[:, ::-1])
        )
        _, confidence = predict(segmenter, self.FRAME, flip=True)
        _, mirrored = predict(segmenter, mirror, flip=True)
        np.testing.assert_allclose(mirrored[:, ::-1], confidence, atol=1e-5)
        _, plain = predict(segmenter, self.FRAME, flip=False)
        _, plain_mirrored = predict(segmenter, mirror, flip=False)
        assert np.abs(plain_mirrored[:, ::-1] - plain).max() > 1e-3

    def test_flipped_confidence_is_the_mean_of_both_probabilities(self, segmenter):
        mirror = RgbdFrame(
            np.ascontiguousarray(self.FRAME.rgb[:, ::-1]), np.ascontiguousarray(self.FRAME.depth_m[:, ::-1])
        )
        mean = (segmenter.probabilities(self.FRAME) + segmenter.probabilities(mirror)[..., ::-1]) / 2
        label, confidence = predict(segmenter, self.FRAME, flip=True)
        np.testing.assert_allclose(confidence, mean.max(0), atol=1e-6)
        assert np.array_equal(label, mean.argmax(0))

    @pytest.mark.parametrize("flip", [False, True])
    def test_outside_the_crop_nothing_is_sure(self, tiny_bundle, tmp_path, flip):
        segmenter = cropped(tiny_bundle, tmp_path, (0.5, 0.0, 1.0, 1.0))
        label, confidence = predict(segmenter, self.FRAME, flip=flip)
        assert (confidence[:24] == 0).all()
        assert (confidence[24:] > 0).all()
        frame = ignore_unsure(0, "x", label, confidence, 0.0, len(DEFAULT_TAXONOMY))
        assert (label[:24] == 255).all()
        assert frame.ignored == pytest.approx(0.5)
        assert frame.confidence == pytest.approx(float(confidence[24:].mean()))

    def test_a_crop_that_is_another_in_the_mirror_cannot_be_flipped(self, tiny_bundle, tmp_path):
        segmenter = cropped(tiny_bundle, tmp_path, (0.0, 0.25, 1.0, 1.0))
        with pytest.raises(DatasetError, match=r"model 'tiny' sees columns 0\.25 to 1 .* leave --flip out"):
            predict(segmenter, self.FRAME, flip=True)


def cropped(tiny_bundle, tmp_path, crop):
    bundle = load_bundle(tiny_bundle)
    path = save_bundle(
        tmp_path / "cropped",
        bundle.build_network(),
        name="tiny",
        network_name=bundle.network,
        network_kwargs=bundle.network_kwargs,
        taxonomy=bundle.taxonomy,
        input_spec=InputSpec((64, 96), DepthEncoding("plane_residual"), crop=crop),
    )
    return Segmenter.from_bundle(path, device="cpu")


class TestFramesThatCannotBeSegmented:
    class Recording:
        """Three frames: one without depth, one that cannot be decoded, one that is fine."""

        taxonomy = DEFAULT_TAXONOMY

        def __len__(self):
            return 3

        def __getitem__(self, index):
            if index == 1:
                raise FrameError("bag x, frame of 1.000 s: cut short")
            depth_m = None if index == 0 else np.ones((16, 24), np.float32)
            return RgbdSample(np.zeros((16, 24, 3), np.uint8), depth_m, None, str(index))

    def test_they_are_left_out_with_their_reason(self, segmenter, tmp_path):
        seen = []
        result = write_pseudo_labels(segmenter, self.Recording(), tmp_path, on_frame=lambda: seen.append(1))
        assert [frame.id for frame in result.frames] == ["2"]
        assert result.labeled_already == 0
        assert list(result.skipped) == ["frame 0", "frame 1"]
        assert "requires depth and the frame has none" in result.skipped["frame 0"]
        assert len(seen) == 3

    def test_if_it_is_all_of_them_the_first_reason_is_told(self, segmenter, tmp_path):
        class NoDepth(self.Recording):
            def __len__(self):
                return 1

        with pytest.raises(DatasetError, match=r"1 cannot be segmented; the first of these: .* requires depth"):
            write_pseudo_labels(segmenter, NoDepth(), tmp_path)
        assert not list(tmp_path.iterdir())


class TestDisk:
    def test_a_full_disk_is_named_and_leaves_no_half_file(self, tmp_path, monkeypatch):
        def no_space(handle):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", no_space)
        with pytest.raises(
            DatasetError, match=r"x\.png: cannot be written \(No space left on device\): free some space"
        ):
            write_png(tmp_path / "x.png", np.zeros((500, 500), np.uint8))
        assert not list(tmp_path.iterdir())

    def test_a_folder_that_cannot_be_made_is_named(self, segmenter, bag, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(DatasetError, match=r"cannot be written \(Not a directory\)"):
            write_pseudo_labels(segmenter, Bag(bag), tmp_path / "file" / "out")

    def test_a_label_that_is_there_is_never_overwritten(self, segmenter, bag, drive, tmp_path):
        write_label(tmp_path / "out" / "label", str(drive[0].frame.stamp_ns), np.full((48, 80), 4, np.uint8))
        with pytest.raises(DatasetError, match="exists already and is not overwritten"):
            write_pseudo_labels(segmenter, Bag(bag), tmp_path / "out")
        kept = cv2.imread(str(tmp_path / "out" / "label" / f"{drive[0].frame.stamp_ns}.png"), cv2.IMREAD_UNCHANGED)
        assert (kept == 4).all()


class TestContactSheet:
    def entries(self, count):
        for number in range(count):
            rgb = np.full((54, 96, 3), 10 * number, np.uint8)
            yield Entry(f"frame {number}", rgb, np.full((54, 96), 3, np.uint8), np.full((54, 96), 255, np.uint8))

    def test_pages_are_filled_in_order(self):
        pages = list(draw_pages(self.entries(ROWS + 2), ROWS + 2, DEFAULT_TAXONOMY, "title"))
        assert len(pages) == 2
        assert pages[0].shape[1] == pages[1].shape[1]
        assert pages[0].shape[0] > pages[1].shape[0]
        for page, first in zip(pages, (0, ROWS), strict=True):
            row = page[84 + 24 + 20]  # within the first row's pictures
            assert row[30].tolist() == [10 * first] * 3
            blend = (10 * first + np.array(DEFAULT_TAXONOMY.classes[3].color)) / 2
            assert np.abs(row[600] - blend).max() <= 1
            assert row[1300].max() < 20  # sure is black

    def test_unsure_is_brighter_than_sure_all_the_way(self):
        painted = paint_confidence(np.arange(256, dtype=np.uint8)[None])[0].astype(float) @ [0.299, 0.587, 0.114]
        assert (np.diff(painted) <= 1).all()
        assert painted[0] > 220
        assert painted[-1] < 5

    def test_no_frames_make_no_page(self):
        assert list(draw_pages(self.entries(0), 0, DEFAULT_TAXONOMY, "title")) == []
