# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from road_kd_training.datasets.kitti_semantics import KittiSemantics
from road_kd_training.errors import DatasetError

CALIBRATION = """calib_time: 09-Jan-2012 13:57:47
P_rect_02: 721.5 0 609.5 44.5 0 722.5 172.5 0.2 0 0 1 0.003
P_rect_03: 721.5 0 609.5 -339.5 0 722.5 172.5 2.2 0 0 1 0.003
"""


@pytest.fixture
def tree(build):
    return build("kitti_semantics")


@pytest.fixture
def training(tree):
    return tree.root / "training"


def calibrate(training, content=CALIBRATION):
    (training / "calib_cam_to_cam").mkdir()
    for number in range(4):
        (training / f"calib_cam_to_cam/{number:06d}.txt").write_text(content)


class TestSplit:
    @pytest.fixture
    def names(self, tmp_path):
        """Split → names of a folder with the benchmark's 200 frames."""
        for folder in ("image_2", "semantic"):
            (tmp_path / "training" / folder).mkdir(parents=True)
            for number in range(200):
                (tmp_path / "training" / folder / f"{number:06d}_10.png").touch()
        splits = ("train", "validation", "all")
        return {split: [name for name, _, _ in KittiSemantics(tmp_path, split).frames] for split in splits}

    def test_150_frames_train_and_50_validate(self, names):
        assert len(names["train"]) == 150
        assert len(names["validation"]) == 50
        assert sorted(names["train"] + names["validation"]) == names["all"]

    def test_the_draw_never_changes(self, names):
        assert [int(name[:6]) for name in names["validation"][:8]] == [5, 10, 17, 22, 23, 24, 33, 39]

    def test_too_few_frames_for_a_split_are_refused(self, tree):
        for folder in ("image_2", "semantic"):
            for number in range(3):
                (tree.root / "training" / folder / f"{number:06d}_10.png").unlink()
        with pytest.raises(DatasetError, match="kitti_semantics: split 'validation' of .* is empty"):
            KittiSemantics(tree.root, "validation")


class TestDepth:
    @pytest.mark.parametrize("folder", ["disparity", "disp_occ_0"])
    def test_disparity_becomes_depth_by_the_calibration(self, folder, tree, training, write):
        for number in range(4):
            write.gray(training / f"{folder}/{number:06d}_10.png", write.grid(0, 256, 512, 128, 768, 65280), np.uint16)
        calibrate(training)
        sample = KittiSemantics(tree.root, "all")[1]
        # f B = 44.5 + 339.5 = 384 px m; the disparities are 0 (invalid), 1, 2, 0.5, 3 and 255 px.
        np.testing.assert_allclose(sample.depth_m[0], [0, 384, 192, 768, 128, 384 / 255], rtol=1e-6)
        assert sample.meta["depth_source"] == folder
        assert sample.meta["intrinsics"].fx == 721.5
        assert sample.meta["intrinsics"].cy == 172.5

    def test_a_depth_folder_is_meters_and_comes_first(self, tree, training, write):
        (training / "disp_occ_0").mkdir()
        for number in range(4):
            write.gray(training / f"depth/{number:06d}_10.png", write.grid(0, 256, 384, 1, 5120, 65535), np.uint16)
        sample = KittiSemantics(tree.root, "all")[1]
        assert sample.depth_m[0].tolist() == [0, 1, 1.5, 1 / 256, 20, 65535 / 256]
        assert sample.meta == {"depth_source": "depth"}

    def test_disparity_without_calibration_says_how_to_do_without(self, tree, training, write):
        write.gray(training / "disparity/000001_10.png", np.ones((4, 6)), np.uint16)
        with pytest.raises(DatasetError, match=r"000001\.txt: no such file, and .*000001_10\.png needs it: fetch the"):
            KittiSemantics(tree.root, "all")[1]

    @pytest.mark.parametrize("content", ["P_rect_02: 1 2 3\n", "P_rect_02: a b\nP_rect_03: c\n", "no colon\n"])
    def test_a_damaged_calibration_says_what_is_expected(self, content, tree, training):
        calibrate(training, content)
        with pytest.raises(DatasetError, match=r"00000\d\.txt: .*expected lines 'P_rect_02:' and 'P_rect_03:'"):
            KittiSemantics(tree.root, "all")[0]

    def test_a_missing_depth_is_named(self, tree, training):
        (training / "depth").mkdir()
        with pytest.raises(DatasetError, match=r"depth/000000_10\.png: no such file"):
            KittiSemantics(tree.root, "all")[0]
