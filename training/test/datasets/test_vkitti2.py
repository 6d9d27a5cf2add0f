# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from road_kd_training.datasets.vkitti2 import TAXONOMY, VirtualKitti2
from road_kd_training.errors import DatasetError


@pytest.fixture
def tree(build):
    return build("vkitti2")


@pytest.fixture
def many(tmp_path):
    """Names of 720 frames of two scenes; nothing is in the files."""
    for scene, count in (("Scene01", 500), ("Scene20", 220)):
        for kind, file in (("rgb", "rgb_{:05d}.jpg"), ("classSegmentation", "classgt_{:05d}.png")):
            folder = tmp_path / scene / "clone/frames" / kind / "Camera_0"
            folder.mkdir(parents=True)
            for number in range(count):
                (folder / file.format(number)).touch()
    return tmp_path


class TestSplit:
    def test_700_frames_are_split_5_to_2_as_in_lix(self, many):
        train, validation = (VirtualKitti2(many, split).names for split in ("train", "validation"))
        assert (len(train), len(validation)) == (500, 200)
        assert not set(train) & set(validation)
        assert VirtualKitti2(many, "all").names == sorted(train + validation)

    def test_the_draw_never_changes(self, many):
        numbers = [
            int(name.removeprefix("Scene01/clone/Camera_0/")) for name in VirtualKitti2(many, "validation").names[:5]
        ]
        assert numbers == [1, 2, 9, 14, 26]

    def test_all_frames_can_be_asked_for(self, many):
        assert len(VirtualKitti2(many, "all", num_frames=None)) == 720

    def test_too_few_frames_say_what_to_do(self, tree):
        message = (
            r"has 7 frames of those asked for, expected 700: fetch the other scenes, name more variants, or say num_f"
        )
        with pytest.raises(DatasetError, match=message):
            VirtualKitti2(tree.root)

    def test_an_empty_split_is_refused(self, tree):
        with pytest.raises(DatasetError, match="vkitti2: split 'validation' of .* is empty"):
            VirtualKitti2(tree.root, "validation", num_frames=1)


class TestVariants:
    def test_variants_and_cameras_add_up(self, tree, write):
        frames = tree.root / "Scene02/fog/frames"
        for camera in ("Camera_0", "Camera_1"):
            write.image(frames / f"rgb/{camera}/rgb_00000.jpg")
            write.colors(frames / f"classSegmentation/{camera}/classgt_00000.png", np.zeros((4, 6, 3)))
        options = {"variants": ["fog"], "cameras": ["Camera_0", "Camera_1"], "num_frames": None}
        names = VirtualKitti2(tree.root, "all", **options).names
        assert names == ["Scene02/fog/Camera_0/00000", "Scene02/fog/Camera_1/00000"]

    def test_an_unknown_variant_lists_the_known_ones(self, tree):
        with pytest.raises(DatasetError, match=r"variant 'snow' is unknown: use some of 15-deg-left, .*, sunset"):
            VirtualKitti2(tree.root, variants=["snow"])

    def test_a_variant_that_was_not_fetched_is_named(self, tree):
        with pytest.raises(DatasetError, match=r"no Scene\*/rain/frames/rgb/Camera_0/rgb_\*\.jpg below"):
            VirtualKitti2(tree.root, variants=["rain"])


class TestDepth:
    def test_a_missing_depth_is_named(self, tree):
        (tree.root / "Scene01/clone/frames/depth/Camera_0/depth_00002.png").unlink()
        with pytest.raises(DatasetError, match=r"depth_00002\.png: no such file"):
            VirtualKitti2(tree.root, "all", num_frames=7)[2]

    def test_the_camera_is_known(self, tree):
        intrinsics = VirtualKitti2(tree.root, "all", num_frames=7)[0].meta["intrinsics"]
        assert (intrinsics.fx, intrinsics.cx, intrinsics.width) == (725.0087, 620.5, 1242)


def test_the_classes_follow_colors_txt():
    assert TAXONOMY.names[5] == "Road"
    assert TAXONOMY.classes[5].color == (100, 60, 100)
    assert TAXONOMY.names[-1] == "Undefined"
