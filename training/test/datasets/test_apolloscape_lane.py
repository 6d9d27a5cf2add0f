# SPDX-License-Identifier: Apache-2.0
import cv2
import numpy as np
import pytest
from PIL import Image

from road_kd_seg.metrics import confusion_matrix, mean_iou
from road_kd_seg.taxonomy import Role
from road_kd_training.datasets import build_dataset
from road_kd_training.datasets.apolloscape_lane import CLASSES, ApolloscapeLane
from road_kd_training.errors import DatasetError

IDS = np.array([[0, 200, 204], [213, 250, 255]], np.uint8)  # 213 is not evaluated, 255 is not labeled
NAMES = ("void", "s_w_d", "s_y_d", "ds_w_dn", "om_n_n")


def write_frame(root, road, record, name, label):
    image = root / f"ColorImage_{road}" / "ColorImage" / record / "Camera 5" / f"{name}.jpg"
    image.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(image), np.full((*IDS.shape, 3), 90, np.uint8))
    path = root / f"Labels_{road}" / "Label" / record / "Camera 5" / f"{name}_bin.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    label.save(path)
    return path


@pytest.fixture
def root(tmp_path):
    """Two records of road 02, so that one is held out, labeled by gray ids; an unlabeled frame of road 05."""
    for record in ("Record001", "Record002"):
        write_frame(tmp_path, "road02", record, "170927_063811892_Camera_5", Image.fromarray(IDS))
    test = tmp_path / "ColorImage_road05" / "171206_065131517_Camera_6.jpg"
    test.parent.mkdir()
    cv2.imwrite(str(test), np.zeros((2, 3, 3), np.uint8))
    return tmp_path


def test_ids_become_classes_and_255_stays_ignored(root):
    sample = ApolloscapeLane(root)[0]
    taxonomy = ApolloscapeLane.taxonomy
    expected = [[0, 1, 2], [3, taxonomy.names.index("om_n_n"), 255]]
    assert sample.label.tolist() == expected
    assert sample.depth_m is None
    assert sample.id == "ColorImage_road02/ColorImage/Record001/Camera 5/170927_063811892_Camera_5"


def test_there_are_36_classes_of_which_18_are_evaluated():
    assert len(ApolloscapeLane.taxonomy) == 36
    assert sum(evaluated for _, _, evaluated, _ in CLASSES) == 18
    assert len({raw for _, raw, _, _ in CLASSES}) == len({color for _, _, _, color in CLASSES}) == 36
    roles = [c.role for c in ApolloscapeLane.taxonomy.classes]
    assert roles == [Role.BACKGROUND] + [Role.LANE] * 35


@pytest.mark.parametrize("form", ["palette", "color"])
def test_every_form_of_label_says_the_same(form, root):
    palette = np.zeros((256, 3), np.uint8)
    if form == "palette":
        label = Image.fromarray(IDS, mode="P")
        label.putpalette(palette.tobytes())  # the benchmark's examples paint several ids black
    else:
        palette[[raw for _, raw, _, _ in CLASSES]] = [color for _, _, _, color in CLASSES]
        palette[255] = 255
        label = Image.fromarray(palette[IDS])
    gray = ApolloscapeLane(root)[0].label
    write_frame(root, "road02", "Record001", "170927_063811892_Camera_5", label)
    assert (ApolloscapeLane(root)[0].label == gray).all()


def test_evaluated_only_gives_the_benchmarks_mean_iou(root):
    target = ApolloscapeLane(root, evaluated_only=True)[0].label
    assert target.tolist() == [[0, 1, 2], [255, 35, 255]]
    prediction = np.array([[0, 3, 2], [1, 35, 1]], np.uint8)  # s_w_d is missed; both false s_w_d lie on ignored pixels
    assert mean_iou(confusion_matrix(target, prediction, 36)) == pytest.approx((1 + 0 + 1 + 1) / 4)


def test_whole_records_are_held_out(root):
    for number in range(3, 15):
        write_frame(root, "road03", f"Record{number:03d}", "a_Camera_5", Image.fromarray(IDS))
    records = {
        split: {path.parents[1] for path in ApolloscapeLane(root, split).images} for split in ("train", "validation")
    }
    assert not records["train"] & records["validation"]
    assert len(records["train"]) == 12
    assert {record.name for record in records["validation"]} == {"Record002", "Record013"}


def test_the_test_split_has_no_labels_and_is_not_in_the_others(root):
    dataset = ApolloscapeLane(root, "test")
    assert len(dataset) == 1
    assert dataset[0].label is None
    assert len(ApolloscapeLane(root)) == len(ApolloscapeLane(root, "validation")) == 1


class TestBadTrees:
    def test_an_empty_folder_prints_the_expected_tree(self, tmp_path):
        with pytest.raises(DatasetError, match=r"no ColorImage_road\*.* below .*\.\n\n    ROOT/ColorImage_roadNN"):
            build_dataset("apolloscape_lane", root=tmp_path)

    def test_one_record_leaves_nothing_to_hold_out(self, tmp_path):
        write_frame(tmp_path, "road02", "Record001", "a_Camera_5", Image.fromarray(IDS))
        with pytest.raises(DatasetError, match=r"split 'validation' of .* is empty"):
            ApolloscapeLane(tmp_path, "validation")

    def test_an_unknown_split_lists_the_known_ones(self, root):
        with pytest.raises(DatasetError, match="split 'val' is unknown: use one of train, validation, test"):
            ApolloscapeLane(root, "val")

    def test_a_missing_label_is_named(self, root):
        (root / "Labels_road02/Label/Record001/Camera 5/170927_063811892_Camera_5_bin.png").unlink()
        with pytest.raises(DatasetError, match=r"170927_063811892_Camera_5_bin\.png: no such file"):
            ApolloscapeLane(root)[0]

    def test_an_id_that_no_class_has_is_named_with_the_known_ones(self, root):
        path = write_frame(root, "road02", "Record001", "170927_063811892_Camera_5", Image.fromarray(IDS // 2))
        with pytest.raises(DatasetError) as error:
            ApolloscapeLane(root)[0]
        assert str(error.value) == (
            f"{path}: holds label values 100, 102, 106, 125, 127, expected 0, 200..233, 249..250, 255"
        )

    def test_a_color_that_no_class_has_is_named(self, root):
        label = Image.fromarray(np.full((*IDS.shape, 3), (180, 173, 43), np.uint8))
        write_frame(root, "road02", "Record001", "170927_063811892_Camera_5", label)
        with pytest.raises(
            DatasetError, match=r"_bin\.png: holds RGB colors \(180, 173, 43\), which are none of the 38"
        ):
            ApolloscapeLane(root)[0]

    def test_a_truncated_photograph_is_named(self, root):
        path = next((root / "ColorImage_road02").rglob("*.jpg"))
        path.write_bytes(path.read_bytes()[:-30])
        with pytest.raises(DatasetError, match=r"Camera_5\.jpg: not a readable image"):
            ApolloscapeLane(root)[0]

    def test_a_label_of_another_size_is_refused(self, root):
        write_frame(root, "road02", "Record001", "170927_063811892_Camera_5", Image.fromarray(IDS[:1]))
        with pytest.raises(DatasetError, match=r"label is \(1, 3\) \(H, W\), expected \(2, 3\)"):
            ApolloscapeLane(root)[0]
