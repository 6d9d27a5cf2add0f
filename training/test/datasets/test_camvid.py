# SPDX-License-Identifier: Apache-2.0
import pytest

from road_kd_training.datasets.camvid import CLASS_OF_COLOR, GROUPS, TAXONOMY, CamVid, split_of
from road_kd_training.errors import DatasetError


class TestClasses:
    def test_the_32_classes_have_32_colors(self):
        assert len(CLASS_OF_COLOR) == 32
        assert sum(len(members) for members in GROUPS.values()) == 31

    def test_every_class_of_segnet_has_a_group_in_the_same_order(self):
        assert list(GROUPS) == TAXONOMY.names

    def test_lane_markings_are_road_and_void_is_ignored(self):
        assert TAXONOMY.names[CLASS_OF_COLOR[128, 0, 192]] == "Road"
        assert CLASS_OF_COLOR[0, 0, 0] == 255


class TestSplitOfTheOriginalRelease:
    @pytest.mark.parametrize(
        ("name", "split"),
        [
            ("0001TP_006690", "train"), ("0001TP_008520", "train"), ("0001TP_008550", "test"),
            ("0001TP_010380", "test"), ("0006R0_f00930", "train"), ("0006R0_f03930", "train"),
            ("0016E5_00390", "train"), ("0016E5_07959", "validation"), ("0016E5_08159", "validation"),
            ("0016E5_08640", "train"), ("Seq05VD_f00000", "test"), ("Seq05VD_f05100", "test"),
        ],
    )  # fmt: skip
    def test_the_first_and_last_frames_of_each_list(self, name, split):
        assert split_of(name) == split

    def test_only_frames_of_the_split_are_read(self, build):
        root = build("camvid_original").root
        assert [sample.id for sample in CamVid(root)] == ["0001TP_006690"]
        assert [sample.id for sample in CamVid(root, "validation")] == ["0016E5_07959"]

    def test_an_empty_split_is_refused(self, build):
        with pytest.raises(DatasetError, match=r"camvid: split 'test' of .* is empty\.\n\n    ROOT"):
            CamVid(build("camvid_original").root, "test")

    def test_a_name_that_is_no_frame_is_refused(self, build, write):
        root = build("camvid_original").root
        write.image(root / "701_StillsRaw_full/holiday.png")
        write.colors(root / "LabeledApproved_full/holiday_L.png", [[(0, 0, 0)]])
        with pytest.raises(DatasetError, match="'holiday' is no frame of the original release, expected e.g. 0016E5"):
            CamVid(root)


def test_a_missing_split_of_segnets_release_prints_both_trees(build):
    with pytest.raises(DatasetError, match=r"no \*\.png below .*/test\.(.|\n)*trainannot(.|\n)*701_StillsRaw_full"):
        CamVid(build("camvid").root, "test")
