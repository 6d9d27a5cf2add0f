# SPDX-License-Identifier: Apache-2.0
"""CPKD, Section IV: few labels teach a network that labels the rest."""

import json

import numpy as np
import pytest

from road_kd_seg.segmenter import Segmenter
from road_kd_training.config import DataConfig
from road_kd_training.datasets import build_dataset
from road_kd_training.experiments import find_experiment
from road_kd_training.experiments.labeling import SUMMARY, label_frames
from road_kd_training.experiments.plan import make_plan


def plan_at(scale, out="out"):
    return make_plan(find_experiment("cpkd/labeling"), scale, out=out, data_root="data")


class TestPlan:
    def test_the_labeler_learns_from_few_labels_and_the_other_dataset(self):
        """ "a training set with 245 pairs of images [...] we add all the images in the pothole dataset Pothole-600 to
        the training set" (shortened). The 245 are what the release calls validation.
        """
        labeler = plan_at("full").runs[0]
        assert [(one.dataset, one.options["split"]) for one in labeler.config.train] == [
            ("no4k", "validation"),
            ("pothole600", "all"),
        ]
        assert labeler.config.network.name == "mafnet_r34"  # "We adopt MAFNet which is designed for Pothole-600"

    def test_it_labels_the_frames_that_nobody_labeled(self):
        """ "to generate negative-obstacle masks for the unlabeled 3,000 pairs of images" """
        run = next(run for run in plan_at("full").runs if run.row.key == "generated")
        assert [(one.dataset, one.options["split"]) for one in run.to_label] == [("no4k", "train")]
        assert run.config.train == [
            DataConfig("frames", {"root": str(run.labeler.folder / "labels_0"), "part": "labeled"})
        ]

    def test_unsure_labels_are_another_run(self):
        prints = {run.row.key: run.fingerprint for run in plan_at("full").runs}
        assert prints["generated"] != prints["generated_sure"]

    def test_on_scenes_few_are_labeled_and_the_others_are_those_that_get_labels(self):
        plan = plan_at("reduced")
        run = next(run for run in plan.runs if run.row.key == "generated")
        few = next(run for run in plan.runs if run.row.key == "few")
        assert few.config.train[0].options["num_scenes"] == 40
        assert run.to_label[0].options["num_scenes"] == 360


class TestLabelFrames:
    @pytest.fixture(scope="class")
    def labeled(self, tmp_path_factory):
        out = tmp_path_factory.mktemp("labels")
        (out / "scenes").mkdir()
        source = DataConfig("synthetic", {"root": str(out / "scenes"), "num_scenes": 2})
        label_frames(Segmenter.from_bundle("road_student", device="cpu"), [source], out / "made", 0.8)
        return out / "made", source

    def test_the_folder_is_a_dataset_with_confidence_and_a_contact_sheet(self, labeled):
        folder, _ = labeled
        frames = build_dataset("frames", root=folder, part="labeled")
        assert len(frames) == 2
        assert frames[0].label is not None
        assert frames[0].depth_m is not None
        assert len(list((folder / "confidence").glob("*.png"))) == 2
        assert (folder / "contact_sheet.png").is_file()
        assert json.loads((folder / SUMMARY).read_text())["min_confidence"] == 0.8

    def test_labels_are_the_networks_not_the_datasets(self, labeled):
        folder, source = labeled
        made = build_dataset("frames", root=folder)[0].label
        given = build_dataset(source.dataset, **source.options)[0].label
        assert (made == 255).any()
        assert np.mean(made[made != 255] != given[made != 255]) > 0

    def test_what_is_complete_is_left_alone(self, labeled):
        folder, source = labeled
        before = (folder / SUMMARY).stat().st_mtime_ns
        label_frames(Segmenter.from_bundle("road_student", device="cpu"), [source], folder, 0.8)
        assert (folder / SUMMARY).stat().st_mtime_ns == before
