# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import time

import pytest
import torch

from road_kd_seg.networks import SegmentationNetwork
from road_kd_training.config import InputConfig
from road_kd_training.errors import TrainingError
from road_kd_training.experiments import EXPERIMENTS, budget, find_experiment
from road_kd_training.experiments.budget import (
    COSTS,
    fair_steps,
    loaded_costs,
    longer_schedules,
    with_learning_curve,
)
from road_kd_training.experiments.plan import make_plan, portable
from road_kd_training.experiments.step_cost import step_costs, step_of, storing_of

ROWS = ["cwd"]


def plan_in(folder, alike="cpu", seeds=(), steps=None):
    experiment = with_learning_curve(find_experiment("overview/methods"))
    options = {"out": folder, "data_root": folder, "rows": ROWS, "seeds": seeds, "budget": alike}
    return make_plan(experiment, "smoke", **options, steps=steps or {})


def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


class TestLearningCurve:
    def test_every_baseline_that_gains_are_measured_against_gets_longer_schedules(self):
        experiment = with_learning_curve(find_experiment("lix/table1"))
        added = {row.key: row.schedule for row in experiment.rows if row.schedule > 1}
        assert added == {f"{family}_student_x{factor}": factor for family in ("sne", "mf") for factor in (2, 4)}

    def test_a_longer_schedule_has_as_many_more_steps_and_claims_nothing_of_the_paper(self, tmp_path):
        experiment = with_learning_curve(find_experiment("cwd/table2"))
        plan = make_plan(experiment, "reduced", out=tmp_path, data_root=tmp_path)
        steps = {run.row.key: run.config.steps for run in plan.runs}
        baseline = next(row.key for row in experiment.rows if row.role == "baseline")
        assert steps[f"{baseline}_x4"] == 4 * steps[baseline]
        assert not experiment.row(f"{baseline}_x4").paper

    def test_a_baseline_that_is_a_longer_schedule_itself_shares_the_curve_of_the_shortest(self):
        rows = with_learning_curve(find_experiment("overview/real_roads")).rows
        curve = {row.key: row for row in rows if row.key in ("baseline", "baseline_x2", "baseline_x4")}
        assert list(curve) == ["baseline", "baseline_x2", "baseline_x4"]
        above = {key: [longer.key for longer in longer_schedules(rows, row)] for key, row in curve.items()}
        assert above == {"baseline": ["baseline_x2", "baseline_x4"], "baseline_x2": ["baseline_x4"], "baseline_x4": []}

    def test_half_of_a_baseline_has_half_of_its_steps_and_no_curve_of_its_own(self, tmp_path):
        experiment = with_learning_curve(find_experiment("overview/real_roads"))
        plan = make_plan(experiment, "reduced", out=tmp_path, data_root=tmp_path, rows=["baseline", "baseline_half"])
        assert {run.row.key: run.config.steps for run in plan.runs} == {"baseline": 1200, "baseline_half": 600}
        assert not [row.key for row in experiment.rows if row.key.startswith("baseline_half_")]

    @pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)
    def test_it_fits_every_table(self, experiment):
        assert len(with_learning_curve(experiment).rows) >= len(experiment.rows)


