# SPDX-License-Identifier: Apache-2.0
"""Results, gains, tables: computed by hand from confusion matrices."""

import json
from pathlib import Path

import numpy as np
import pytest

from road_kd_seg import metrics
from road_kd_training.config import NetworkConfig
from road_kd_training.experiments import EXPERIMENTS
from road_kd_training.experiments.base import Experiment, Metric, Row
from road_kd_training.experiments.costs import count_gflops
from road_kd_training.experiments.metrics import (
    Outcome,
    SetScore,
    against_rest,
    dataset_metric,
    false_positives,
    of_all,
    of_both,
    of_class,
    overall_accuracy,
    share,
)
from road_kd_training.experiments.plan import make_plan
from road_kd_training.experiments.records import Record
from road_kd_training.experiments.report import Report, as_data, markdown
from road_kd_training.experiments.results import gather

CLASSES = ("road", "hole", "box")
COUNTS = np.array([[80, 10, 10], [5, 15, 0], [0, 0, 0]])
"""Ground truth by prediction: 100 pixels of road, 20 of holes, none of boxes."""


def outcome(counts=COUNTS, **more):
    return Outcome({"test": SetScore(np.array(counts), CLASSES)}, 1_500_000, **more)


class TestMetrics:
    def test_others_are_folded_into_one(self):
        assert against_rest(outcome().main, "hole").tolist() == [[90, 10], [5, 15]]

    def test_one_class_and_its_rest(self):
        assert of_class("hole", metrics.iou)(outcome()) == pytest.approx(100 * 15 / 30)
        assert of_class("hole", metrics.precision)(outcome()) == pytest.approx(100 * 15 / 25)
        assert of_class("hole", metrics.iou, rest=True)(outcome()) == pytest.approx(100 * 90 / 105)
        assert of_both("hole", metrics.mean_iou)(outcome()) == pytest.approx(50 * (15 / 30 + 90 / 105))

    def test_a_class_that_is_never_predicted_has_a_precision_of_0(self):
        missed = outcome([[100, 0, 0], [20, 0, 0], [0, 0, 0]])
        assert of_class("hole", metrics.precision)(missed) == 0

    def test_a_class_that_neither_occurs_nor_is_predicted_has_no_result(self):
        assert np.isnan(of_class("box", metrics.iou)(outcome([[9, 0, 0], [0, 1, 0], [0, 0, 0]])))

    def test_means_run_over_classes_that_occur(self):
        assert of_all(metrics.mean_iou)(outcome()) == pytest.approx(50 * (80 / 105 + 15 / 30))

    def test_accuracy_and_false_positives_of_a_class(self):
        assert overall_accuracy("hole")(outcome()) == pytest.approx(100 * 105 / 120)
        assert false_positives("hole", "test")(outcome()) == pytest.approx(100 * 25 / 120)

    def test_a_test_set_that_is_not_there_has_no_result(self):
        assert np.isnan(false_positives("hole", "wet")(outcome()))
        assert np.isnan(of_class("hole", metrics.iou, test="wet")(outcome()))

    def test_a_benchmark_stands_before_its_stand_in(self):
        with_f1 = Outcome({"test": SetScore(COUNTS, CLASSES, {"f1": 0.7})}, 1)
        measure = dataset_metric("f1", 100, of_class("hole", metrics.iou))
        assert measure(with_f1) == pytest.approx(70)
        assert measure(outcome()) == pytest.approx(50)
        assert share(measure)(outcome()) == pytest.approx(0.5)


class TestCosts:
    def test_operations_are_about_those_that_cwd_prints(self):
        """Table 5: 125.8 G and 31.53 G at 512x1024, of networks that may differ in their heads."""
        for name, printed in (("pspnet_r18", 125.8), ("pspnet_r18_half", 31.53)):
            assert count_gflops(
                NetworkConfig(name, {"pretrained": False} if name == "pspnet_r18" else {}), 19, (512, 1024)
            ) == (pytest.approx(printed, rel=0.05))


EXPERIMENT = Experiment(
    id="x/table1",
    title="A table",
    dataset="X, test",
    metrics=(Metric("IoU", of_class("hole", metrics.iou)), Metric("box IoU", of_class("box", metrics.iou))),
    rows=(
        Row("cited", "Older", "cited", {"IoU": 40.0}),
        Row("baseline", "Student", "baseline", {"IoU": 50.0}, "mfnet_rgb"),
        Row("good", "Distilled | well", "distilled", {"IoU": 55.5}, "mfnet_rgb", note="a note"),
        Row("bad", "Distilled badly", "distilled", {}, "mfnet_rgb"),
        Row("late", "Distilled later", "distilled", {"IoU": 51.0}, "mfnet_rgb"),
    ),
    full=None,
)


