# SPDX-License-Identifier: Apache-2.0
import os

import numpy as np
import pytest

from road_kd_seg.taxonomy import Role
from road_kd_training.datasets.common.classes import taxonomy_of
from road_kd_training.datasets.common.depth import disparity_to_depth, read_uint16
from road_kd_training.datasets.common.folder import Layout, read_raw_label
from road_kd_training.datasets.common.sample import read_json, read_rgb
from road_kd_training.datasets.common.splits import drawn
from road_kd_training.datasets.culane import read_lanes
from road_kd_training.errors import DatasetError

LAYOUT = Layout("any", "tree")


class TestDrawn:
    def test_the_order_depends_on_names_and_seed_alone(self):
        assert drawn("abcdef", 0) == drawn("fedcba", 0) == ["f", "d", "a", "c", "b", "e"]
        assert drawn("abcdef", 1) != drawn("abcdef", 0)

    def test_a_further_name_moves_no_other(self):
        assert [name for name in drawn("abcdefg", 3) if name != "g"] == drawn("abcdef", 3)


class TestTaxonomyOf:
    def test_ids_follow_the_order_and_classes_without_role_are_background(self):
        taxonomy = taxonomy_of({"sky": (1, 2, 3), "road": (4, 5, 6), "car": (7, 8, 9)}, ["road"], ["car"])
        assert [(c.id, c.name, c.role) for c in taxonomy.classes] == [
            (0, "sky", Role.BACKGROUND),
            (1, "road", Role.DRIVABLE),
            (2, "car", Role.OBSTACLE),
        ]

    def test_a_role_for_a_class_that_is_not_listed_is_refused(self):
        with pytest.raises(DatasetError, match="classes bus, lane have a role and are not in the list of classes"):
            taxonomy_of({"road": (0, 0, 0)}, ["road", "lane"], ["bus"])


class TestDepth:
    def test_depth_is_focal_length_times_baseline_by_disparity(self):
        disparity_px = np.array([[0, -1, 0.5, 4]], np.float32)
        depth_m = disparity_to_depth(disparity_px, 100.0)
        assert depth_m.dtype == np.float32
        assert depth_m.tolist() == [[0, 0, 200, 25]]

    def test_16_bits_are_kept(self, tmp_path, write):
        path = write.gray(tmp_path / "depth.png", [[0, 1], [256, 65535]], np.uint16)
        assert read_uint16(path).tolist() == [[0, 1], [256, 65535]]

    def test_8_bits_and_colors_are_refused(self, tmp_path, write):
        with pytest.raises(DatasetError, match=r"depth\.png: got uint8 \(1, 2\), expected a uint16 gray image"):
            read_uint16(write.gray(tmp_path / "depth.png", [[1, 2]]))
        with pytest.raises(DatasetError, match=r"color\.png: got uint8 \(4, 6, 3\), expected a uint16 gray image"):
            read_uint16(write.image(tmp_path / "color.png"))

    def test_a_truncated_image_is_named(self, tmp_path, write):
        path = write.gray(tmp_path / "depth.png", np.arange(24).reshape(4, 6), np.uint16)
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(DatasetError, match=r"depth\.png: not a readable image"):
            read_uint16(path)


class TestHostileText:
    @pytest.mark.parametrize(
        "make",
        [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.mkdir()],
        ids=["pipe", "device", "folder"],
    )
    @pytest.mark.parametrize("read", [LAYOUT.text, LAYOUT.lines, read_json, read_lanes], ids=lambda read: read.__name__)
    def test_what_is_no_regular_file_keeps_nobody_waiting(self, tmp_path, make, read):
        make(tmp_path / "train.txt")
        with pytest.raises(DatasetError, match=r"train\.txt (is no regular file|cannot be read \(Is a directory\))"):
            read(tmp_path / "train.txt")

    @pytest.mark.parametrize("read", [LAYOUT.text, LAYOUT.lines, read_json, read_lanes], ids=lambda read: read.__name__)
    def test_what_is_larger_than_any_list_is_not_read(self, tmp_path, read):
        with (tmp_path / "train.txt").open("wb") as file:
            file.truncate(1 << 40)  # a sparse file: takes no room
        with pytest.raises(DatasetError, match=r"train\.txt has 1099511627776 bytes, expected at most 64000000"):
            read(tmp_path / "train.txt")

    @pytest.mark.parametrize("opening", ["[", '{"a": '])
    def test_json_that_is_nested_without_end_is_no_json(self, tmp_path, opening):
        (tmp_path / "a.json").write_text(opening * 200_000)
        with pytest.raises(DatasetError, match="nested too deeply"):
            read_json(tmp_path / "a.json")


class TestListedNames:
    """What a list names lies below the dataset's root, or is not read."""

    def test_a_name_below_the_root_is_the_file(self, tmp_path):
        assert LAYOUT.below(tmp_path, "a/b.png") == tmp_path / "a/b.png"

    @pytest.mark.parametrize(
        "name",
        ["/etc/hostname", "../b.png", "a/../../b.png", "a/../b.png", "out/b.png", "b\0.png", "\ud800.png"],
        ids=["absolute", "above", "above later", "back", "symlink", "NUL", "surrogate"],
    )
    def test_a_name_that_leads_elsewhere_is_refused(self, tmp_path, name):
        root = tmp_path / "root"
        root.mkdir()
        (root / "a").mkdir()
        (root / "out").symlink_to(tmp_path)
        (tmp_path / "b.png").touch()
        with pytest.raises(DatasetError, match=r"is listed, which is no file below .*root") as caught:
            LAYOUT.below(root, name)
        assert str(caught.value).partition("\n")[0].isprintable()

    @pytest.mark.parametrize("read", [read_rgb, read_raw_label])
    def test_a_name_longer_than_any_file_has_is_no_file(self, tmp_path, read):
        with pytest.raises(DatasetError, match="no such file: the dataset is incomplete"):
            read(LAYOUT.below(tmp_path, "x" * 5000))

    def test_a_root_that_is_a_symlink_itself_is_fine(self, tmp_path):
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        assert LAYOUT.below(tmp_path / "link", "b.png") == tmp_path / "link/b.png"
