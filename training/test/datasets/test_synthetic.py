# SPDX-License-Identifier: Apache-2.0
"""The rendered scenes as a dataset, and what it knows of wet road. Seed 21 shows a large wet patch."""

import shutil

import cv2
import numpy as np
import pytest

from road_kd_seg.synthetic import render_scene, render_wet_mask
from road_kd_training.datasets.synthetic import KINDS, SyntheticScenes, scene_path
from road_kd_training.errors import DatasetError

WET_SEED, DRY_SEED = 21, 11
ROAD, NEGATIVE_OBSTACLE, IGNORED = 1, 3, 255


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """A folder as earlier versions wrote it: no masks."""
    root = tmp_path_factory.mktemp("scenes")
    SyntheticScenes(root, 2, first_seed=WET_SEED)
    return root


@pytest.fixture
def folder(rendered, tmp_path):
    """A copy that a test may add to."""
    return shutil.copytree(rendered, tmp_path / "scenes")


class TestScenes:
    def test_a_scene_is_what_the_renderer_gives(self, rendered):
        sample = SyntheticScenes(rendered, 1, first_seed=WET_SEED)[0]
        frame, label = render_scene(WET_SEED)
        assert np.array_equal(sample.rgb, frame.rgb)
        assert np.array_equal(sample.label, label)
        assert np.allclose(sample.depth_m, frame.depth_m, atol=0.0006)

    def test_masks_are_written_only_where_they_are_asked_for(self, rendered):
        assert {path.name.split("_")[1] for path in rendered.iterdir()} == {f"{kind}.png" for kind in KINDS}

    def test_varied_scenes_lie_beside_the_plain_ones_of_the_same_seeds(self, folder):
        plain = SyntheticScenes(folder, 1, WET_SEED)[0]
        varied = SyntheticScenes(folder, 1, WET_SEED, variety=True)[0]
        frame, label = render_scene(WET_SEED, variety=True)
        assert np.array_equal(varied.rgb, frame.rgb)
        assert np.array_equal(varied.label, label)
        assert varied.id == f"{plain.id}_varied"
        assert np.array_equal(SyntheticScenes(folder, 1, WET_SEED)[0].rgb, plain.rgb)

    def test_no_scene_is_refused(self, tmp_path):
        with pytest.raises(DatasetError, match="synthetic: num_scenes is 0: ask for at least one scene"):
            SyntheticScenes(tmp_path, 0)


class TestWetRoad:
    def test_it_is_road_without_depth_or_nearly_so(self):
        wet, (frame, label) = render_wet_mask(WET_SEED), render_scene(WET_SEED)
        assert 5_000 < wet.sum() < 50_000
        assert (label[wet] == ROAD).all()
        dry = (label == ROAD) & ~wet
        assert (frame.depth_m[wet] == 0).mean() > 3 * (frame.depth_m[dry] == 0).mean()

    def test_a_dry_road_has_none(self):
        assert not render_wet_mask(DRY_SEED).any()

    def test_all_wrong_labels_every_wet_pixel_a_pothole_and_no_other(self, folder):
        true = SyntheticScenes(folder, 1, WET_SEED)[0].label
        wrong = SyntheticScenes(folder, 1, WET_SEED, wrong_wet=1.0)[0].label
        wet = render_wet_mask(WET_SEED)
        assert (wrong[wet] == NEGATIVE_OBSTACLE).all()
        assert np.array_equal(wrong[~wet], true[~wet])

    def test_only_wet_ignores_all_else(self, folder):
        label = SyntheticScenes(folder, 1, WET_SEED, only_wet=True)[0].label
        wet = render_wet_mask(WET_SEED)
        assert (label[wet] == ROAD).all()
        assert (label[~wet] == IGNORED).all()

    def test_images_that_are_there_are_not_written_again(self, folder):
        before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
        SyntheticScenes(folder, 2, WET_SEED, wrong_wet=0.5)
        assert {path: path.stat().st_mtime_ns for path in before} == before
        assert scene_path(folder, WET_SEED, "wet").is_file()

    def test_a_smaller_share_is_wrong_in_a_subset_of_the_scenes(self, tmp_path):
        # The draw needs no images: masks of one wet pixel stand for 200 scenes.
        for seed in range(200):
            for kind, value in (("label", ROAD), ("wet", 255)):
                cv2.imwrite(str(scene_path(tmp_path, seed, kind)), np.full((1, 1), value, np.uint8))

        def wrong(share):
            scenes = SyntheticScenes(tmp_path, 200, wrong_wet=share)
            labels = [scenes._label(seed, scene_path(tmp_path, seed, "label")) for seed in scenes.seeds]
            return {seed for seed, label in enumerate(labels) if label[0, 0] == NEGATIVE_OBSTACLE}

        few, many = wrong(0.3), wrong(0.6)
        assert few < many
        # 200 draws: three standard deviations are 0.1.
        assert abs(len(few) / 200 - 0.3) < 0.1
        assert abs(len(many) / 200 - 0.6) < 0.1

    @pytest.mark.parametrize("share", [-0.1, 1.5])
    def test_a_share_outside_0_to_1_is_refused(self, share, tmp_path):
        with pytest.raises(DatasetError, match=f"synthetic: wrong_wet is {share}: expected a share of the scenes"):
            SyntheticScenes(tmp_path, 1, wrong_wet=share)
