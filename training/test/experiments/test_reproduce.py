# SPDX-License-Identifier: Apache-2.0
"""Real runs of a tiny table: what is finished stays, what fails is told, and the others run."""

import dataclasses
import json

import pytest

from road_kd_seg import metrics
from road_kd_training.cli import main
from road_kd_training.config import AugmentConfig, DataConfig, InputConfig
from road_kd_training.engine import Trainer
from road_kd_training.experiments import EXPERIMENTS
from road_kd_training.experiments.base import Experiment, Method, Metric, Protocol, Row, Sweep
from road_kd_training.experiments.metrics import forward_ms, gflops, of_class

TRAIN, VALIDATION = (DataConfig("stereo_pothole", {"split": split}) for split in ("train", "validation"))
PROTOCOL = Protocol(
    train=(TRAIN,),
    unlabeled=(TRAIN,),
    validation=(VALIDATION,),
    tests={"held out": VALIDATION},
    summary="two steps",
    settings={
        "input": InputConfig(32, 64),
        "augment": AugmentConfig(max_scale=1.0),
        "steps": 2,
        "batch_size": 2,
        "unlabeled_batch_size": 1,
        "mixed_precision": "no",
        "num_workers": 0,
        "validate_every": 2,
    },
    depth={"depth": "metric", "depth_high": 10.0},
    seeds=(0,),
)
TEACHER = Row("teacher", "Teacher", "teacher", {"IoU": 80.0}, "mfnet", depth=True)
PLAIN = Row("baseline", "Student", "baseline", {"IoU": 60.0}, "mfnet_rgb")
DISTILLED = Row(
    "kd", "Student (KD)", "distilled", {"IoU": 70.0}, "mfnet_rgb", methods=(Method("kd"),), teachers=("teacher",)
)


def table(id_, *rows, protocol=PROTOCOL, **more):
    columns = (Metric("IoU", of_class("negative_obstacle", metrics.iou)),)
    return Experiment(id_, "A tiny table", "none", more.pop("metrics", columns), rows, protocol, **more)


@pytest.fixture
def reproduce(monkeypatch, stereo_tree, tmp_path, capsys):
    """Carry out an experiment; its exit code, its report as data, and what was printed."""

    def run(experiment, *options):
        monkeypatch.setitem(EXPERIMENTS, experiment.id, experiment)
        arguments = ["reproduce", experiment.id, "--scale", "full", "--data_root", str(stereo_tree.parent)]
        code = main([*arguments, "--out", str(tmp_path / "out"), *options])
        path = tmp_path / "out" / f"{experiment.id.replace('/', '_')}_full.json"
        printed = capsys.readouterr()
        return code, json.loads(path.read_text()) if path.is_file() else None, printed.out + printed.err

    return run


def states(report):
    return {row["key"]: row["state"] for row in report["rows"]}