class TestFairSteps:
    def test_a_distilled_row_takes_fewer_steps_than_its_baseline_as_its_steps_cost_more(self, tmp_path):
        plan = plan_in(tmp_path)
        steps = fair_steps(plan)
        baseline = next(run for run in plan.runs if run.row.key == "baseline").config.steps
        assert set(steps) == {"cwd"}
        assert 1 <= steps["cwd"] < baseline
        fair = plan_in(tmp_path, steps=steps)
        assert {run.config.steps for run in fair.runs if run.row.key == "cwd"} == {steps["cwd"]}

    def test_what_was_measured_is_kept_so_that_the_plan_stays_the_same(self, tmp_path):
        fair_steps(plan_in(tmp_path))
        path = plan_in(tmp_path).folder / COSTS
        record = json.loads(path.read_text())
        record["cwd"]["steps_of_baseline"] = 2.5
        path.write_text(json.dumps(record))
        assert fair_steps(plan_in(tmp_path)) == {"cwd": 4}
        assert fair_steps(plan_in(tmp_path, seeds=[7, 8])) == {"cwd": 4}

    def test_what_was_measured_beside_other_work_is_said(self, tmp_path, monkeypatch):
        monkeypatch.setattr("os.getloadavg", lambda: (0.3, 0.0, 0.0))
        fair_steps(plan_in(tmp_path))
        assert loaded_costs(plan_in(tmp_path)) == ""
        path = plan_in(tmp_path).folder / COSTS
        path.unlink()
        monkeypatch.setattr("os.getloadavg", lambda: (1000.0, 0.0, 0.0))
        fair_steps(plan_in(tmp_path))
        assert "cwd was measured at a load of 1000.0" in loaded_costs(plan_in(tmp_path))

    def test_another_recipe_is_measured_anew(self, tmp_path):
        fair_steps(plan_in(tmp_path))
        path = plan_in(tmp_path).folder / COSTS
        record = json.loads(path.read_text())
        record["cwd"] |= {"steps_of_baseline": 2.5, "signature": "another"}
        path.write_text(json.dumps(record))
        fair_steps(plan_in(tmp_path))
        assert json.loads(path.read_text())["cwd"]["steps_of_baseline"] != 2.5

    def test_two_stages_share_the_budget_of_the_row_that_they_are_compared_with(self, tmp_path):
        experiment = find_experiment("overview/new_camera")
        options = {"out": tmp_path, "data_root": tmp_path, "budget": "cpu"}
        plan = make_plan(experiment, "smoke", **options)
        fair_steps(plan)
        path = plan.folder / COSTS
        record = json.loads(path.read_text())
        for key, ratio in {"one_stage": 2.0, "features": 1.0, "two_stage": 0.5}.items():
            record[key]["steps_of_baseline"] = ratio
        path.write_text(json.dumps(record))
        steps = fair_steps(plan)
        # Of ten steps of the baseline: half as many of twice the cost; half of its ten; half of one_stage's, at half.
        assert (steps["one_stage"], steps["features"], steps["two_stage"]) == (5, 5, 5)

    def test_budgets_do_not_share_a_folder(self, tmp_path):
        folders = {plan_in(tmp_path, alike).folder for alike in ("steps", "cpu", "wall")}
        assert len(folders) == 3


