# SPDX-License-Identifier: Apache-2.0
"""What a table says of its baseline, from planted runs."""

from dataclasses import replace

import numpy as np
import pytest

from road_kd_seg import metrics
from road_kd_training.experiments.base import Experiment, Metric, Row
from road_kd_training.experiments.budget import with_learning_curve
from road_kd_training.experiments.claims import learning_curves, resolution, rules
from road_kd_training.experiments.metrics import Outcome, SetScore, of_class
from road_kd_training.experiments.plan import make_plan
from road_kd_training.experiments.records import Record
from road_kd_training.experiments.results import gather

EXPERIMENT = with_learning_curve(
    Experiment(
        id="x/table1",
        title="A table",
        dataset="X, test",
        metrics=(Metric("IoU", of_class("hole", metrics.iou), decimals=0),),
        rows=(
            Row("baseline", "Student", "baseline", {"IoU": 50.0}, "mfnet_rgb"),
            Row("good", "Distilled", "distilled", {"IoU": 55.0}, "mfnet_rgb"),
        ),
        full=None,
    )
)


def lines_of(tmp_path, hits):
    """A plan, and its lines if its rows scored `hits` percent, by seed."""
    plan = make_plan(EXPERIMENT, "reduced", out=tmp_path, data_root=tmp_path, budget="cpu")
    return plan, gather(plan, records_of(plan, hits), {})


def records_of(plan, hits):
    records = {}
    for run in plan.runs:
        if run.row.key in hits:
            count = hits[run.row.key][run.seed]
            score = SetScore(np.array([[0, 0], [100 - count, count]]), ("road", "hole"))
            records[run.row.key, run.seed] = Record(Outcome({"test": score}, 1), run.folder, 1, 1, 1.0, {})
    return records


def text_of(tmp_path, hits):
    """Head, rules and learning curves."""
    plan, lines = lines_of(tmp_path, hits)
    return [resolution(plan, lines), rules(plan), *learning_curves(lines, EXPERIMENT.metrics[0])]


class TestLearningCurve:
    def test_a_baseline_that_climbs_is_said_to_climb(self, tmp_path):
        hits = {"baseline": [50, 51, 52], "baseline_x2": [60, 61, 62], "baseline_x4": [70, 71, 72]}
        curve = text_of(tmp_path, hits)[-1]
        assert "300 steps 51 ± 1 (3), 600 steps 61 ± 1 (3), 1,200 steps 71 ± 1 (3)" in curve
        assert curve.endswith("The last doubling gave +10 ± 0 (3) [+10, +10]: it still climbs.")

    def test_a_baseline_that_gains_nothing_more_is_at_its_plateau(self, tmp_path):
        hits = {"baseline": [50, 51, 52], "baseline_x2": [60, 61, 62], "baseline_x4": [60, 62, 61]}
        assert "no further rise can be told: its plateau" in text_of(tmp_path, hits)[-1]


def test_a_row_is_also_compared_with_the_longest_baseline(tmp_path):
    hits = {"baseline": [50, 51, 52], "baseline_x2": [60, 61, 62], "baseline_x4": [70, 71, 73], "good": [69, 71, 73]}
    good = next(line for line in lines_of(tmp_path, hits)[1] if line.row.key == "good")
    assert good.over_longest.reproduced == pytest.approx([-1, 0, 0])
    del hits["baseline_x4"]
    good = next(line for line in lines_of(tmp_path, hits)[1] if line.row.key == "good")
    assert good.over_longest.reproduced == pytest.approx([9, 10, 11])


def test_where_lower_is_better_a_row_that_falls_is_said_to_hold(tmp_path):
    fewer = replace(EXPERIMENT, metrics=(replace(EXPERIMENT.metrics[0], lower_is_better=True),), dataset="")
    plan = make_plan(fewer, "reduced", out=tmp_path, data_root=tmp_path, budget="cpu")
    hits = {"baseline": [50, 51, 52], "good": [40, 41, 43]}
    good = next(line for line in gather(plan, records_of(plan, hits), {}) if line.row.key == "good")
    assert good.verdict.outcome == "holds"


def test_the_head_says_what_can_be_told_apart(tmp_path):
    """Gains 9, 10 and 11: standard deviation 1, t(2) = 4.303."""
    hits = {"baseline": [50, 51, 52], "good": [59, 61, 63]}
    assert text_of(tmp_path, hits)[0].startswith(f"A gain is known to ± {4.303 / 3**0.5:.0f} (median over the rows)")


def test_without_a_gain_nothing_is_judged(tmp_path):
    assert text_of(tmp_path, {"baseline": [50, 51, 52]})[0] == ""


@pytest.mark.parametrize("sentence", ["as much processor time", "the teacher's forward passes included"])
def test_it_says_what_was_equal(tmp_path, sentence):
    assert sentence in text_of(tmp_path, {})[1]
