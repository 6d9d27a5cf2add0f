# SPDX-License-Identifier: Apache-2.0
import json
import time

import pytest
import torch

from road_kd_seg.tools.benchmark_report import ratios
from road_kd_seg.tools.frame_timing import SLOW_ROUNDS, time_interleaved
from road_kd_seg.tools.seg_benchmark import main


def test_every_round_runs_each_once_and_warm_up_is_not_counted():
    calls = []

    def slow_at_first(name):
        first = name not in calls
        calls.append(name)
        deadline = time.perf_counter() + (0.05 if first else 0.0)
        while time.perf_counter() < deadline:
            pass

    times = time_interleaved(
        {"a": lambda: slow_at_first("a"), "b": lambda: slow_at_first("b")}, 2, torch.device("cpu"), warm_up=1
    )
    assert calls == ["a", "b"] * 3
    assert max(one.median_ms for one in times.values()) < 50
    assert all(len(one.wall_ms) == len(one.cpu_ms) == 2 for one in times.values())


def test_what_is_slow_runs_in_few_rounds():
    calls = []
    what = {"a": lambda: calls.append("a")}
    times = time_interleaved(what, 9, torch.device("cpu"), slow={"s": lambda: calls.append("s")})
    assert len(times["a"].wall_ms) == 9
    assert len(times["s"].wall_ms) == SLOW_ROUNDS
    assert calls.count("s") == SLOW_ROUNDS + 1


ROW = {
    "network",
    "input",
    "engine",
    "precision",
    "forward_ms",
    "forward_min_ms",
    "pipeline_ms",
    "pipeline_min_ms",
    "cpu_ms",
}


def test_the_report_has_a_row_for_each_engine_and_ratios_of_its_own_rows(tiny_onnx_bundle, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "bench.json"
    assert main(["--model", str(tiny_onnx_bundle), "--device", "cpu", "--rounds", "2", "--json", str(path)]) == 0
    report = json.loads(path.read_text())
    assert report["schema_version"] == 1
    assert {"cpu", "cores", "load_before", "load_after", "torch"} <= set(report["machine"])
    assert all(set(row) == ROW for row in report["rows"])
    assert [row["engine"] for row in report["rows"]][:2] == ["onnxruntime", "torch"]
    first, ratios = report["rows"][0], report["ratios"]
    assert ratios["pipeline_over_forward"] == pytest.approx(first["pipeline_ms"] / first["forward_ms"], abs=0.01)
    assert ratios["overhead_ms"] == pytest.approx(first["pipeline_ms"] - first["forward_ms"], abs=0.01)
    assert ratios["naive_over_pipeline"] > 0
    assert ratios["teacher_over_student"] is ratios["cpkd_student_over_student"] is ratios["node_over_pipeline"] is None
    assert report["node"] == []
    printed = capsys.readouterr().out
    assert "overhead_ms" in printed
    assert printed.splitlines()[-1].startswith("next: ")


def test_ratios_are_those_of_the_named_networks():
    rows = [
        {"network": name, "forward_ms": 1.0, "pipeline_ms": pipeline_ms}
        for name, pipeline_ms in (("ours", 2.0), ("mafnet_r152", 80.0), ("mafnet_r18", 50.0))
    ]
    found = ratios(rows, {"naive": 12.0, "outputs": 1.0}, [{"latency_p50_ms": 6.0}])
    assert found == {
        "cpkd_student_over_student": 25.0,
        "teacher_over_student": 40.0,
        "pipeline_over_forward": 2.0,
        "overhead_ms": 1.0,
        "naive_over_pipeline": 4.0,
        "node_over_pipeline": 3.0,
    }


@pytest.mark.slow
@pytest.mark.ros
def test_the_node_is_timed_as_a_process_and_every_frame_accounted_for(tiny_onnx_bundle, monkeypatch):
    pytest.importorskip("rclpy")
    from road_kd_seg.tools import node_timing

    monkeypatch.setattr(node_timing, "SECONDS", 2)
    monkeypatch.setattr(node_timing, "NUM_RENDERED", 2)
    row = node_timing.time_node(str(tiny_onnx_bundle), 10, "cpu")
    assert row["sent"] == 20
    assert row["published"] > 0
    assert row["received"] == row["published"] + sum(row["dropped"].values())
    assert 0 < row["latency_p50_ms"] <= row["latency_p95_ms"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nowhere"], "no model.yaml"),
        (["--rounds", "0"], "at least 1"),
        (["--model", "nowhere", "--json", "/proc/nowhere/x.json"], "/proc/nowhere: cannot be written"),
        (["--model", "nowhere", "--json", "/dev/null/x.json"], "/dev/null: cannot be written"),
        (["--model", "nowhere", "--json", "/tmp"], "/tmp: cannot be written, it is a folder"),
    ],
)
def test_bad_arguments_are_one_line_and_exit_code_1(arguments, message, capsys):
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
