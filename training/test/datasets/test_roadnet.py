# SPDX-License-Identifier: Apache-2.0
import cv2
import numpy as np
import pytest

from road_kd_training.datasets import build_dataset
from road_kd_training.datasets.common.cut_roadnet import PATCH, cut_patches, grid
from road_kd_training.datasets.common.folder import Layout
from road_kd_training.datasets.common.labeled import choose_part, draw_labeled
from road_kd_training.datasets.roadnet import RoadNet, read_segment
from road_kd_training.errors import DatasetError

RED, WHITE = (0, 0, 255), (255, 255, 255)  # blue first


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def segment(height=16, width=16):
    """A road, four columns wide."""
    image = np.full((height, width, 3), WHITE, np.uint8)
    image[:, 4:8] = RED
    return image


@pytest.fixture
def patches(tmp_path):
    for prefix, count in (("train", 10), ("test", 3)):
        for number in range(count):
            write(tmp_path / f"{prefix}_image" / f"{number}.png", np.full((16, 16, 3), number, np.uint8))
            write(tmp_path / f"{prefix}_segment" / f"{number}.png", segment())
    return tmp_path


class TestSplits:
    def test_the_releases_test_patches_are_validation(self, patches):
        assert [len(RoadNet(patches, split)) for split in ("train", "validation", "all")] == [10, 3, 13]

    def test_red_is_road_and_there_is_no_depth(self, patches):
        sample = RoadNet(patches)[0]
        assert sample.depth_m is None
        assert (sample.label[:, 4:8] == 1).all()
        assert (sample.label == 1).sum() == 16 * 4

    def test_one_to_four_keeps_a_fifth_of_the_labels(self, patches):
        samples = list(RoadNet(patches, labeled=0.2))
        assert sum(sample.label is not None for sample in samples) == 2
        assert len(samples) == 10

    def test_the_parts_share_nothing_and_miss_nothing(self, patches):
        labeled, unlabeled = (RoadNet(patches, labeled=0.2, part=part) for part in ("labeled", "unlabeled"))
        assert all(sample.label is not None for sample in labeled)
        assert all(sample.label is None for sample in unlabeled)
        ids = [sample.id for part in (labeled, unlabeled) for sample in part]
        assert sorted(ids) == [str(number) for number in range(10)]

    def test_another_seed_draws_others(self, patches):
        drawn = {frozenset(s.id for s in RoadNet(patches, labeled=0.3, seed=seed, part="labeled")) for seed in (0, 1)}
        assert len(drawn) == 2


class TestDraw:
    NAMES = tuple(f"patch_{number}" for number in range(50))

    def test_a_smaller_share_is_a_subset_of_a_larger_one(self):
        few, many = draw_labeled(self.NAMES, 0.2, 3), draw_labeled(self.NAMES, 0.5, 3)
        assert sum(few) == 10
        assert all(b for a, b in zip(few, many, strict=True) if a)

    def test_the_order_of_the_names_does_not_matter(self):
        forth, back = draw_labeled(self.NAMES, 0.3, 0), draw_labeled(self.NAMES[::-1], 0.3, 0)
        assert forth == back[::-1]

    @pytest.mark.parametrize("share", [-0.1, 1.5])
    def test_a_share_beyond_0_to_1_is_refused(self, share):
        with pytest.raises(DatasetError, match="expected a share from 0 to 1"):
            draw_labeled(self.NAMES, share, 0)

    def test_unknown_and_empty_parts_are_refused(self, tmp_path):
        layout = Layout("roads", "")
        with pytest.raises(DatasetError, match="roads: part 'both' is unknown: use one of all, labeled, unlabeled"):
            choose_part(layout, "both", [True], tmp_path)
        with pytest.raises(DatasetError, match=r"roads: none of the 2 samples of .* is unlabeled"):
            choose_part(layout, "unlabeled", [True, True], tmp_path)


class TestSegment:
    def test_a_gray_mask_is_road_above_127(self, tmp_path):
        write(tmp_path / "mask.png", np.array([[0, 127, 128, 255]], np.uint8))
        assert read_segment(tmp_path / "mask.png").tolist() == [[0, 0, 1, 1]]

    def test_outlines_between_red_and_white_are_cut_in_the_middle(self, tmp_path):
        write(tmp_path / "mask.png", np.array([[(100, 100, 255), (200, 200, 255)]], np.uint8))
        assert read_segment(tmp_path / "mask.png").tolist() == [[1, 0]]

    def test_a_black_and_white_mask_in_color_is_refused(self, tmp_path):
        write(tmp_path / "mask.png", np.array([[(0, 0, 0), WHITE]], np.uint8))
        with pytest.raises(DatasetError, match=r"neither red \(road\) nor white: store masks as gray images"):
            read_segment(tmp_path / "mask.png")


class TestCut:
    @pytest.fixture
    def release(self, tmp_path):
        for number in range(1, 21):
            write(tmp_path / "release" / str(number) / "segmentation.png", segment(600, 520))
            write(tmp_path / "release" / str(number) / f"Ottawa-{number}.tif", np.full((600, 520, 3), number, np.uint8))
        return tmp_path / "release"

    def test_a_grid_covers_the_side(self):
        assert grid(512) == [0]
        assert grid(1024) == [0, 512]
        assert grid(1100) == [0, 512, 588]

    def test_regions_go_where_the_release_assigns_them(self, release, tmp_path):
        root = tmp_path / "patches"
        assert cut_patches(release, root) == {"train": 14 * 4, "test": 6 * 4}
        sample = build_dataset("roadnet", root=root, split="validation")[0]
        assert sample.id == "01_00000_00000"
        assert sample.rgb.shape == (PATCH, PATCH, 3)
        assert (sample.label[:, 4:8] == 1).all()
        with pytest.raises(DatasetError, match="train_image exists already: remove it to cut again"):
            cut_patches(release, root)

    def test_a_missing_region_is_named(self, release, tmp_path):
        (release / "2" / "Ottawa-2.tif").unlink()
        with pytest.raises(DatasetError, match=r"2/Ottawa-2\.tif: no such file"):
            cut_patches(release, tmp_path / "patches")

    def test_a_segmentation_of_another_size_is_refused(self, release, tmp_path):
        write(release / "2" / "segmentation.png", segment(512, 512))
        with pytest.raises(DatasetError, match=r"release/2: image is \(600, 520\) \(H, W\), segmentation \(512, 512\)"):
            cut_patches(release, tmp_path / "patches")


def test_an_empty_folder_prints_the_tree(tmp_path):
    with pytest.raises(DatasetError, match=r"no \*\.png below .*train_image\.\n\n    ROOT/\{train,test\}_image"):
        RoadNet(tmp_path)


def test_a_missing_label_is_named(patches):
    (patches / "train_segment" / "0.png").unlink()
    with pytest.raises(DatasetError, match=r"train_segment/0\.png: no such file"):
        RoadNet(patches)[0]
