# SPDX-License-Identifier: Apache-2.0
"""Bags and folders of frames, and the way from one to the other."""

import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from road_kd_seg.bags.writer import write_bag
from road_kd_seg.frame import Intrinsics, LabeledFrame, RgbdFrame
from road_kd_seg.replay.labels import read_label_folder
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY, Role, SemanticClass, Taxonomy
from road_kd_training.cli import main
from road_kd_training.commands.bag_to_dataset import at_rate
from road_kd_training.datasets import build_dataset
from road_kd_training.datasets.bag import Bag
from road_kd_training.datasets.common.label_folder import LabelFolder, write_label, write_legend
from road_kd_training.datasets.common.time_blocks import split_by_time
from road_kd_training.datasets.frames import Frames
from road_kd_training.errors import DatasetError

FIRST_NS = 1_000_000_000
CAMERA = Intrinsics(500.0, 501.0, 4.0, 3.0, 8, 6)


def make_frame(number, *, labeled=True, depth=True, rate_hz=2.0):
    random = np.random.default_rng(number)
    rgb = random.integers(0, 256, (6, 8, 3), np.uint8)
    depth_m = (random.integers(0, 9000, (6, 8)) / np.float32(1000)).astype(np.float32) if depth else None
    label = random.choice(np.array([0, 1, 3, 255], np.uint8), (6, 8)) if labeled else None
    return LabeledFrame(RgbdFrame(rgb, depth_m, CAMERA, FIRST_NS + round(number * 1e9 / rate_hz), "camera"), label)


@pytest.fixture
def frames():
    """Twelve seconds at 2 Hz; every third is labeled, the fourth has no depth."""
    return [make_frame(number, labeled=number % 3 == 0, depth=number != 4) for number in range(24)]


@pytest.fixture
def bag(tmp_path, frames):
    write_bag(tmp_path / "bag", frames)
    return tmp_path / "bag"


def stamp(number, rate_hz=2.0):
    return str(FIRST_NS + round(number * 1e9 / rate_hz))


class TestSplitByTime:
    def test_the_second_of_every_five_blocks_is_validation_and_its_edges_are_left_out(self):
        seconds = np.arange(0, 70)
        splits = split_by_time(seconds * 1_000_000_000, block_s=10, gap_s=2)
        assert splits["validation"].tolist() == [*range(10, 20), *range(60, 70)]
        assert splits["train"].tolist() == [*range(8), *range(22, 58)]
        assert splits["all"].tolist() == seconds.tolist()

    @given(
        stamps=st.lists(st.integers(0, 10**12), min_size=1, max_size=60),
        block_s=st.floats(0.5, 100),
        gap=st.floats(0, 0.99),
    )
    @settings(max_examples=50, deadline=None)
    def test_no_training_frame_is_within_the_gap_of_a_validation_frame(self, stamps, block_s, gap):
        stamps_ns = np.array(stamps, np.int64)
        splits = split_by_time(stamps_ns, block_s, gap * block_s)
        train, validation = stamps_ns[splits["train"]], stamps_ns[splits["validation"]]
        if train.size and validation.size:
            assert np.abs(train[:, None] - validation).min() >= gap * block_s * 1e9 - 1e3

    @pytest.mark.parametrize(("block_s", "gap_s"), [(0, 0), (5, 5), (5, -1)])
    def test_a_gap_as_long_as_a_block_is_refused(self, block_s, gap_s):
        with pytest.raises(DatasetError, match="expected seconds with 0 <= gap_s < block_s"):
            split_by_time(np.zeros(3, np.int64), block_s, gap_s)


