# SPDX-License-Identifier: Apache-2.0
"""What a report at scale full says of its deviations comes from the plan."""

import dataclasses

import pytest

from road_kd_training.experiments import EXPERIMENTS, find_experiment
from road_kd_training.experiments.plan import make_plan
from road_kd_training.experiments.report import Report, markdown
from road_kd_training.experiments.stated import PLAIN, STATED, differences


def plan_of(experiment):
    return make_plan(experiment, "full", out="out", data_root="data")


def changed(name, **settings):
    """A table whose protocol at full has other settings."""
    experiment = find_experiment(name)
    full = dataclasses.replace(experiment.full, settings={**experiment.full.settings, **settings})
    return dataclasses.replace(experiment, full=full)


PAPERS = [experiment for experiment in EXPERIMENTS.values() if experiment.full and experiment.dataset]


@pytest.mark.parametrize("experiment", PAPERS, ids=[experiment.id for experiment in PAPERS])
class TestEveryPapersTable:
    def test_its_paper_states_something(self, experiment):
        assert STATED[experiment.id.partition("/")[0], experiment.full.train[0].dataset]

    def test_half_precision_is_said_of_whom_no_paper_writes(self, experiment):
        said = any(line.startswith("mixed_precision is bf16; ") for line in differences(plan_of(experiment)))
        assert said == (experiment.task == "segmentation")  # detectors train in float32

    def test_the_report_holds_every_difference(self, experiment):
        plan = plan_of(experiment)
        text = markdown(Report.of(plan, {}, {}, ""))
        assert all(f"- {line[:1].upper()}{line[1:]}." in text for line in differences(plan))


class TestDifferences:
    def test_a_setting_that_is_the_papers_is_not_said(self):
        assert not any(
            line.startswith(("batch_size", "steps")) for line in differences(plan_of(find_experiment("cwd/table2")))
        )

    def test_another_batch_is_said_with_the_papers_sentence(self):
        lines = differences(plan_of(changed("cwd/table2", batch_size=16)))
        assert 'batch_size is 16; the paper has 8 ("the batch size is set to 8")' in lines

    def test_rows_that_differ_are_named(self):
        lines = differences(plan_of(find_experiment("intra_kd/table2")))
        assert 'learning_rate is 0.005 (teacher); the paper has 0.01 ("the learning rate is set as 0.01")' in lines

    @pytest.mark.parametrize(("field", "value"), [("ema_decay", 0.9), ("warmup_steps", 7), ("mixup", 0.5)])
    def test_what_no_paper_has_is_said_when_a_plan_has_it(self, field, value):
        lines = differences(plan_of(changed("cwd/table2", **{field: value})))
        assert f"{field} is {value}; the paper says nothing of it, read as {PLAIN[field][1]}" in lines

    def test_that_weights_are_picked_on_what_is_reported_is_seen_in_the_plan(self):
        line = "weights are picked on the split that is also reported, in every row alike"
        assert line in differences(plan_of(find_experiment("cwd/table2")))
        assert line not in differences(plan_of(find_experiment("cpkd/table1")))

    def test_tables_of_our_own_deviate_from_no_paper(self):
        assert differences(plan_of(find_experiment("overview/real_roads"))) == []
