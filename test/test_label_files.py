# SPDX-License-Identifier: Apache-2.0
import json
import os

import cv2
import numpy as np
import pytest

from road_kd_seg.errors import FrameError, RoadKdError
from road_kd_seg.label_files import (
    class_ids,
    foreign_labels,
    label_files,
    only_masks,
    parse_label_map,
    read_label,
)

LABEL = np.array([[0, 1, 2], [3, 4, 255]], np.uint8)
NAMES = ["background", "road", "pothole"]


def write_palette_png(path, indices):
    """An 8-bit PNG with a palette, chunk by chunk."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = indices.shape
    rows = b"".join(b"\0" + row.tobytes() for row in indices)
    colors = bytes(range(256)) * 3
    content = (
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
        + chunk(b"PLTE", colors)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


class TestReading:
    @pytest.mark.parametrize(
        "image",
        [
            LABEL,
            LABEL.astype(np.uint16),
            np.repeat(LABEL[..., None], 3, 2),
            np.dstack([LABEL, LABEL, LABEL, np.full_like(LABEL, 255)]),
        ],
        ids=["gray", "16 bit", "three channels", "alpha"],
    )
    def test_however_a_tool_stores_ids_they_are_read(self, tmp_path, image):
        cv2.imwrite(str(tmp_path / "5.png"), image)
        np.testing.assert_array_equal(read_label(tmp_path / "5.png", class_ids(5)), LABEL)

    def test_of_a_palette_the_indices_count(self, tmp_path):
        write_palette_png(tmp_path / "5.png", LABEL)
        np.testing.assert_array_equal(read_label(tmp_path / "5.png", class_ids(5)), LABEL)

    def test_an_id_that_is_no_class_asks_for_a_map(self, tmp_path):
        cv2.imwrite(str(tmp_path / "5.png"), np.array([[0, 7]], np.uint8))
        with pytest.raises(FrameError, match=r"holds the values 7, expected class ids 0 to 4 .*--label-map"):
            read_label(tmp_path / "5.png", class_ids(5))

    def test_a_jpeg_and_a_colored_image_are_refused_with_what_to_do(self, tmp_path):
        cv2.imwrite(str(tmp_path / "5.jpg"), LABEL)
        (tmp_path / "5.jpg").rename(tmp_path / "5.png")
        with pytest.raises(FrameError, match="a JPEG, which changes class ids .*: export PNG"):
            read_label(tmp_path / "5.png", class_ids(5))
        cv2.imwrite(str(tmp_path / "6.png"), np.random.default_rng(0).integers(0, 255, (4, 4, 3), np.uint8))
        with pytest.raises(FrameError, match="a colored image, expected one class id per pixel"):
            read_label(tmp_path / "6.png", class_ids(5))

    def test_more_than_8_bits_are_no_class_ids(self, tmp_path):
        cv2.imwrite(str(tmp_path / "5.png"), np.array([[0, 300]], np.uint16))
        with pytest.raises(FrameError, match="values up to 300"):
            read_label(tmp_path / "5.png", class_ids(5))


class TestMap:
    def test_values_become_classes_and_the_others_stay(self, tmp_path):
        cv2.imwrite(str(tmp_path / "5.png"), np.array([[0, 1, 7, 255]], np.uint8))
        label = read_label(tmp_path / "5.png", parse_label_map("255=pothole, 7=ignore", NAMES))
        assert label.tolist() == [[0, 1, 255, 2]]

    @pytest.mark.parametrize("text", ["", "x=road", "256=road", "255=nope", "255"])
    def test_what_is_no_map_is_named_with_the_classes(self, text):
        with pytest.raises(RoadKdError, match="expected VALUE=CLASS .* background, road, pothole or ignore"):
            parse_label_map(text, NAMES)

    def test_masks_of_one_class_are_told_from_labels(self, tmp_path):
        for name, image in {"mask": [[0, 255]], "empty": [[0, 0]], "label": [[0, 255, 1]]}.items():
            cv2.imwrite(str(tmp_path / f"{name}.png"), np.array(image, np.uint8))
        assert only_masks([tmp_path / "mask.png", tmp_path / "empty.png"])
        assert not only_masks([tmp_path / "mask.png", tmp_path / "label.png"])
        assert not only_masks([tmp_path / "empty.png"])


class TestFolder:
    def test_hidden_files_are_no_labels_and_names_of_any_style_are_ids(self, tmp_path):
        for name in ("5.png", "6.PNG", "._5.png", ".ipynb_checkpoints/5-checkpoint.png", "17.000000009.png", "a/b.png"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(b"")
        assert sorted(label_files(tmp_path)) == ["17000000009", "5", "6", "a/b"]

    def test_labels_as_jpeg_are_told_to_be_png(self, tmp_path):
        cv2.imwrite(str(tmp_path / "5.jpg"), LABEL)
        assert "JPEG images, which change class ids along every border: export PNG" in foreign_labels(tmp_path)

    @pytest.mark.parametrize(
        ("name", "content", "kind"),
        [
            ("a.json", json.dumps({"shapes": []}), "labelme"),
            ("a.json", json.dumps({"annotations": []}), "coco"),
            ("annotations.xml", "<annotations/>", "cvat"),
            ("_classes.csv", "", "roboflow"),
            ("task-1-annotation-1-by-1-tag-road-0.png", "", "label-studio"),
        ],
    )
    def test_what_a_tool_left_is_named_with_the_command_that_imports_it(self, tmp_path, name, content, kind):
        assert foreign_labels(tmp_path) == ""
        (tmp_path / name).write_text(content)
        assert f"road-kd import-labels {kind} {tmp_path} --out DATASET" in foreign_labels(tmp_path)

    @pytest.mark.parametrize("name", ["a.json", "_classes.csv", "annotations.xml", "a.png", "task-1-annotation-1.txt"])
    def test_a_pipe_among_them_keeps_nobody_waiting(self, tmp_path, name):
        os.mkfifo(tmp_path / name)
        (tmp_path / "b.json").write_text("[" * 100_000)
        assert foreign_labels(tmp_path) == "" or "export" in foreign_labels(tmp_path)
        for path in label_files(tmp_path).values():
            with pytest.raises(FrameError, match="is no regular file"):
                read_label(path, class_ids(len(NAMES)))
