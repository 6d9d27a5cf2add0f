# SPDX-License-Identifier: Apache-2.0
import cv2
import numpy as np
import pytest
import torch

from road_kd_seg.preprocess.encodings import encode_depth
from road_kd_seg.preprocess.input_spec import DepthEncoding
from road_kd_training.datasets import build_dataset
from road_kd_training.datasets.stereo_pothole import (
    INVERSE_DEPTH_PER_UNIT,
    POTHOLES,
    StereoPothole,
    rebuild_depth,
    threshold_baseline,
    validation_names,
)
from road_kd_training.errors import DatasetError

SIZE = (72, 128)


@pytest.fixture
def tree(stereo_tree):
    return stereo_tree


class TestSplit:
    def test_ten_frames_are_kept_for_validation(self):
        assert len(validation_names()) == 10

    def test_no_pothole_is_on_both_sides(self):
        held_out = validation_names()
        for series, first, last in POTHOLES:
            frames = {f"{series}_{number:02d}" for number in range(first, last + 1)}
            assert frames <= held_out or not frames & held_out

    def test_the_splits_share_no_frame_and_miss_none(self, tree):
        names = {split: set(StereoPothole(tree, split).names) for split in ("train", "validation", "all")}
        assert names["train"] | names["validation"] == names["all"]
        assert not names["train"] & names["validation"]
        assert names["validation"] == {"d1_06", "d2_09"}


class TestSamples:
    def test_labels_are_road_and_negative_obstacle(self, tree):
        sample = StereoPothole(tree, "all")[0]
        assert sample.rgb.shape == (*SIZE, 3)
        assert set(np.unique(sample.label)) == {1, 3}
        assert (sample.label[40:50, 30:60] == 3).all()
        assert (sample.depth_m[0, :10] == 0).all()

    def test_the_plane_residual_gives_tdisp_back(self, tree):
        sample = StereoPothole(tree, "all")[0]
        encoded = encode_depth(torch.from_numpy(sample.depth_m)[None], DepthEncoding("plane_residual", high=0.1))
        pothole, road = encoded[0, 0, 40:50, 30:60], encoded[0, 0, 55:]
        assert pothole.mean().item() * 0.1 == pytest.approx(-17_000 * INVERSE_DEPTH_PER_UNIT, rel=0.05)
        assert abs(road.mean().item()) * 0.1 < 0.001

    def test_what_leaves_the_plane_can_be_scaled(self, tree):
        samples = [StereoPothole(tree, "all", tdisp_scale=scale)[0] for scale in (1.0, 1.4)]
        depths = torch.stack([torch.from_numpy(sample.depth_m) for sample in samples])
        pothole = encode_depth(depths, DepthEncoding("plane_residual", high=0.1))[:, 0, 40:50, 30:60].mean((1, 2))
        assert (pothole[1] / pothole[0]).item() == pytest.approx(1.4, rel=0.03)

    def test_a_frame_without_any_disparity_has_no_depth(self):
        assert not rebuild_depth(np.zeros((4, 6), np.uint16)).any()

    def test_one_threshold_separates_a_clean_pothole(self, tree):
        baseline = threshold_baseline(StereoPothole(tree, "all"))
        assert baseline["all"]["iou"] == pytest.approx(1.0, abs=1e-3)
        assert baseline["validation"]["iou"] == pytest.approx(1.0, abs=1e-3)
        assert "over all 4 frames" in baseline["description"]


class TestBadTrees:
    def test_an_empty_folder_prints_the_expected_tree(self, tmp_path):
        with pytest.raises(DatasetError, match=r"no rgb/\*.jpg below .*\n\n    ROOT/rgb/NAME.jpg"):
            StereoPothole(tmp_path)

    def test_a_truncated_image_is_named(self, tree):
        path = tree / "tdisp" / "d1_01.png"
        path.write_bytes(path.read_bytes()[:40])
        with pytest.raises(DatasetError, match=r"d1_01.png: not a readable image"):
            StereoPothole(tree, "all")[0]

    def test_an_8_bit_disparity_is_refused(self, tree):
        cv2.imwrite(str(tree / "tdisp" / "d1_01.png"), np.zeros(SIZE, np.uint8))
        with pytest.raises(DatasetError, match="expected a uint16 gray image"):
            StereoPothole(tree, "all")[0]

    def test_a_label_value_out_of_range_is_refused(self, tree):
        cv2.imwrite(str(tree / "label" / "d1_01.png"), np.full(SIZE, 7, np.uint8))
        with pytest.raises(DatasetError, match="values other than 0"):
            StereoPothole(tree, "all")[0]

    def test_a_missing_label_is_named(self, tree):
        (tree / "label" / "d1_01.png").unlink()
        with pytest.raises(DatasetError, match=r"label/d1_01.png: no such file"):
            StereoPothole(tree, "all")[0]

    def test_an_unknown_split_lists_the_known_ones(self, tree):
        with pytest.raises(DatasetError, match="use one of train, validation, all"):
            build_dataset("stereo_pothole", root=tree, split="test")

    def test_an_empty_split_is_refused(self, tree):
        for name in validation_names():
            for path in tree.glob(f"*/{name}.*"):
                path.unlink()
        with pytest.raises(DatasetError, match=r"split 'validation' of .* is empty"):
            StereoPothole(tree, "validation")

    def test_unknown_datasets_and_options_are_refused(self, tree):
        with pytest.raises(DatasetError, match="dataset 'potholes' is unknown: use one of"):
            build_dataset("potholes")
        with pytest.raises(DatasetError, match="option 'color' is unknown: .*use one of root"):
            build_dataset("stereo_pothole", root=tree, color=True)