@pytest.fixture
def report(tmp_path):
    """Two seeds: baseline at 40 and 50, good at 50 and 75, the bad one failed, the late one did not run."""
    plan = make_plan(EXPERIMENT, "reduced", out=tmp_path, data_root=tmp_path, seeds=[0, 1])

    def record(key, seed, hits):
        counts = [[0, 0, 0], [100 - hits, hits, 0], [0, 0, 0]]
        folder = next(run.folder for run in plan.runs if (run.row.key, run.seed) == (key, seed))
        shares = {"cwd/channel_kl": 2.125} if key == "good" else {}
        return Record(outcome(counts), folder, 10, 10, 30.0, {"git": "abc", "device": "CPU"}, shares)

    hits = {("baseline", 0): 40, ("baseline", 1): 50, ("good", 0): 50, ("good", 1): 75}
    records = {(key, seed): record(key, seed, value) for (key, seed), value in hits.items()}
    failures = {("bad", 0): "cross_entropy is nan at step 3", ("bad", 1): "cross_entropy is nan at step 4"}
    return Report.of(plan, records, failures, "road-kd reproduce x/table1")


class TestGather:
    def test_means_deviations_and_paired_gains(self, report):
        good = next(line for line in report.lines if line.row.key == "good")
        result, gain = good.results["IoU"], good.gains["IoU"]
        assert (result.reported, result.mean, result.sd) == (55.5, pytest.approx(62.5), pytest.approx(17.67767))
        assert (gain.reported, list(gain.reproduced)) == (5.5, [pytest.approx(10), pytest.approx(25)])
        assert gain.sd == pytest.approx(10.60660)

    def test_states(self, report):
        states = {line.row.key: line.state for line in report.lines}
        assert states == {"cited": "cited", "baseline": "done", "good": "done", "bad": "failed", "late": "not run"}

    def test_a_missing_seed_is_told(self, report):
        done = {("baseline", 0): next(iter(report_records(report)))}
        line = next(line for line in gather(report.plan, done, {}) if line.row.key == "baseline")
        assert line.state == "1 of 2 done"

    def test_results_that_are_no_number_are_left_out(self, report):
        assert all(line.results["box IoU"].mean is None for line in report.lines)


def report_records(report):
    counts = [[0, 0, 0], [60, 40, 0], [0, 0, 0]]
    yield Record(outcome(counts), report.plan.runs[0].folder, 10, 10, 30.0, {})


class TestSmoke:
    def test_it_shows_no_gains_and_judges_no_claims(self, report):
        smoke = make_plan(EXPERIMENT, "smoke", out=report.plan.out, data_root=report.plan.out, seeds=[0, 1])
        records = {(run.row.key, run.seed): next(report_records(report)) for run in smoke.runs}
        good = next(line for line in gather(smoke, records, {}) if line.row.key == "good")
        assert good.results["IoU"].mean == pytest.approx(40)
        assert good.gains["IoU"].reported == 5.5
        assert good.gains["IoU"].mean is None
        assert good.verdict is None


class TestMarkdown:
    def test_the_table_reads_as_it_should(self, report):
        table = [line for line in markdown(report).splitlines() if line.startswith("| ")][:7]
        assert table == [
            "| row | network | params (M) | steps | IoU, reported | IoU, reproduced | gain, reported | gain, reproduced"
            " | 95 % interval | claim | share of gradient |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
            "| Older | – | – | – | 40.00 | – | – | – | – | – | – |",
            "| Student | mfnet_rgb | 1.50 | 300 | 50.00 | 45.00 ± 7.07 (2) | – | – | – | – | – |",
            "| Distilled \\| well | mfnet_rgb | 1.50 | 300 | 55.50 | 62.50 ± 17.68 (2) | +5.50 | +17.50 ± 10.61 (2) |"
            " [-77.79, +112.79] | cannot tell (2 more seeds) | channel_kl 2.1 |",
            "| Distilled badly | mfnet_rgb | – | 300 | – | failed | – | – | – | – | – |",
            "| Distilled later | mfnet_rgb | – | 300 | 51.00 | not run | +1.00 | – | – | – | – |",
        ]

    def test_it_says_what_the_scale_means_and_how_it_was_made(self, report):
        text = markdown(report)
        assert text.split("**")[1].startswith("reduced is ")
        assert "road-kd reproduce x/table1" in text
        assert "CPU; revision abc" in text
        assert "Distilled badly, seed 1: cross_entropy is nan at step 4." in text
        assert "Distilled | well: a note." in text
        assert "Synthetic scenes of five classes replace X, test." in text

    def test_headings_of_a_table_stand_in_it(self, tmp_path):
        plan = make_plan(EXPERIMENTS["cwd/table5"], "smoke", out=tmp_path, data_root=tmp_path)
        assert "| **PSPNet-R18° (0.5)** |" in markdown(Report.of(plan, {}, {}, ""))


class TestData:
    def test_it_is_json_without_nan(self, report):
        data = json.loads(json.dumps(as_data(report), allow_nan=False))
        rows = {row["key"]: row for row in data["rows"]}
        assert rows["good"]["results"]["IoU"]["runs"] == [pytest.approx(50), pytest.approx(75)]
        assert rows["bad"]["failures"][0] == "seed 0: cross_entropy is nan at step 3"
        assert data["scale"] == "reduced"

    def test_shared_runs_are_told_by_their_folder(self, report):
        run = next(run for run in report.plan.runs if run.row.key == "baseline")
        elsewhere = Record(outcome(), Path(report.plan.out, "y_table2/smoke/other/seed0"), 10, 10, 30.0, {})
        line = next(x for x in gather(report.plan, {("baseline", run.seed): elsewhere}, {}) if x.row.key == "baseline")
        assert line.shared == ["y_table2/smoke/other/seed0"]
