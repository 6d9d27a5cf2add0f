# SPDX-License-Identifier: Apache-2.0
"""Labels as annotation tools export them, through the whole tool."""

import numpy as np
import pytest
from PIL import Image as Picture

from drives import PERIOD_NS, START_NS, check_right, records
from recorders import write_mcap

PALETTE = [70, 70, 70, 128, 64, 128, 255, 255, 255, 230, 25, 75, 255, 160, 0] + [0] * 753


def with_palette(label):
    picture = Picture.fromarray(label, "P")
    picture.putpalette(PALETTE)
    return picture


LABELS = {
    "gray": Picture.fromarray,
    "16 bits": lambda label: Picture.fromarray(label.astype(np.uint16)),
    "palette": with_palette,
    "three equal channels": lambda label: Picture.fromarray(np.repeat(label[..., None], 3, 2)),
    "alpha": lambda label: Picture.merge("LA", (Picture.fromarray(label), Picture.new("L", label.shape[::-1], 255))),
}


def save_labels(folder, drive, picture, name=lambda stamp_ns: f"{stamp_ns}.png"):
    folder.mkdir(parents=True)
    for number, moment in enumerate(drive):
        picture(moment.label).save(folder / name(START_NS + number * PERIOD_NS))
    return folder


class TestLabels:
    @pytest.fixture
    def bag(self, tmp_path, drive):
        return write_mcap(tmp_path / "drive.mcap", records(drive, labels=False))

    @pytest.mark.parametrize("kind", LABELS)
    def test_class_ids_are_read_however_a_tool_stores_them(self, tmp_path, drive, bag, evaluate, kind):
        check_right(evaluate(bag, "--labels", save_labels(tmp_path / "labels", drive, LABELS[kind])))

    @pytest.mark.parametrize(
        "name",
        [
            lambda stamp_ns: f"{stamp_ns // 10**9}.{stamp_ns % 10**9:09d}.png",
            lambda stamp_ns: f"{stamp_ns}.PNG",
        ],
        ids=["seconds and nanoseconds", "upper case"],
    )
    def test_names_are_read_however_a_tool_writes_them(self, tmp_path, drive, bag, evaluate, name):
        check_right(evaluate(bag, "--labels", save_labels(tmp_path / "labels", drive, Picture.fromarray, name)))

    def test_hidden_files_are_no_labels(self, tmp_path, drive, bag, evaluate):
        folder = save_labels(tmp_path / "labels", drive, Picture.fromarray)
        (folder / f"._{START_NS}.png").write_bytes(b"\0\5\26\7" + bytes(100))
        (folder / ".DS_Store").write_bytes(b"Bud1")
        (folder / ".ipynb_checkpoints").mkdir()
        (folder / ".ipynb_checkpoints" / f"{START_NS}-checkpoint.png").write_bytes(b"")
        check_right(evaluate(bag, "--labels", folder))

    def test_a_mask_of_one_class_is_read_with_a_map(self, tmp_path, drive, bag, refused, evaluate):
        folder = save_labels(tmp_path / "labels", drive, lambda label: Picture.fromarray(label == 2))
        assert "--label-map 255=negative_obstacle" in refused(bag, "--labels", folder)
        report = evaluate(bag, "--labels", folder, "--label-map", "255=lane_marking,0=background")
        assert report["metrics"]["recall"]["lane_marking"] == 1.0

    def test_a_map_of_values_that_no_label_holds_is_refused(self, tmp_path, drive, bag, refused):
        folder = save_labels(tmp_path / "labels", drive, lambda label: Picture.fromarray(label == 2))
        line = refused(bag, "--labels", folder, "--label-map", "1=lane_marking")
        assert "none of them holds a value of --label-map 1=lane_marking" in line
        assert "those of 1-bit images are 0 and 255" in line

    @pytest.mark.parametrize(
        ("picture", "name", "reason"),
        [
            (lambda label: Picture.fromarray(label[::2, ::2]), "{}.png", "40x24 pixels, the images have 80x48"),
            (lambda label: Picture.fromarray(np.where(label == 1, 7, label).astype(np.uint8)), "{}.png", "7"),
            (Picture.fromarray, "{1}.png", "are of no frame of this recording"),
            (Picture.fromarray, "{}.jpg", "JPEG"),
            (Picture.fromarray, "frame{}.png", "named by a stamp"),
        ],
        ids=["another size", "an id that is no class", "another recording", "jpeg", "names without stamps"],
    )
    def test_what_cannot_be_scored_is_found_before_the_run(self, tmp_path, drive, bag, refused, picture, name, reason):
        folder = save_labels(tmp_path / "labels", drive, picture, lambda stamp_ns: name.format(stamp_ns, stamp_ns + 7))
        assert reason in refused(bag, "--labels", folder)