class TestStoredOutputs:
    IMAGES, ROW = 689, "kd_cwd_stored"

    @pytest.fixture
    def plan(self, tmp_path):
        experiment = find_experiment("overview/real_roads")
        return make_plan(experiment, "reduced", out=tmp_path, data_root=tmp_path, rows=[self.ROW], budget="cpu")

    @pytest.fixture
    def measured(self, monkeypatch):
        """Seconds by name, in place of measured ones; images that nobody has to have."""
        cost = {"row": 0.11, "baseline": 0.1, "storing": 0.12}
        monkeypatch.setattr(budget, "step_costs", lambda calls, _: {name: cost[name] for name in calls})
        monkeypatch.setattr(budget, "build_datasets", lambda sources: [range(self.IMAGES)] * len(sources))
        return cost

    def test_the_teachers_passes_on_all_crops_are_paid_once(self, plan, measured):
        config = next(run.config for run in plan.runs if run.row.key == self.ROW)
        once = config.stored_crops * self.IMAGES / config.batch_size * 1.2
        assert fair_steps(plan) == {self.ROW: round((1200 - once) / 1.1)}
        assert json.loads((plan.folder / COSTS).read_text())[self.ROW]["storing_in_steps"] == pytest.approx(once)

    def test_crops_that_cost_more_than_the_whole_budget_are_refused(self, plan, measured):
        measured["storing"] = 1.0
        with pytest.raises(TrainingError, match=r"storing .* row kd_cwd_stored costs more than all 1200 steps"):
            fair_steps(plan)

    def test_a_step_with_stored_outputs_runs_no_teacher_and_storing_runs_nothing_else(self, plan, monkeypatch):
        run = next(run for run in plan.runs if run.row.key == self.ROW)
        small = dataclasses.replace(run.config, input=InputConfig(32, 64, depth="none"), batch_size=2)
        stored, online = (
            dataclasses.replace(run, config=dataclasses.replace(small, stored_crops=crops)) for crops in (2, 0)
        )
        steps = {"stored": step_of(stored), "online": step_of(online), "storing": storing_of(stored)}
        calls = []
        monkeypatch.setattr(
            SegmentationNetwork, "check_input", lambda network, *_: calls.append(type(network).__name__)
        )
        networks = {}
        for name, step in steps.items():
            step()
            networks[name], calls[:] = list(calls), []
        assert networks == {"stored": ["RoadLite"], "online": ["Lite0Fpn", "RoadLite"], "storing": ["Lite0Fpn"]}

    def test_runs_that_store_nothing_keep_the_recipe_that_they_had_before_there_was_such_a_field(self, plan):
        recipes = {run.row.key: portable(run.config) for run in plan.runs}
        assert {key for key, recipe in recipes.items() if "stored_crops" in recipe} == {self.ROW}


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield 2
    torch.set_num_threads(before)


class TestStepCosts:
    def test_processor_time_is_told_apart(self):
        cost = step_costs({"slow": lambda: spin(0.02), "fast": lambda: spin(0.005)}, "cpu")
        assert cost["slow"] / cost["fast"] == pytest.approx(4, rel=0.3)

    @pytest.mark.parametrize(("budget", "expected"), [("cpu", 1), ("wall", 2)])
    def test_processor_time_is_that_of_one_thread_and_the_threads_come_back(self, budget, expected, two_threads):
        seen = []
        step_costs({"step": lambda: seen.append(torch.get_num_threads())}, budget)
        assert set(seen) == {expected}
        assert torch.get_num_threads() == two_threads


@pytest.mark.parametrize("name", ["overview/real_roads", "overview/few_labels"])
def test_the_evidence_has_its_rows_five_fresh_seeds_and_a_primary_row(name, tmp_path):
    experiment = with_learning_curve(find_experiment(name))
    plan = make_plan(experiment, "reduced", out=tmp_path, data_root=tmp_path, budget="cpu")
    keys = {row.key for row in experiment.rows}
    assert keys >= {"baseline", "baseline_x2", "baseline_x4", "kd_cwd", "teacher"}
    assert keys >= {f"{paper}_share" for paper in ("cpkd", "sslkd", "intra_kd", "cwd", "lix")}
    assert experiment.row(experiment.primary).role == "distilled"
    seeds = {run.seed for run in plan.runs if run.row.key == experiment.primary}
    assert len(seeds) >= 5
    assert seeds.isdisjoint({0, 1, 2, 10, 11, 12, 13, 14})
    shares = {run.config.gradient_share for run in plan.runs if run.row.key.endswith("_share")}
    assert shares == {1.0}


def test_the_papers_weights_stand_beside_an_equal_share_on_real_roads():
    keys = {row.key for row in find_experiment("overview/real_roads").rows}
    assert keys >= {"kd", "cwd", "cpkd", "sslkd", "intra_kd", "lix", "mixup"}


def test_a_longer_schedule_is_the_same_recipe_but_for_its_steps(tmp_path):
    plan = make_plan(find_experiment("overview/real_roads"), "reduced", out=tmp_path, data_root=tmp_path)
    first = {run.row.key: run.config for run in reversed(plan.runs)}
    one, two = first["baseline"], first["baseline_x2"]
    assert dataclasses.replace(two, steps=one.steps, name=one.name, output=one.output) == one
    assert two.steps == 2 * one.steps
