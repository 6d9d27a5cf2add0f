# SPDX-License-Identifier: Apache-2.0
"""What every one of the street and general datasets promises."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from road_kd_seg.taxonomy import Role
from road_kd_training.datasets import DATASETS, build_dataset
from road_kd_training.datasets.common.facts import FACTS
from road_kd_training.errors import DatasetError

CLASSES = {
    "cityscapes": 19,
    "camvid": 11,
    "kitti_semantics": 19,
    "vkitti2": 15,
    "nuimages": 26,
    "voc": 21,
    "ade20k": 150,
}


def open_tree(tree, split="train", **options):
    return build_dataset(tree.name, root=tree.root, split=split, **{**tree.options, **options})


def sample_of(tree, split="train"):
    return next(sample for sample in open_tree(tree, split) if sample.id == tree.id)


def cut_short(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


class TestSamples:
    def test_labels_are_those_of_the_files_mapped_to_class_ids(self, tree):
        label = sample_of(tree).label
        assert label.dtype == np.uint8
        assert label.tolist() == tree.expected

    def test_color_comes_red_first(self, tree):
        rgb = sample_of(tree).rgb
        assert rgb.shape == (4, 6, 3)
        assert rgb.dtype == np.uint8
        assert np.abs(rgb.astype(int) - (200, 30, 40)).max() <= 4  # JPEG

    def test_depth_is_meters_or_none(self, tree):
        depth_m = sample_of(tree).depth_m
        if tree.depth is None:
            assert depth_m is None
        else:
            assert depth_m.dtype == np.float32
            np.testing.assert_allclose(depth_m, tree.depth, rtol=1e-6)

    def test_ids_are_unique(self, tree):
        dataset = open_tree(tree)
        ids = [sample.id for sample in dataset]
        assert len(set(ids)) == len(ids) == len(dataset) >= 1

    def test_train_and_validation_share_no_image(self, tree):
        train, validation = ({sample.id for sample in open_tree(tree, split)} for split in ("train", "validation"))
        assert train
        assert validation
        assert not train & validation

    def test_it_can_be_sent_to_a_loader_process(self, tree):
        dataset = pickle.loads(pickle.dumps(open_tree(tree)))
        assert dataset[0].id == open_tree(tree)[0].id


class TestTaxonomy:
    @pytest.mark.parametrize(("name", "count"), CLASSES.items())
    def test_the_benchmark_has_that_many_classes(self, name, count):
        assert len(DATASETS[name].taxonomy) == count

    @pytest.mark.parametrize("name", sorted(CLASSES.keys() - {"voc"}))
    def test_road_is_drivable_and_people_or_vehicles_are_obstacles(self, name):
        drivable, obstacle = (
            {c.name.lower() for c in DATASETS[name].taxonomy.classes if c.role is role}
            for role in (Role.DRIVABLE, Role.OBSTACLE)
        )
        assert drivable & {"road", "flat.driveable_surface"}
        assert obstacle & {"car", "vehicle.car"}
        assert not obstacle & {"sky", "vegetation", "tree", "building", "sidewalk", "pavement", "background"}


class TestBadTrees:
    def test_an_empty_folder_prints_the_expected_tree(self, tree, tmp_path):
        with pytest.raises(DatasetError) as caught:
            build_dataset(tree.name, root=tmp_path / "nothing")
        message = str(caught.value)
        assert message.startswith(f"{tree.name}: ")
        assert str(tmp_path / "nothing") in message
        assert "\n\n    ROOT/" in message

    def test_an_unknown_split_lists_the_known_ones(self, tree):
        with pytest.raises(DatasetError, match=rf"^{tree.name}: split 'tset' is unknown: use one of train, validation"):
            open_tree(tree, "tset")

    def test_a_truncated_image_is_named(self, tree):
        cut_short(tree.image)
        with pytest.raises(DatasetError, match=rf"{re.escape(tree.image.name)}: not a readable image \(truncated\?\)"):
            sample_of(tree)

    def test_a_truncated_label_is_named(self, tree):
        cut_short(tree.label)
        with pytest.raises(DatasetError, match=rf"{re.escape(tree.label.name)}(: not a readable image| is no JSON)"):
            sample_of(tree)

    def test_a_missing_image_is_named(self, tree):
        tree.image.unlink()
        with pytest.raises(DatasetError, match=tree.id.split("/")[-1]):
            list(open_tree(tree))

    def test_a_missing_label_is_named(self, tree):
        tree.label.unlink()
        with pytest.raises(DatasetError, match=rf"{tree.id.split('/')[-1]}|{tree.label.name}"):
            list(open_tree(tree))

    def test_a_label_of_another_size_is_refused(self, label_tree, write):
        black = (0, 0, 0) if label_tree.name == "vkitti2" or label_tree.label.stem.endswith("_L") else 0
        (write.colors if black else write.gray)(label_tree.label, [[black] * 3] * 2)
        with pytest.raises(DatasetError, match=r"label is \(2, 3\) \(H, W\), expected \(4, 6\) as its image"):
            sample_of(label_tree)

    @pytest.mark.parametrize(
        ("name", "raw", "message"),
        [
            ("cityscapes", 34, r"holds label values 34, expected 0\.\.33, 255"),
            ("camvid", 12, r"holds label values 12, expected 0\.\.11"),
            ("kitti_semantics", 40, r"holds label values 40, expected 0\.\.33, 255"),
            ("voc", 21, r"holds label values 21, expected 0\.\.20, 255"),
            ("ade20k", 151, r"holds label values 151, expected 0\.\.150"),
        ],
    )
    def test_a_label_value_out_of_range_is_refused(self, name, raw, message, build, write):
        tree = build(name)
        write.gray(tree.label, np.full((4, 6), raw))
        with pytest.raises(DatasetError, match=rf"{re.escape(tree.label.name)}: {message}"):
            sample_of(tree)

    @pytest.mark.parametrize(("name", "known"), [("camvid_original", 32), ("vkitti2", 15)])
    def test_a_color_that_is_no_class_is_refused(self, name, known, build, write):
        tree = build(name)
        write.colors(tree.label, np.full((4, 6, 3), (1, 2, 3)))
        message = rf"{re.escape(tree.label.name)}: holds RGB colors \(1, 2, 3\), which are none of the {known} known"
        with pytest.raises(DatasetError, match=message):
            sample_of(tree)


class TestPage:
    @pytest.fixture(scope="class")
    def rows(self):
        page = Path(__file__).parents[2] / "docs/DATASETS.md"
        return [line.split("|")[1].strip(" `") for line in page.read_text().splitlines() if line.startswith("| `")]

    def test_every_dataset_here_has_a_row(self, rows):
        assert CLASSES.keys() <= set(rows)

    def test_depth_and_license_are_those_that_list_datasets_prints(self):
        page = Path(__file__).parents[2] / "docs/DATASETS.md"
        cells = [line[1:-1].split("|") for line in page.read_text().splitlines() if line.startswith("| `")]
        printed = {one[0].strip(" `"): tuple(text.replace("`", "").strip() for text in one[6:8]) for one in cells}
        assert printed == FACTS

    def test_rows_are_sorted_and_name_datasets_that_exist(self, rows):
        assert rows == sorted(rows)
        assert set(rows) <= set(DATASETS)
