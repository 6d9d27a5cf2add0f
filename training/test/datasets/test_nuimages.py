# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from road_kd_training.datasets.nuimages import TAXONOMY, NuImages
from road_kd_training.errors import DatasetError


@pytest.fixture
def tree(build):
    return build("nuimages")


def edit(path, change):
    rows = json.loads(path.read_text())
    change(rows)
    path.write_text(json.dumps(rows))


class TestClasses:
    def test_the_object_categories_are_alphabetical_from_1_to_23(self):
        objects = TAXONOMY.names[1:24]
        assert objects == sorted(objects)
        assert TAXONOMY.names[24:] == ["flat.driveable_surface", "vehicle.ego"]


class TestSamples:
    def test_an_image_without_masks_is_background(self, tree):
        sample = next(sample for sample in NuImages(tree.root) if sample.id == "two")
        assert not sample.label.any()
        assert sample.meta == {"camera": "CAM_BACK"}

    @pytest.mark.parametrize(
        ("split", "ids"), [("train", {"one", "two"}), ("validation", {"three", "four"}), ("mini", {"five", "six"})]
    )
    def test_every_version_is_read_from_its_folder(self, split, ids, tree):
        assert {sample.id for sample in NuImages(tree.root, split)} == ids

    def test_depth_of_ones_own_is_meters(self, tree, write):
        for file in ("CAM_FRONT/one", "CAM_BACK/two"):
            write.gray(tree.root / f"depth/{file}.png", write.grid(0, 256, 512, 128, 1, 65535), np.uint16)
        assert NuImages(tree.root)[0].depth_m[0].tolist() == [0, 1, 2, 0.5, 1 / 256, 65535 / 256]


class TestLixSplit:
    @pytest.fixture
    def many(self, tmp_path, write):
        """850 key frames, of which 820 have a mask."""
        frames = [(f"{i:04d}", f"samples/CAM_FRONT/{i:04d}.jpg") for i in range(850)]
        objects = [(token, "c0", f"o{token}", write.rle("<84")) for token, _ in frames[:820]]
        write.nuimages(tmp_path / "v1.0-train", frames, [], objects)
        return tmp_path

    def test_800_annotated_images_are_split_7_to_3(self, many):
        names = {
            split: {file for file, _ in NuImages(many, f"lix_{split}").frames} for split in ("train", "validation")
        }
        assert (len(names["train"]), len(names["validation"])) == (560, 240)
        assert not names["train"] & names["validation"]
        assert max(names["train"] | names["validation"]) <= "samples/CAM_FRONT/0819.jpg"

    def test_the_draw_never_changes(self, many):
        frames = NuImages(many, "lix_validation").frames
        assert [file[-8:-4] for file, _ in frames[:5]] == ["0003", "0006", "0009", "0011", "0016"]

    def test_too_few_annotated_images_are_refused(self, tree):
        with pytest.raises(DatasetError, match=r"has 1 annotated images, expected at least 800 for split 'lix_train'"):
            NuImages(tree.root, "lix_train")


class TestBadTables:
    def test_a_missing_table_is_named(self, tree):
        (tree.root / "v1.0-train/surface_ann.json").unlink()
        with pytest.raises(DatasetError, match=r"surface_ann\.json is missing(.|\n)*ROOT/v1\.0"):
            NuImages(tree.root)

    def test_a_table_without_a_column_says_what_is_expected(self, tree):
        edit(tree.root / "v1.0-train/sample.json", lambda rows: rows[1].pop("key_camera_token"))
        with pytest.raises(DatasetError, match=r"sample\.json: expected a list of records with key_camera_token"):
            NuImages(tree.root)

    def test_an_empty_table_is_an_empty_split(self, tree):
        edit(tree.root / "v1.0-train/sample.json", lambda rows: rows.clear())
        with pytest.raises(DatasetError, match="nuimages: split 'train' of .* is empty"):
            NuImages(tree.root)

    def test_a_key_frame_that_is_nowhere_is_counted(self, tree):
        edit(tree.root / "v1.0-train/sample_data.json", lambda rows: rows.pop(0))
        with pytest.raises(DatasetError, match=r"sample_data\.json lacks 1 camera key frames"):
            NuImages(tree.root)

    def test_an_unknown_category_is_named(self, tree):
        edit(tree.root / "v1.0-train/category.json", lambda rows: rows[0].update(name="vehicle.boat"))
        with pytest.raises(DatasetError, match=r"object_ann\.json, token a: category 'vehicle\.boat' is unknown"):
            NuImages(tree.root)


class TestBadMasks:
    @pytest.mark.parametrize("mask", ["<84", {"size": [4, 6]}, {"size": [4], "counts": ""}])
    def test_a_mask_of_another_form_is_refused(self, mask, tree):
        edit(tree.label, lambda rows: rows[0].update(mask=mask))
        with pytest.raises(
            DatasetError, match=r"object_ann\.json, token b: mask lacks size \[height, width\] or counts"
        ):
            NuImages(tree.root)

    def test_a_mask_of_another_size_is_refused(self, tree, write):
        edit(tree.label, lambda rows: rows[0].update(mask=write.rle("<84", (6, 4))))
        with pytest.raises(DatasetError, match=r"token b: mask is \(6, 4\) \(H, W\), expected \(4, 6\) as its image"):
            NuImages(tree.root)[0]

    @pytest.mark.parametrize(("text", "message"), [("<8", "cover 20 pixels, expected 4 x 6"), ("<8d", "breaks off")])
    def test_a_mask_that_was_cut_short_is_refused(self, text, message, tree, write):
        edit(tree.label, lambda rows: rows[0].update(mask=write.rle(text)))
        with pytest.raises(DatasetError, match=rf"token b: mask cannot be decoded: .*{message}"):
            NuImages(tree.root)[0]

    def test_counts_that_are_no_base64_are_refused(self, tree):
        edit(tree.label, lambda rows: rows[0]["mask"].update(counts="<84"))
        with pytest.raises(DatasetError, match=r"token b: mask cannot be decoded"):
            NuImages(tree.root)[0]