class TestBag:
    def test_samples_are_the_recorded_frames(self, bag, frames):
        dataset = build_dataset("bag", root=bag)
        assert len(dataset) == 24
        for index in (20, 4, 0, 3):
            frame, label = frames[index]
            sample = dataset[index]
            assert (sample.rgb == frame.rgb).all()
            assert (sample.depth_m is None) == (frame.depth_m is None)
            if frame.depth_m is not None:
                np.testing.assert_allclose(sample.depth_m, frame.depth_m, atol=1e-6)
            assert np.array_equal(sample.label, label)
            assert sample.id == stamp(index)
            assert sample.meta["intrinsics"] == CAMERA

    def test_the_parts_are_by_the_label_topic(self, bag):
        assert [s.id for s in Bag(bag, part="labeled")] == [stamp(n) for n in range(0, 24, 3)]
        assert len(Bag(bag, part="unlabeled")) == 16

    def test_a_folder_of_labels_takes_the_topics_place(self, bag, tmp_path):
        label = np.full((6, 8), 2, np.uint8)
        write_label(tmp_path / "labels", stamp(5), label)
        dataset = Bag(bag, labels=tmp_path / "labels")
        assert (dataset[5].label == 2).all()
        assert dataset[0].label is None
        assert [s.id for s in Bag(bag, labels=tmp_path / "labels", part="labeled")] == [stamp(5)]

    def test_splits_are_blocks_of_time(self, bag):
        options = {"block_s": 3.0, "gap_s": 1.0}
        assert [s.id for s in Bag(bag, "validation", **options)] == [stamp(n) for n in range(6, 12)]
        assert [s.id for s in Bag(bag, "train", **options)] == [stamp(n) for n in [*range(4), *range(14, 24)]]

    def test_worker_processes_read_what_the_main_process_reads(self, bag, frames):
        dataset = Bag(bag)
        assert (dataset[0].rgb == frames[0].frame.rgb).all()  # the bag is open when the workers start
        loader = DataLoader(dataset, batch_size=None, num_workers=2)
        assert [sample.id for sample in loader] == [stamp(n) for n in range(24)]

    def test_other_topics_are_options(self, bag):
        assert Bag(bag, label_topic="/none")[0].label is None

    def test_labels_of_another_recording_are_refused(self, bag, tmp_path):
        write_label(tmp_path / "labels", "77", np.zeros((6, 8), np.uint8))
        with pytest.raises(DatasetError, match=r"none of its 1 labels is named like a frame: expected ID\.png"):
            Bag(bag, labels=tmp_path / "labels")

    def test_a_split_that_is_too_short_says_what_to_change(self, bag):
        with pytest.raises(
            DatasetError,
            match=r"the bag has 11\.5 s, and the first block.* its second of 20 s; choose a smaller block_s",
        ):
            Bag(bag, "validation", block_s=20)

    def test_bad_splits_and_parts_are_named(self, bag):
        with pytest.raises(DatasetError, match="bag: split 'test' is unknown: use one of train, validation, all"):
            Bag(bag, "test")
        with pytest.raises(DatasetError, match="none of the 24 samples of .* is labeled"):
            Bag(bag, label_topic="/none", part="labeled")


class TestLabelFolder:
    def test_a_legend_says_what_the_ids_mean(self, tmp_path):
        taxonomy = Taxonomy(tuple(SemanticClass(i, f"c{i}", Role.BACKGROUND, (i, 0, 0)) for i in range(9)))
        write_legend(tmp_path, taxonomy)
        write_label(tmp_path, "7", np.full((2, 3), 8, np.uint8))
        folder = LabelFolder(tmp_path)
        assert folder.taxonomy == taxonomy
        assert (folder.read("7", np.zeros((2, 3, 3), np.uint8)) == 8).all()

    def test_an_id_that_is_no_class_is_refused(self, tmp_path):
        write_label(tmp_path, "7", np.full((2, 3), 8, np.uint8))
        with pytest.raises(DatasetError, match=r"7\.png: holds label values 8, expected 0\.\.4, 255"):
            LabelFolder(tmp_path).read("7", np.zeros((2, 3, 3), np.uint8))

    def test_a_label_is_never_overwritten(self, tmp_path):
        write_label(tmp_path, "7", np.zeros((2, 3), np.uint8))
        with pytest.raises(DatasetError, match=r"7\.png: exists already and is not overwritten"):
            write_label(tmp_path, "7", np.ones((2, 3), np.uint8))

    def test_a_broken_legend_is_named(self, tmp_path):
        (tmp_path / "classes.json").write_text('{"classes": [{"id": 0}]}')
        with pytest.raises(DatasetError, match=r"classes\.json: no legend .*remove it for the default ones"):
            LabelFolder(tmp_path)

    def test_a_missing_folder_is_named(self, tmp_path):
        with pytest.raises(DatasetError, match=r"labels .*nowhere: no such folder"):
            LabelFolder(tmp_path / "nowhere")


