# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from road_kd_training.datasets.voc import TAXONOMY, PascalVoc
from road_kd_training.errors import DatasetError


@pytest.fixture
def tree(build):
    return build("voc")


class TestPalette:
    @pytest.mark.parametrize(
        ("name", "color"),
        [
            ("background", (0, 0, 0)), ("aeroplane", (128, 0, 0)), ("bus", (0, 128, 128)), ("car", (128, 128, 128)),
            ("cat", (64, 0, 0)), ("person", (192, 128, 128)), ("tvmonitor", (0, 64, 128)),
        ],
    )  # fmt: skip
    def test_colors_are_those_of_the_devkit(self, name, color):
        assert TAXONOMY.classes[TAXONOMY.names.index(name)].color == color


class TestSplits:
    def test_lists_choose_the_images(self, tree):
        sizes = {split: len(PascalVoc(tree.root, split)) for split in ("train", "validation", "trainval")}
        assert sizes == {"train": 2, "validation": 1, "trainval": 3}

    def test_sbd_adds_all_but_validation_and_never_replaces_a_label_of_train(self, tree, write):
        for name, value in (("2007_000032", 1), ("2007_000033", 1), ("2008_000001", 3)):
            write.image(tree.root / f"JPEGImages/{name}.jpg")
            write.gray(tree.root / f"SegmentationClassAug/{name}.png", np.full((4, 6), value))
        labels = {sample.id: sample.label for sample in PascalVoc(tree.root, "train_aug")}
        assert set(labels) == {"2007_000032", "2007_000039", "2008_000001"}
        assert labels["2007_000032"].tolist() == tree.expected
        assert (labels["2008_000001"] == 3).all()

    def test_sbd_that_was_not_fetched_is_named(self, tree):
        with pytest.raises(DatasetError, match=r"no \*\.png below .*SegmentationClassAug\.\n\n    ROOT"):
            PascalVoc(tree.root, "train_aug")

    def test_an_empty_list_is_refused(self, tree):
        (tree.root / "ImageSets/Segmentation/train.txt").write_text("\n")
        with pytest.raises(DatasetError, match=r"train\.txt lists nothing"):
            PascalVoc(tree.root)

    def test_a_listed_image_that_is_missing_is_named(self, tree):
        with (tree.root / "ImageSets/Segmentation/train.txt").open("a") as file:
            file.write("2010_999999\n")
        with pytest.raises(DatasetError, match=r"2010_999999\.jpg: no such file"):
            list(PascalVoc(tree.root))
