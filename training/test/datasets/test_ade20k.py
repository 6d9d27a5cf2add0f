# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

import road_kd_training
from road_kd_seg.taxonomy import Role
from road_kd_training.datasets.ade20k import TAXONOMY, Ade20k, read_classes
from road_kd_training.errors import DatasetError


class TestClasses:
    def test_ids_are_the_values_of_the_annotations_less_one(self):
        values = {"wall": 1, "building": 2, "sky": 3, "road": 7, "person": 13, "car": 21, "screen": 131, "flag": 150}
        assert {name: TAXONOMY.names.index(name) + 1 for name in values} == values

    def test_colors_are_those_of_the_benchmark(self):
        colors = {c.name: c.color for c in TAXONOMY.classes}
        assert colors["wall"] == (120, 120, 120)
        assert colors["person"] == (150, 5, 61)
        assert colors["flag"] == (92, 0, 255)

    def test_roads_are_drivable(self):
        assert [c.name for c in TAXONOMY.classes if c.role is Role.DRIVABLE] == ["road", "dirt track"]

    def test_remarks_are_no_classes(self, tmp_path):
        path = tmp_path / "classes.txt"
        path.write_text("# remark\n1 2 3 obstacle traffic light\n")
        assert read_classes(path).to_dicts() == [
            {"id": 0, "name": "traffic light", "role": "obstacle", "color": [1, 2, 3]}
        ]

    def test_the_class_list_is_shipped_with_the_package(self):
        project = Path(road_kd_training.__file__).parents[1] / "pyproject.toml"
        if not project.is_file():
            pytest.skip("installed from a wheel: that the import above worked says it")
        assert '"datasets/common/*.txt"' in project.read_text()


def test_splits_are_the_folders(build):
    tree = build("ade20k")
    assert len(Ade20k(tree.root)) == 2
    assert [sample.id for sample in Ade20k(tree.root, "validation")] == ["ADE_val_1"]


def test_an_image_without_annotation_is_named(build):
    tree = build("ade20k")
    tree.label.unlink()
    with pytest.raises(DatasetError, match=r"ADE_train_00000001\.jpg: this image has no label \(1 such images\)"):
        Ade20k(tree.root)