class TestBagToDataset:
    def test_frames_read_back_as_the_bag(self, bag, tmp_path, capsys):
        out = tmp_path / "frames"
        assert main(["bag-to-dataset", str(bag), "--out", str(out)]) == 0
        assert "wrote 24 of 24 frames" in capsys.readouterr().out
        source, copy = Bag(bag), build_dataset("frames", root=out)
        assert len(copy) == len(source)
        for one, other in zip(source, copy, strict=True):
            assert one.id == other.id
            assert (one.rgb == other.rgb).all()
            assert np.array_equal(one.label, other.label)
            assert (one.depth_m is None) == (other.depth_m is None)
            if one.depth_m is not None:
                np.testing.assert_allclose(one.depth_m, other.depth_m, atol=1e-6)
            assert other.meta["intrinsics"] == CAMERA

    def test_unlabeled_frames_have_no_label_file_and_the_others_suit_the_replay(self, bag, tmp_path, frames):
        out = tmp_path / "frames"
        assert main(["bag-to-dataset", str(bag), "--out", str(out)]) == 0
        labels = dict(read_label_folder(out / "label"))
        assert [str(key) for key in labels] == [stamp(n) for n in range(0, 24, 3)]
        assert all((labels[f.stamp_ns] == label).all() for f, label in frames if label is not None)
        assert json.loads((out / "label" / "classes.json").read_text())["classes"] == DEFAULT_TAXONOMY.to_dicts()

    def test_the_split_of_the_folder_is_that_of_the_bag(self, bag, tmp_path):
        out = tmp_path / "frames"
        assert main(["bag-to-dataset", str(bag), "--out", str(out)]) == 0
        for split in ("train", "validation"):
            options = {"split": split, "block_s": 3.0, "gap_s": 1.0}
            assert [s.id for s in Frames(out, **options)] == [s.id for s in Bag(bag, **options)]

    @pytest.mark.parametrize(
        ("option", "expected"), [(["--every", "5"], [0, 5, 10, 15, 20]), (["--rate_hz", "0.5"], [0, 4, 8, 12, 16, 20])]
    )
    def test_every_nth_or_so_many_per_second(self, bag, tmp_path, option, expected):
        out = tmp_path / "frames"
        assert main(["bag-to-dataset", str(bag), "part=all", "--out", str(out), *option]) == 0
        assert [sample.id for sample in Frames(out)] == [stamp(n) for n in expected]

    def test_a_folder_that_holds_something_is_left_alone(self, bag, tmp_path, capsys):
        out = tmp_path / "frames"
        out.mkdir()
        (out / "mine.txt").write_text("work")
        assert main(["bag-to-dataset", str(bag), "--out", str(out)]) == 1
        assert "holds files already and nothing is overwritten" in capsys.readouterr().err
        assert [path.name for path in out.iterdir()] == ["mine.txt"]

    def test_a_place_that_cannot_be_written_is_named(self, bag, tmp_path, capsys):
        (tmp_path / "file").write_text("")
        assert main(["bag-to-dataset", str(bag), "--out", str(tmp_path / "file" / "frames")]) == 1
        assert "cannot be made (Not a directory)" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--every", "0"], "give one of them, above 0"),
            (["--every", "2", "--rate_hz", "1"], "give one of them, above 0"),
            (["--rate_hz", "-1"], "give one of them, above 0"),
            (["color=/x"], "option 'color' is unknown: did you mean 'color_topic'"),
            (["color_topic=/x"], "no color images on /x"),
            (["part=labeled", "label_topic=/none"], "is labeled"),
        ],
    )
    def test_bad_options_say_what_to_do(self, bag, tmp_path, capsys, arguments, message):
        assert main(["bag-to-dataset", str(bag), *arguments, "--out", str(tmp_path / "out")]) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert message in error


