# SPDX-License-Identifier: Apache-2.0
"""Which image an annotation is of."""

import json

import cv2
import numpy as np
import pytest

from road_kd_seg.taxonomy import ROAD
from road_kd_training.cli import main
from road_kd_training.datasets.frames import Frames

H, W = 40, 60


def test_a_name_that_ends_like_another_is_another(tmp_path):
    source = tmp_path / "source"
    (source / "images").mkdir(parents=True)
    for number, name in enumerate(["1.png", "11.png", "my 1.png"]):
        cv2.imwrite(str(source / "images" / name), np.full((H, W, 3), number, np.uint8))
        inside = np.zeros((H, W), np.uint8)
        inside[number] = 255
        cv2.imwrite(str(source / f"task-{number}-annotation-1-by-1-tag-road-0.png"), inside)
    urls = ["/data/local-files/?d=images/1.png", "/data/upload/2/0a1b2c3d-11.png", "/data/upload/2/my%201.png"]
    tasks = [{"id": n, "data": {"id": n, "note": "wet", "image": url}} for n, url in enumerate(urls)]
    (source / "export.json").write_text(json.dumps(tasks))
    assert main(["import-labels", "label-studio", str(source), "--out", str(tmp_path / "out")]) == 0
    for sample in Frames(tmp_path / "out"):
        (row,) = np.unique(sample.rgb)
        assert (sample.label[row] == ROAD).all()


class TestImagesOfOneName:
    """Drives are numbered from 0 each."""

    @pytest.fixture
    def source(self, tmp_path):
        for number, drive in enumerate(("dry", "wet")):
            (tmp_path / "source" / drive).mkdir(parents=True)
            cv2.imwrite(str(tmp_path / "source" / drive / "0.png"), np.full((H, W, 3), number, np.uint8))
        return tmp_path / "source"

    def cvat(self, source, name):
        image = f'<image id="0" name="{name}" width="{W}" height="{H}">'
        box = '<box label="road" xtl="0" ytl="0" xbr="5" ybr="5"/>'
        (source / "annotations.xml").write_text(f"<annotations>{image}{box}</image></annotations>")
        return main(["import-labels", "cvat", str(source), "--out", str(source.parent / "out")])

    def test_the_folder_tells_which(self, source):
        assert self.cvat(source, "wet/0.png") == 0
        (sample,) = Frames(source.parent / "out")
        assert (sample.rgb == 1).all()

    def test_one_beside_a_labelme_file_is_its_own(self, source):
        shapes = [{"label": "road", "points": [[0, 0], [5, 5]], "shape_type": "rectangle"}]
        (source / "wet" / "0.json").write_text(json.dumps({"imagePath": "0.png", "shapes": shapes}))
        assert main(["import-labels", "labelme", str(source), "--out", str(source.parent / "out")]) == 0
        (sample,) = Frames(source.parent / "out")
        assert (sample.rgb == 1).all()

    def test_without_it_none_is_guessed(self, source, capsys):
        assert self.cvat(source, "0.png") == 1
        line = capsys.readouterr().err
        assert "image '0.png' may be " in line
        assert "dry/0.png or " in line
