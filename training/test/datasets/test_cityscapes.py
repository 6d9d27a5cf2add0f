# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from road_kd_training.datasets.cityscapes import LABEL_IDS, TAXONOMY, Cityscapes
from road_kd_training.errors import DatasetError


@pytest.fixture
def tree(build):
    return build("cityscapes")


@pytest.fixture
def stereo_tree(tree, write):
    """With disparity and calibration of the first training frame."""
    stem = tree.root / "disparity/train/aachen" / f"{tree.id}_disparity.png"
    write.gray(stem, write.grid(0, 1, 257, 513, 32769, 65535), np.uint16)
    camera = tree.root / "camera/train/aachen" / f"{tree.id}_camera.json"
    camera.parent.mkdir(parents=True)
    calibration = {
        "extrinsic": {"baseline": 0.25},
        "intrinsic": {"fx": 2000.0, "fy": 2010.0, "u0": 1000.5, "v0": 500.5},
    }
    camera.write_text(json.dumps(calibration))
    return tree, stem, camera


class TestLabelIds:
    def test_every_train_id_has_its_label_id(self):
        ids = {
            "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19,
            "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26,
            "truck": 27, "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33,
        }  # fmt: skip
        assert {TAXONOMY.names[LABEL_IDS[raw]]: raw for raw in range(256) if LABEL_IDS[raw] < 19} == ids

    def test_the_fifteen_void_ids_and_the_license_plate_are_ignored(self):
        void = [0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30, 255]
        assert np.flatnonzero(LABEL_IDS == 255).tolist() == void


class TestSplits:
    def test_train_and_val_are_the_folders(self, tree):
        assert len(Cityscapes(tree.root)) == 2
        assert [sample.id for sample in Cityscapes(tree.root, "validation")] == ["frankfurt_000000_000001"]

    def test_a_label_without_image_is_named(self, tree):
        tree.image.unlink()
        with pytest.raises(DatasetError, match=r"aachen_000000_000019_gtFine_labelIds\.png: this label has no image"):
            Cityscapes(tree.root)


class TestDepth:
    def test_disparity_becomes_depth_by_focal_length_and_baseline(self, stereo_tree):
        tree = stereo_tree[0]
        sample = Cityscapes(tree.root)[0]
        # f B = 500 px m; stored 257 is 1 px, 513 2 px, 32769 128 px, 65535 255.9921875 px; 1 is infinitely far.
        np.testing.assert_allclose(sample.depth_m[0], [0, 0, 500, 250, 3.90625, 500 / 255.9921875], rtol=1e-6)
        intrinsics = sample.meta["intrinsics"]
        assert (intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy) == (2000, 2010, 1000.5, 500.5)

    def test_a_missing_disparity_is_named(self, stereo_tree):
        tree, disparity, _ = stereo_tree
        disparity.unlink()
        with pytest.raises(DatasetError, match=r"aachen_000000_000019_disparity\.png: no such file"):
            Cityscapes(tree.root)[0]

    def test_a_missing_calibration_says_how_to_do_without(self, stereo_tree):
        tree, _, camera = stereo_tree
        camera.unlink()
        message = r"_camera\.json is missing: fetch the camera archive too, or move disparity/ away(.|\n)*ROOT/"
        with pytest.raises(DatasetError, match=message):
            Cityscapes(tree.root)[0]

    @pytest.mark.parametrize("content", ["{", "[]", '{"intrinsic": {"fx": 1}}'])
    def test_a_damaged_calibration_says_what_is_expected(self, content, stereo_tree):
        tree, _, camera = stereo_tree
        camera.write_text(content)
        with pytest.raises(
            DatasetError, match=r"_camera\.json(: not a camera file: .*expected intrinsic\.\{fx,fy,u0,v0\}| is no JSON)"
        ):
            Cityscapes(tree.root)[0]

    def test_a_disparity_of_8_bits_is_refused(self, stereo_tree, write):
        tree, disparity, _ = stereo_tree
        write.gray(disparity, np.ones((4, 6)))
        with pytest.raises(DatasetError, match=r"disparity\.png: got uint8 \(4, 6\), expected a uint16 gray image"):
            Cityscapes(tree.root)[0]

    def test_a_disparity_of_another_size_is_refused(self, stereo_tree, write):
        tree, disparity, _ = stereo_tree
        write.gray(disparity, np.ones((2, 3)), np.uint16)
        with pytest.raises(DatasetError, match=r"disparity is \(2, 3\) \(H, W\), expected \(4, 6\)"):
            Cityscapes(tree.root)[0]
