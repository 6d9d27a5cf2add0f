# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from road_kd_training.datasets.common.folder import (
    Layout,
    check_size,
    label_table,
    label_values,
    read_color_label,
    read_label,
)
from road_kd_training.datasets.common.sample import read_rgb
from road_kd_training.errors import DatasetError

LAYOUT = Layout.from_doc("roads", "Roads.\n\nExpected tree:\n\n    ROOT/image/NAME.png\n")


def write(path, image):
    assert cv2.imwrite(str(path), np.asarray(image, np.uint8))
    return path


class TestLayout:
    def test_errors_end_with_the_tree(self):
        assert str(LAYOUT.error("nothing here")) == "roads: nothing here.\n\n    ROOT/image/NAME.png"

    def test_a_docstring_stripped_by_the_interpreter_leaves_the_message(self):
        assert str(Layout.from_doc("roads", None).error("nothing here")) == "roads: nothing here."

    def test_an_unknown_split_lists_the_known_ones(self):
        with pytest.raises(DatasetError, match="roads: split 'tset' is unknown: use one of train, test"):
            LAYOUT.choose("tset", {"train": 1, "test": 2})

    def test_an_empty_split_is_refused(self, tmp_path):
        with pytest.raises(DatasetError, match=r"roads: split 'train' of .* is empty\.\n\n    ROOT"):
            LAYOUT.not_empty(iter([]), "train", tmp_path)

    def test_files_come_sorted_and_none_is_an_error(self, tmp_path):
        for name in ("b.png", "a.png"):
            (tmp_path / name).touch()
        assert [path.name for path in LAYOUT.files(tmp_path, "*.png")] == ["a.png", "b.png"]
        with pytest.raises(DatasetError, match=r"no \*\.jpg below"):
            LAYOUT.files(tmp_path, "*.jpg")

    def test_lines_are_stripped_and_blank_ones_left_out(self, tmp_path):
        path = tmp_path / "list.txt"
        path.write_text("a b \r\n\n c\n")
        assert LAYOUT.lines(path) == ["a b", "c"]

    @pytest.mark.parametrize(
        ("content", "message"), [(None, "is missing"), (b"\n", "lists nothing"), (b"\xff\xfe\x00", "no text")]
    )
    def test_bad_list_files_are_named(self, content, message, tmp_path):
        path = tmp_path / "list.txt"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DatasetError, match=rf"list\.txt.*{message}"):
            LAYOUT.lines(path)

    def test_pairs_match_by_key(self):
        images, labels = [Path("b.jpg"), Path("a.jpg")], [Path("x/a.png"), Path("x/b.png")]
        assert LAYOUT.pairs(images, labels, lambda path: path.stem) == [
            ("a", Path("a.jpg"), Path("x/a.png")),
            ("b", Path("b.jpg"), Path("x/b.png")),
        ]

    def test_what_is_alone_is_named_on_either_side(self):
        one, two = [Path("a.jpg")], [Path("a.png"), Path("b.png")]
        with pytest.raises(DatasetError, match=r"b\.png: this label has no image \(1 such labels\)"):
            LAYOUT.pairs(one, two, lambda path: path.stem)
        with pytest.raises(DatasetError, match=r"b\.png: this image has no label \(1 such images\)"):
            LAYOUT.pairs(two, one, lambda path: path.stem)


class TestReadLabel:
    def test_raw_values_become_class_ids(self, tmp_path):
        path = write(tmp_path / "l.png", [[7, 8], [255, 7]])
        assert read_label(path, label_table({7: 0, 8: 1, 255: 255})).tolist() == [[0, 1], [255, 0]]

    def test_class_ids_pass_and_ignored_values_become_255(self, tmp_path):
        path = write(tmp_path / "l.png", [[0, 2], [1, 9]])
        assert read_label(path, label_values(3, 9)).tolist() == [[0, 2], [1, 255]]

    def test_three_equal_channels_are_gray(self, tmp_path):
        path = write(tmp_path / "l.png", np.repeat([[[1], [2]]], 3, axis=2))
        assert read_label(path, label_values(3)).tolist() == [[1, 2]]

    def test_a_value_out_of_range_names_file_value_and_expected(self, tmp_path):
        path = write(tmp_path / "l.png", [[0, 77], [1, 78]])
        with pytest.raises(DatasetError) as error:
            read_label(path, label_values(3, 255))
        assert str(error.value) == f"{path}: holds label values 77, 78, expected 0..2, 255"

    def test_a_colored_image_is_refused(self, tmp_path):
        path = write(tmp_path / "l.png", np.arange(12).reshape(2, 2, 3))
        with pytest.raises(
            DatasetError, match=r"l\.png: a color image of shape \(2, 2, 3\), expected an 8-bit gray or palette"
        ):
            read_label(path, label_values(3))

    def test_palette_indices_count_and_not_their_colors(self, tmp_path):
        image = Image.fromarray(np.array([[200, 219]], np.uint8), mode="P")
        image.putpalette([0, 0, 0] * 256)
        image.save(tmp_path / "l.png")
        assert read_label(tmp_path / "l.png", label_table({200: 1, 219: 2})).tolist() == [[1, 2]]

    def test_16_bit_values_are_refused(self, tmp_path):
        cv2.imwrite(str(tmp_path / "l.png"), np.full((2, 2), 1000, np.uint16))
        with pytest.raises(DatasetError, match=r"l\.png: not a readable image of class ids: .*values up to 1000"):
            read_label(tmp_path / "l.png", label_values(3))

    @pytest.mark.parametrize("kept", [0, 20, 0.5, 0.9])
    def test_a_truncated_label_is_named(self, kept, tmp_path):
        path = write(tmp_path / "l.png", np.random.default_rng(0).integers(0, 3, (64, 64)))
        content = path.read_bytes()
        path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
        with pytest.raises(DatasetError, match=r"l\.png: not a readable image"):
            read_label(path, label_values(3))

    def test_a_missing_label_is_named(self, tmp_path):
        with pytest.raises(DatasetError, match=r"l\.png: no such file"):
            read_label(tmp_path / "l.png", label_values(3))


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_photograph_is_named_and_not_filled_with_gray(suffix, kept, tmp_path):
    path = write(tmp_path / f"i.{suffix}", np.random.default_rng(0).integers(0, 255, (64, 64, 3)))
    assert read_rgb(path).shape == (64, 64, 3)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DatasetError, match=rf"i\.{suffix}: not a readable image"):
        read_rgb(path)


class TestReadColorLabel:
    COLORS = {(1, 2, 3): 0, (200, 0, 9): 1, (0, 0, 0): 255}  # noqa: RUF012

    def test_colors_are_red_first(self, tmp_path):
        path = write(tmp_path / "l.png", [[[3, 2, 1], [9, 0, 200], [0, 0, 0]]])  # OpenCV writes blue first
        assert read_color_label(path, self.COLORS).tolist() == [[0, 1, 255]]

    def test_an_unknown_color_is_named(self, tmp_path):
        path = write(tmp_path / "l.png", [[[3, 2, 1], [1, 2, 3]]])
        with pytest.raises(DatasetError, match=r"l\.png: holds RGB colors \(3, 2, 1\), which are none of the 3 known"):
            read_color_label(path, self.COLORS)


def test_a_label_of_another_size_than_its_image_is_refused():
    with pytest.raises(DatasetError, match=r"x\.png: label is \(2, 3\) \(H, W\), expected \(4, 3\) as its image"):
        check_size(np.zeros((2, 3), np.uint8), np.zeros((4, 3, 3), np.uint8), Path("x.png"))