def trained(tmp_path):
    """When each run was trained."""
    return {path.parent: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/*/*/*/result.json")}


class TestATable:
    def test_rows_are_trained_scored_and_reported(self, reproduce, tmp_path):
        code, report, printed = reproduce(table("tiny/one", TEACHER, PLAIN, DISTILLED))
        assert code == 0
        assert states(report) == {"teacher": "done", "baseline": "done", "kd": "done"}
        rows = {row["key"]: row for row in report["rows"]}
        assert rows["teacher"]["parameters"] > rows["baseline"]["parameters"]
        assert rows["kd"]["gains"]["IoU"]["reported"] == 10
        ours = [rows[key]["results"]["IoU"]["mean"] for key in ("kd", "baseline")]
        assert rows["kd"]["gains"]["IoU"]["mean"] == pytest.approx(ours[0] - ours[1])
        assert rows["kd"]["verdict"]["outcome"] == "cannot tell"
        assert "A tiny table" in printed
        assert (tmp_path / "out" / "tiny_one_full.md").read_text().startswith("# A tiny table")
        assert not list((tmp_path / "out").glob("**/last.pt"))

    def test_the_same_command_trains_nothing_again_and_reports_the_same(self, reproduce, tmp_path):
        _, first, _ = reproduce(table("tiny/one", PLAIN))
        before = trained(tmp_path)
        _, second, printed = reproduce(table("tiny/one", PLAIN))
        assert trained(tmp_path) == before
        assert second == first
        assert "finished before" in printed

    def test_more_seeds_join_those_that_are_there(self, reproduce, tmp_path):
        reproduce(table("tiny/one", PLAIN))
        before = trained(tmp_path)
        _, report, _ = reproduce(table("tiny/one", PLAIN), "--seeds", "0", "1")
        assert len(report["rows"][0]["results"]["IoU"]["runs"]) == 2
        assert report["command"].endswith("--seeds 0 1")
        assert len(before) == 1
        assert before.items() <= trained(tmp_path).items()

    def test_a_plan_is_printed_and_nothing_else_is_done(self, reproduce, tmp_path):
        code, report, printed = reproduce(table("tiny/one", TEACHER, PLAIN, DISTILLED), "--dry_run")
        assert (code, report, trained(tmp_path)) == (0, None, {})
        assert printed.count("to do") == 3

    def test_costs_are_counted_and_timed_where_a_table_shows_them(self, reproduce):
        columns = (Metric("ms", forward_ms), Metric("GFLOPs", gflops))
        _, report, _ = reproduce(table("tiny/one", TEACHER, PLAIN, metrics=columns, speed=True))
        teacher, baseline = (row["results"] for row in report["rows"])
        assert teacher["GFLOPs"]["mean"] > baseline["GFLOPs"]["mean"] > 1
        assert baseline["ms"]["mean"] > 0

    def test_a_sweep_is_drawn(self, reproduce, tmp_path):
        sweep = Sweep("x", {"baseline": ("a curve", 1.0)}, levels=("baseline",))
        _, _, printed = reproduce(table("tiny/one", PLAIN, sweeps=(sweep,)))
        assert (tmp_path / "out" / "tiny_one_full.png").stat().st_size > 5000
        assert "tiny_one_full.png" in printed.replace("\n", "")


class TestSharing:
    def test_an_equal_run_of_another_table_serves(self, reproduce, tmp_path):
        reproduce(table("tiny/one", PLAIN))
        before = trained(tmp_path)
        _, report, printed = reproduce(table("tiny/two", dataclasses.replace(PLAIN, key="student")))
        assert trained(tmp_path) == before
        assert report["rows"][0]["shared"] == ["tiny_one/full/baseline/seed0"]
        assert "the same run as" in printed

    def test_a_peer_is_scored_from_its_hosts_run_and_teaches(self, reproduce):
        host = Row("one", "1", "teacher", {}, "mfnet_rgb", methods=(Method("cms"),), peers=("enet",), unlabeled=True)
        peer = Row("two", "2", "teacher", {}, peer_of="one")
        student = Row("kd", "3", "baseline", {}, "mfnet_rgb", methods=(Method("kd"),), teachers=("two",))
        code, report, _ = reproduce(table("tiny/peers", host, peer, student))
        assert code == 0
        assert [row["network"] for row in report["rows"]] == ["mfnet_rgb", "enet", "mfnet_rgb"]
        assert len({row["parameters"] for row in report["rows"]}) == 2

    def test_a_teacher_whose_weights_are_gone_is_trained_again(self, reproduce, tmp_path):
        reproduce(table("tiny/one", TEACHER))
        folder = tmp_path / "out" / "tiny_one" / "full" / "teacher" / "seed0"
        for name in ("result.json", "config.json"):
            (folder / name).unlink()
        code, report, _ = reproduce(table("tiny/one", TEACHER, PLAIN, DISTILLED))
        assert code == 0
        assert states(report)["kd"] == "done"
        assert (folder / "result.json").is_file()


class TestFailure:
    def test_a_row_that_fails_is_told_and_the_others_go_on(self, reproduce, tmp_path):
        broken = dataclasses.replace(DISTILLED, key="broken", methods=(Method("at", {"taps": (("no", "such"),)}),))
        code, report, printed = reproduce(table("tiny/one", TEACHER, broken, PLAIN, DISTILLED))
        assert code == 1
        assert states(report) == {"teacher": "done", "broken": "failed", "baseline": "done", "kd": "done"}
        assert "network 'mfnet_rgb' has no tap 'no'" in report["rows"][1]["failures"][0]
        assert "1 of 4 runs failed (rows broken)" in printed
        failure = tmp_path / "out" / "tiny_one" / "full" / "broken" / "seed0" / "failure.txt"
        assert "Traceback" in failure.read_text()

    def test_students_of_a_failed_teacher_fail_with_it(self, reproduce):
        broken = dataclasses.replace(TEACHER, network="mfnet_rgb")  # takes no depth
        code, report, _ = reproduce(table("tiny/one", broken, PLAIN, DISTILLED))
        assert code == 1
        assert states(report) == {"teacher": "failed", "baseline": "done", "kd": "failed"}
        assert report["rows"][2]["failures"] == ["seed 0: teacher, which it needs, has failed"]

    def test_a_diverging_row_says_so(self, reproduce):
        settings = {"optimizer": "sgd", "learning_rate": 1e3, "weight_decay": 1e3, "steps": 12}
        wild = dataclasses.replace(PROTOCOL, settings={**PROTOCOL.settings, **settings})
        code, report, _ = reproduce(table("tiny/one", PLAIN, protocol=wild))
        assert code == 1
        assert ": lower learning_rate" in report["rows"][0]["failures"][0]

    def test_a_missing_dataset_is_told_before_anything_trains(self, reproduce, tmp_path):
        code, report, printed = reproduce(table("tiny/one", PLAIN), "--data_root", str(tmp_path / "nowhere"))
        assert (code, report) == (1, None)
        assert f"error: stereo_pothole: no rgb/*.jpg below {tmp_path}/nowhere/stereo_pothole" in printed
        assert trained(tmp_path) == {}


class TestAnotherRecipe:
    LONGER = dataclasses.replace(PROTOCOL, settings={**PROTOCOL.settings, "steps": 3})

    def test_its_run_is_refused_by_name_of_what_differs(self, reproduce, tmp_path):
        reproduce(table("tiny/one", PLAIN))
        before = trained(tmp_path)
        code, report, printed = reproduce(table("tiny/one", PLAIN, protocol=self.LONGER))
        assert code == 1
        assert "holds a run of another recipe (other steps): --replace retrains" in report["rows"][0]["failures"][0]
        assert trained(tmp_path) == before
        _, _, printed = reproduce(table("tiny/one", PLAIN, protocol=self.LONGER), "--dry_run")
        assert "stale:" in printed

    def test_replace_trains_it_anew(self, reproduce, tmp_path):
        reproduce(table("tiny/one", PLAIN))
        code, report, _ = reproduce(table("tiny/one", PLAIN, protocol=self.LONGER), "--replace")
        assert code == 0
        assert states(report) == {"baseline": "done"}
        result = json.loads((tmp_path / "out" / "tiny_one" / "full" / "baseline" / "seed0" / "result.json").read_text())
        assert result["steps"] == 3


def test_ctrl_c_reports_what_is_done_and_the_same_command_goes_on(reproduce, monkeypatch, tmp_path):
    train = Trainer.run

    def interrupted(trainer):
        if trainer.config.name == "tiny_one_baseline":
            raise KeyboardInterrupt
        return train(trainer)

    monkeypatch.setattr(Trainer, "run", interrupted)
    code, report, printed = reproduce(table("tiny/one", TEACHER, PLAIN))
    assert code == 130
    assert states(report) == {"teacher": "done", "baseline": "not run"}
    assert "interrupted" in printed
    before = trained(tmp_path)
    monkeypatch.setattr(Trainer, "run", train)
    code, report, _ = reproduce(table("tiny/one", TEACHER, PLAIN))
    assert code == 0
    assert states(report) == {"teacher": "done", "baseline": "done"}
    assert before.items() < trained(tmp_path).items()


def test_experiments_are_listed_one_a_line(capsys):
    assert main(["list", "experiments"]) == 0
    assert [line.partition("\t")[0] for line in capsys.readouterr().out.splitlines()] == list(EXPERIMENTS)


def test_an_unknown_experiment_is_one_line(capsys):
    assert main(["reproduce", "cpkd/table9"]) == 1
    assert "error: experiment 'cpkd/table9' is unknown: did you mean 'cpkd/table" in capsys.readouterr().err
