# SPDX-License-Identifier: Apache-2.0
import cv2
import numpy as np
import pytest

from road_kd_training.datasets import build_dataset
from road_kd_training.errors import DatasetError

SOURCES = {"road_ru": ("train", "val"), "lums_campus": ("train", "val"), "udacity_lanes": ("train",)}


@pytest.fixture
def tree(tmp_path):
    """One image of each source and split, every class in its label."""
    rows = ["file,label,source,sequence,cluster,split"]
    label = np.repeat(np.array([[0, 1, 2, 3, 4, 255]], np.uint8), 4, axis=0)
    for source, splits in SOURCES.items():
        for folder in ("rgb", "label"):
            (tmp_path / source / folder).mkdir(parents=True)
        for split in splits:
            cv2.imwrite(str(tmp_path / source / "rgb" / f"{split}.jpg"), np.full((4, 6, 3), 90, np.uint8))
            cv2.imwrite(str(tmp_path / source / "label" / f"{split}.png"), label)
            rows.append(f"{source}/rgb/{split}.jpg,{source}/label/{split}.png,{source},s,c,{split}")
    (tmp_path / "split.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def ids(dataset):
    return [dataset[index].id for index in range(len(dataset))]


def test_splits_are_the_tables(tree):
    assert len(build_dataset("real_roads", root=tree)) == 3
    assert ids(build_dataset("real_roads", root=tree, split="validation")) == ["road_ru/rgb/val", "lums_campus/rgb/val"]
    assert len(build_dataset("real_roads", root=tree, split="all")) == 5


def test_sources_can_be_chosen(tree):
    assert ids(build_dataset("real_roads", root=tree, sources=["lums_campus"])) == ["lums_campus/rgb/train"]


def test_a_sample_has_color_and_classes_and_no_depth(tree):
    sample = build_dataset("real_roads", root=tree, sources=["lums_campus"])[0]
    assert sample.rgb.shape == (4, 6, 3)
    assert sample.depth_m is None
    np.testing.assert_array_equal(sample.label[0], [0, 1, 2, 3, 4, 255])


@pytest.mark.parametrize(("weak_lanes", "lane"), [(False, 255), (True, 2)])
def test_weak_lane_markings_count_only_if_asked_for(tree, weak_lanes, lane):
    sample = build_dataset("real_roads", root=tree, sources=["road_ru"], weak_lanes=weak_lanes)[0]
    np.testing.assert_array_equal(sample.label[0], [0, 1, lane, 3, 4, 255])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sources": ["mars"]}, "source 'mars' is unknown: .* has lums_campus, road_ru, udacity_lanes"),
        ({"split": "test"}, "split 'test' is unknown: use one of train, validation, all"),
        ({"split": "validation", "sources": ["udacity_lanes"]}, "split 'validation' of udacity_lanes is empty"),
    ],
)
def test_what_is_not_there_is_named(tree, options, message):
    with pytest.raises(DatasetError, match=message):
        build_dataset("real_roads", root=tree, **options)


def test_a_missing_folder_prints_the_tree(tmp_path):
    with pytest.raises(DatasetError, match=r"(?s)split.csv is missing.*ROOT/SOURCE/label/NAME.png"):
        build_dataset("real_roads", root=tmp_path)


def test_a_label_of_another_size_is_refused(tree):
    cv2.imwrite(str(tree / "road_ru" / "label" / "train.png"), np.zeros((2, 2), np.uint8))
    with pytest.raises(DatasetError, match="label"):
        _ = build_dataset("real_roads", root=tree, sources=["road_ru"])[0]


def test_a_table_of_other_columns_is_refused(tree):
    (tree / "split.csv").write_text("file,label\n")
    with pytest.raises(DatasetError, match="lacks the columns file, label, source, split"):
        build_dataset("real_roads", root=tree)
