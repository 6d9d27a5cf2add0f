# SPDX-License-Identifier: Apache-2.0
import json

import cv2
import numpy as np
import pytest

from road_kd_training.config import DataConfig
from road_kd_training.detection.data import build_box_dataset
from road_kd_training.errors import DatasetError


def annotation(image, box, category, **more):
    return {"image_id": image, "bbox": box, "category_id": category, "area": 5.5, "iscrowd": 0, **more}


@pytest.fixture
def coco(tmp_path):
    """Three images: two objects and a crowd, only a crowd, nothing."""
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    data = {
        "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}],
        "images": [{"id": id_, "file_name": f"{id_}.jpg"} for id_ in (7, 8, 9)],
        "annotations": [
            annotation(7, [1, 2, 3, 4], 18),
            annotation(7, [0, 0, 10, 10], 1, iscrowd=1),
            annotation(7, [5, 5, 2, 0], 1),  # no height
            annotation(8, [0, 0, 5, 5], 1, iscrowd=1),
        ],
    }
    for name in ("train2017", "val2017"):
        (root / name).mkdir()
        for id_ in (7, 8, 9):
            cv2.imwrite(str(root / name / f"{id_}.jpg"), np.zeros((12, 16, 3), np.uint8))
        (root / "annotations" / f"instances_{name}.json").write_text(json.dumps(data))
    return root


@pytest.mark.parametrize(
    ("part", "key", "value", "reason"),
    [
        ("images", "file_name", "../../secret.jpg", "no file below"),
        ("images", "file_name", "/etc/hostname", "no file below"),
        ("images", "file_name", ["7.jpg"], "no such file"),
        ("annotations", "bbox", [1, 2], "not COCO"),
        ("annotations", "bbox", [1, 2, 10**400, 9], "not COCO"),
        ("annotations", "area", "large", "not COCO"),
        ("categories", "id", [], "not COCO"),
    ],
)
def test_an_annotation_made_to_hurt_is_named(coco, part, key, value, reason):
    path = coco / "annotations" / "instances_val2017.json"
    data = json.loads(path.read_text())
    data[part][0][key] = value
    path.write_text(json.dumps(data))
    with pytest.raises(DatasetError, match=reason):
        of(coco, "validation")[0]


def of(root, split):
    return build_box_dataset(DataConfig("coco", {"root": str(root), "split": split}))


def test_boxes_become_corners_and_categories_are_counted_by_id(coco):
    dataset = of(coco, "validation")
    assert dataset.class_names == ["person", "dog"]
    sample = dataset[0]
    assert sample.rgb.shape == (12, 16, 3)
    assert sample.boxes.corners.tolist() == [[1, 2, 4, 6], [0, 0, 10, 10]]
    assert sample.boxes.classes.tolist() == [1, 0]
    assert sample.boxes.crowd.tolist() == [False, True]
    assert sample.boxes.areas.tolist() == [5.5, 5.5]


def test_images_without_anything_to_learn_are_left_out_of_training_only(coco):
    assert [sample.id for sample in of(coco, "train")] == ["7.jpg"]
    assert len(of(coco, "validation")) == 3
    assert len(of(coco, "validation")[2].boxes) == 0


def test_a_missing_folder_shows_the_expected_tree(coco, tmp_path):
    with pytest.raises(DatasetError, match="instances_train2017.json is missing") as caught:
        of(tmp_path / "elsewhere", "train")
    assert "ROOT/val2017/NAME.jpg" in str(caught.value)


@pytest.mark.parametrize("content", ["", "[]", '{"images": []}', '{"categories": [{"id": 1}]}'])
def test_a_damaged_annotation_is_named(coco, content):
    (coco / "annotations" / "instances_train2017.json").write_text(content)
    with pytest.raises(
        DatasetError, match=r"instances_train2017.json(: not COCO's annotation.*fetch it again| is no JSON)"
    ):
        of(coco, "train")


def test_an_unknown_split_is_named(coco):
    with pytest.raises(DatasetError, match="split 'test' is unknown: use one of train, validation"):
        of(coco, "test")
