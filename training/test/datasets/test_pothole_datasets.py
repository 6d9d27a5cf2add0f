# SPDX-License-Identifier: Apache-2.0
"""Pothole-600 and NO-4K: two frames of the documented layout each."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from road_kd_seg.preprocess.encodings import encode_depth, jet
from road_kd_seg.preprocess.input_spec import DepthEncoding
from road_kd_training.datasets import build_dataset
from road_kd_training.datasets.common.painted import jet_value, read_painted
from road_kd_training.datasets.no4k import No4k
from road_kd_training.datasets.pothole600 import Pothole600
from road_kd_training.errors import DatasetError

SIZE = (240, 320)
POTHOLE = np.s_[150:190, 100:200]


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def paint(value):
    """(H, W) in [0, 1] → jet, blue first, as a release holds it."""
    colors = jet(torch.from_numpy(np.asarray(value, np.float32))[None, None])[0]
    return np.ascontiguousarray((colors.permute(1, 2, 0).numpy()[..., ::-1] * 255).round().astype(np.uint8))


def write_frame(folder, name, label_value, value):
    label = np.zeros(SIZE, np.uint8)
    label[POTHOLE] = label_value
    write(folder / "rgb" / f"{name}.png", np.full((*SIZE, 3), (10, 20, 200), np.uint8))
    write(folder / "tdisp" / f"{name}.png", paint(value))
    write(folder / "label" / f"{name}.png", label)


class TestJet:
    def test_every_value_of_the_map_is_found_again(self):
        values = np.linspace(0, 1, 1000)[None]
        found, painted = jet_value(paint(values)[..., ::-1])
        assert painted.all()
        np.testing.assert_allclose(found, values, atol=0.5 / 4 / 255 + 1e-6)  # colors are rounded, four steps a value

    def test_opencvs_map_is_the_same_map(self):
        painted = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[None], cv2.COLORMAP_JET)
        np.testing.assert_array_equal(np.rint(jet_value(painted[..., ::-1])[0] * 255), [np.arange(256)])

    def test_black_was_never_painted(self):
        assert not jet_value(np.zeros((1, 1, 3), np.uint8))[1].any()


class TestReadPainted:
    def test_gray_and_jet_of_one_picture_agree(self, tmp_path):
        gray = np.arange(1, 256, dtype=np.uint8)[None]
        write(tmp_path / "gray8.png", gray)
        write(tmp_path / "gray8_in_color.png", np.repeat(gray[..., None], 3, -1))
        write(tmp_path / "gray16.png", gray.astype(np.uint16) * np.uint16(257))
        write(tmp_path / "jet.png", paint(gray / 255))
        expected = gray.astype(np.int64) * 257
        for name in ("gray8", "gray8_in_color", "gray16"):
            np.testing.assert_array_equal(read_painted(tmp_path / f"{name}.png"), expected)
        np.testing.assert_allclose(read_painted(tmp_path / "jet.png"), expected, atol=33)  # 0.5 / 4 of a gray value

    def test_the_lowest_value_and_black_are_invalid(self, tmp_path):
        image = paint(np.full((1, 3), 0.0))
        image[0, 1] = 0
        image[0, 2] = paint(np.full((1, 1), 0.5))[0, 0]
        write(tmp_path / "jet.png", image)
        assert read_painted(tmp_path / "jet.png")[0].astype(bool).tolist() == [False, False, True]

    def test_other_types_are_refused(self, tmp_path):
        write(tmp_path / "color16.png", np.zeros((2, 2, 3), np.uint16))
        with pytest.raises(DatasetError, match=r"color16\.png: got uint16 \(2, 2, 3\), expected 8- or 16-bit gray"):
            read_painted(tmp_path / "color16.png")


@pytest.fixture
def pothole600(tmp_path):
    """One frame per folder, two of them called the same; the pothole lies 17,000 of 65,535 below the road."""
    value = np.full(SIZE, 50_000 / 65_535)
    value[POTHOLE] -= 17_000 / 65_535
    for folder, name in (("training", "0001"), ("validation", "0001"), ("testing", "0421")):
        write_frame(tmp_path / folder, name, 255, value)
    return tmp_path


class TestPothole600:
    def test_all_is_the_three_folders_and_ids_tell_them_apart(self, pothole600):
        ids = [sample.id for sample in Pothole600(pothole600, "all")]
        assert ids == ["training/0001", "validation/0001", "testing/0421"]
        assert [len(Pothole600(pothole600, split)) for split in ("train", "validation", "test")] == [1, 1, 1]

    def test_any_label_above_zero_is_a_negative_obstacle(self, pothole600):
        for value in (1, 7):
            write_frame(pothole600 / "testing", "0421", value, np.full(SIZE, 0.5))
            label = Pothole600(pothole600, "test")[0].label
            assert set(np.unique(label)) == {1, 3}
            assert (label[POTHOLE] == 3).all()

    def test_a_mask_of_one_bit_per_pixel_is_read(self, pothole600):
        path = pothole600 / "testing" / "label" / "0421.png"
        expected = Pothole600(pothole600, "test")[0].label
        Image.open(path).convert("1").save(path)
        assert np.array_equal(Pothole600(pothole600, "test")[0].label, expected)

    def test_the_plane_residual_is_the_painted_disparity(self, pothole600):
        sample = build_dataset("pothole600", root=pothole600)[0]
        assert sample.rgb[0, 0].tolist() == [200, 20, 10]
        encoded = encode_depth(torch.from_numpy(sample.depth_m)[None], DepthEncoding("plane_residual", high=0.1))
        assert encoded[0, 0][POTHOLE].mean().item() * 0.1 == pytest.approx(-17_000 * 2e-6, rel=0.05)
        assert abs(encoded[0, 0, 200:].mean().item()) * 0.1 < 0.001

    def test_a_missing_folder_prints_the_tree(self, tmp_path):
        with pytest.raises(DatasetError, match=r"no \*\.png below .*training/rgb\.\n\n    ROOT/\{training"):
            Pothole600(tmp_path)

    def test_a_missing_disparity_is_named(self, pothole600):
        (pothole600 / "testing" / "tdisp" / "0421.png").unlink()
        with pytest.raises(DatasetError, match=r"tdisp/0421\.png: no such file"):
            Pothole600(pothole600, "test")[0]

    def test_a_disparity_of_another_size_is_refused(self, pothole600):
        write(pothole600 / "testing" / "tdisp" / "0421.png", np.ones((8, 8), np.uint8))
        with pytest.raises(DatasetError, match=r"tdisp is \(8, 8\) \(H, W\), expected \(240, 320\) as its image"):
            Pothole600(pothole600, "test")[0]


@pytest.fixture
def no4k(tmp_path):
    """Depth grows from the bottom (1/4 of the scale) to the top (3/4)."""
    value = np.linspace(0.75, 0.25, SIZE[0])[:, None].repeat(SIZE[1], 1)
    for name, label_value in (("000001", 255), ("000002", 1)):
        write_frame(tmp_path, name, label_value, value)
    (tmp_path / "train.txt").write_text("000001\n")
    (tmp_path / "validation.txt").write_text("000002.png\n\n")
    (tmp_path / "test.txt").write_text("000002\n")
    return tmp_path


class TestNo4k:
    def test_lists_decide_the_split_with_or_without_the_suffix(self, no4k):
        assert [No4k(no4k, split).names for split in ("train", "validation")] == [["000001"], ["000002"]]
        assert len(No4k(no4k, "all")) == 3

    @pytest.mark.parametrize("split", ["train", "test"])
    def test_labels_of_1_and_of_255_are_negative_obstacles(self, no4k, split):
        label = No4k(no4k, split)[0].label
        assert (label[POTHOLE] == 3).all()
        assert (label == 3).sum() == 40 * 100
        assert set(np.unique(label)) == {1, 3}

    def test_red_is_far_and_the_scale_is_an_option(self, no4k):
        depth_m = No4k(no4k, far_m=8.0)[0].depth_m
        assert depth_m[0].mean() == pytest.approx(6.0, abs=0.01)
        assert depth_m[-1].mean() == pytest.approx(2.0, abs=0.01)

    def test_the_metric_encoding_gives_the_painted_value_back(self, no4k):
        depth_m = torch.from_numpy(build_dataset("no4k", root=no4k)[0].depth_m)[None]
        encoded = encode_depth(depth_m, DepthEncoding("metric", 0.0, 10.0))[0, 0]
        assert encoded[0].mean().item() == pytest.approx(0.75, abs=1e-3)

    def test_jet_depth_gives_the_releases_picture_back(self, no4k):
        depth_m = torch.from_numpy(build_dataset("no4k", root=no4k)[0].depth_m)[None]
        encoded = encode_depth(depth_m, DepthEncoding("jet_depth", 0.0, 10.0))[0]
        painted = cv2.imread(str(no4k / "tdisp" / "000001.png"))[..., ::-1] / 255
        np.testing.assert_allclose(encoded.permute(1, 2, 0).numpy(), painted, atol=0.02)

    def test_two_classes_are_the_releases_own(self, no4k):
        dataset = No4k(no4k, "train", two_classes=True)
        assert dataset.taxonomy.names == ["road", "negative_obstacle"]
        assert (dataset[0].label[POTHOLE] == 1).all()
        assert set(np.unique(dataset[0].label)) == {0, 1}

    def test_a_label_of_another_value_is_refused(self, no4k):
        write_frame(no4k, "000001", 9, np.full(SIZE, 0.5))
        with pytest.raises(DatasetError, match=r"000001\.png: holds label values 9, expected 0\.\.1, 255"):
            No4k(no4k)[0]

    def test_a_missing_list_prints_the_tree(self, no4k):
        (no4k / "train.txt").unlink()
        with pytest.raises(DatasetError, match=r"train\.txt is missing\.\n\n    ROOT/\{train"):
            No4k(no4k)

    def test_a_name_without_its_file_is_named(self, no4k):
        (no4k / "train.txt").write_text("000009\n")
        with pytest.raises(DatasetError, match=r"rgb/000009\.png: no such file"):
            No4k(no4k)[0]

    @pytest.mark.parametrize("far_m", [0, -1.0])
    def test_a_scale_of_nothing_is_refused(self, no4k, far_m):
        with pytest.raises(DatasetError, match="expected meters above 0"):
            No4k(no4k, far_m=far_m)
