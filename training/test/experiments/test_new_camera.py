# SPDX-License-Identifier: Apache-2.0
"""Two stages: features first, then the head on a frozen encoder."""

import pytest
import torch

from road_kd_seg.networks import build_network
from road_kd_training.errors import TrainingError
from road_kd_training.experiments import find_experiment
from road_kd_training.experiments.budget import with_learning_curve
from road_kd_training.experiments.plan import make_plan
from road_kd_training.objective import Learner


@pytest.fixture
def runs(tmp_path):
    plan = make_plan(find_experiment("overview/new_camera"), "reduced", out=tmp_path, data_root=tmp_path)
    return {(run.row.key, run.seed): run for run in plan.runs}


class TestPlan:
    def test_features_are_learned_without_labels(self, runs):
        config = runs["features", 50].config
        assert config.cross_entropy == 0
        assert [method.method for method in config.distillers] == ["cwd"]
        assert config.unlabeled

    def test_the_head_starts_from_the_features_of_its_seed_and_a_frozen_encoder(self, runs):
        for seed in (50, 51, 52, 53, 54):
            run = runs["two_stage", seed]
            assert run.start is runs["features", seed]
            assert run.config.freeze == ["stages"]
            assert not run.config.distillers

    def test_both_stages_together_have_the_steps_of_one(self, runs):
        steps = [runs[key, 50].config.steps for key in ("features", "two_stage", "one_stage")]
        assert steps[0] + steps[1] == steps[2]

    def test_no_row_trains_on_the_cameras_that_are_scored(self, tmp_path):
        (tmp_path / "real_roads").mkdir()
        (tmp_path / "stereo_pothole").mkdir()
        plan = make_plan(find_experiment("overview/new_camera"), "smoke", out=tmp_path, data_root=tmp_path)
        assert list(plan.tests) == ["synthetic scenes", "real_roads", "stereo_pothole"]
        for run in plan.runs:
            assert {source.dataset for source in (*run.config.train, *run.config.unlabeled)} == {"synthetic"}

    def test_a_teacher_that_needs_depth_is_not_scored_where_there_is_none(self, tmp_path):
        (tmp_path / "real_roads").mkdir()
        (tmp_path / "stereo_pothole").mkdir()
        plan = make_plan(find_experiment("overview/new_camera"), "smoke", out=tmp_path, data_root=tmp_path)
        scored = {run.row.key: list(plan.tests_of(run)) for run in plan.runs}
        assert scored["teacher"] == ["synthetic scenes", "stereo_pothole"]
        assert scored["baseline"] == ["synthetic scenes", "real_roads", "stereo_pothole"]

    def test_other_features_make_another_run_of_the_head(self, tmp_path):
        options = {"out": tmp_path, "data_root": tmp_path, "rows": ["two_stage"], "budget": "cpu"}
        experiment = with_learning_curve(find_experiment("overview/new_camera"))
        prints = set()
        for steps in ({}, {"features": 7}):
            plan = make_plan(experiment, "smoke", **options, steps=steps)
            prints.add(next(run.fingerprint for run in plan.runs if run.row.key == "two_stage"))
        assert len(prints) == 2


class TestFreeze:
    @pytest.fixture
    def learner(self):
        torch.manual_seed(0)
        student = build_network("roadlite", 5, size="s", depth_channels=0)
        return Learner(student, {}, {}, None, freeze=["stages"])

    def test_what_is_frozen_neither_learns_nor_counts_statistics(self, learner):
        before = {name: value.clone() for name, value in learner.student.state_dict().items()}
        optimizer = torch.optim.AdamW(learner.parameters(), 0.1, weight_decay=0.1)
        learner.train()
        rgb, target = torch.rand(2, 3, 32, 64), torch.randint(0, 5, (2, 32, 64))
        learner({-1: (rgb, None)}, {}, target, 0)["cross_entropy"].backward()
        optimizer.step()
        after = learner.student.state_dict()
        frozen = [name for name in before if name.startswith("stages.")]
        assert frozen
        assert all(torch.equal(before[name], after[name]) for name in frozen)
        assert not torch.equal(before["head.weight"], after["head.weight"])

    def test_an_unknown_module_is_named(self):
        student = build_network("roadlite", 5, size="s", depth_channels=0)
        with pytest.raises(TrainingError, match="freeze: the student has no module 'stage': did you mean 'stages'"):
            Learner(student, {}, {}, None, freeze=["stage"])