class TestAtRate:
    def test_jitter_around_the_ticks_does_not_change_the_choice(self):
        jitter_ns = np.random.default_rng(0).integers(-4_000_000, 4_000_001, 300)
        stamps_ns = 5_000_000_000 + (np.arange(300) * 1e9 / 30).astype(np.int64) + jitter_ns
        stamps_ns[0] = 5_000_000_000
        assert at_rate(stamps_ns, 10.0).tolist() == list(range(0, 300, 3))

    def test_a_tick_in_a_gap_has_no_frame(self):
        stamps_ns = np.array([0, 1, 2, 3, 11, 12, 13], np.int64) * 1_000_000_000
        assert at_rate(stamps_ns, 0.25).tolist() == [0, 5]

    def test_a_lost_frame_is_replaced_by_its_neighbor(self):
        numbers = np.delete(np.arange(90), 30)
        assert at_rate((numbers * 1e9 / 30).astype(np.int64), 1.0)[:3].tolist() in ([0, 29, 59], [0, 30, 59])

    def test_ticks_in_the_middle_between_frames_take_one(self):
        stamps_ns = (np.arange(31) * 1e9 / 15).astype(np.int64)
        assert np.diff(stamps_ns[at_rate(stamps_ns, 10.0)]).max() < 0.14e9

    def test_a_single_frame_is_kept(self):
        assert at_rate(np.array([7]), 10.0).tolist() == [0]

    def test_asking_for_more_than_was_recorded_gives_every_frame(self):
        assert at_rate(np.arange(5) * 1_000_000_000, 30.0).tolist() == [0, 1, 2, 3, 4]


class TestFrames:
    @pytest.fixture
    def root(self, tmp_path):
        for name in ("a/1", "a/2", "b/1"):
            path = tmp_path / "rgb" / f"{name}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), np.full((6, 8, 3), 90, np.uint8))
        return tmp_path

    def test_color_images_alone_are_enough(self, root):
        samples = list(Frames(root))
        assert [s.id for s in samples] == ["a/1", "a/2", "b/1"]
        assert all(s.depth_m is None and s.label is None and not s.meta for s in samples)

    def test_labels_lie_as_the_images_do(self, root):
        write_label(root / "label", "a/2", np.ones((6, 8), np.uint8))
        assert [s.id for s in Frames(root, part="labeled")] == ["a/2"]

    def test_lists_decide_the_split(self, root):
        (root / "train.txt").write_text("b/1\na/1\n")
        assert [s.id for s in Frames(root, "train")] == ["b/1", "a/1"]

    def test_names_that_are_no_stamps_need_a_list(self, root):
        with pytest.raises(
            DatasetError, match=r"split 'train' of .* needs train\.txt, because not every ID is a stamp"
        ):
            Frames(root, "train")

    def test_a_list_of_missing_frames_is_refused(self, root):
        (root / "train.txt").write_text("a/1\nc/9\n")
        with pytest.raises(DatasetError, match=r"train\.txt lists 'c/9', which has no image \(1 such lines\)"):
            Frames(root, "train")

    def test_labels_of_other_frames_are_refused(self, root):
        write_label(root / "elsewhere", "z", np.ones((6, 8), np.uint8))
        with pytest.raises(DatasetError, match="none of its 1 labels is named like a frame"):
            Frames(root, labels=root / "elsewhere")

    def test_an_8_bit_depth_is_refused(self, root):
        (root / "depth" / "a").mkdir(parents=True)
        cv2.imwrite(str(root / "depth" / "a" / "1.png"), np.ones((6, 8), np.uint8))
        with pytest.raises(DatasetError, match=r"a/1\.png: got uint8 \(6, 8\), expected a uint16 gray image"):
            Frames(root)[0]

    def test_a_broken_camera_is_named(self, root):
        (root / "camera.json").write_text('{"fx": 1}')
        with pytest.raises(DatasetError, match=r"camera\.json is no camera"):
            Frames(root)

    def test_an_empty_folder_prints_the_tree(self, tmp_path):
        with pytest.raises(DatasetError, match=r"frames: no image below .*rgb\.\n\n    ROOT/rgb/ID\.png"):
            Frames(tmp_path)
