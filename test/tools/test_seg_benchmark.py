import json
import time

import pytest
import torch

from road_kd_seg.tools.frame_timing import time_interleaved
from road_kd_seg.tools.seg_benchmark import main


def test_every_round_runs_each_once_and_warm_up_is_not_counted():
    calls = []

    def slow_at_first(name):
        first = name not in calls
        calls.append(name)
        deadline = time.perf_counter() + (0.05 if first else 0.0)
        while time.perf_counter() < deadline:
            pass

    medians_ms = time_interleaved(
        {"a": lambda: slow_at_first("a"), "b": lambda: slow_at_first("b")}, 2, torch.device("cpu"), warm_up=1
    )
    assert calls == ["a", "b"] * 3
    assert max(medians_ms.values()) < 50


def test_the_tool_writes_what_it_prints(tiny_bundle, tmp_path, capsys):
    report_path = tmp_path / "bench.json"
    assert main(["--model", str(tiny_bundle), "--device", "cpu", "--rounds", "2", "--json", str(report_path)]) == 0
    report = json.loads(report_path.read_text())
    assert set(report["median_ms"]) == {"forward", "pipeline", "outputs", "naive"}
    assert report["ratio"]["pipeline / forward"] > 1
    assert "tiny on cpu" in capsys.readouterr().out


def test_another_backend_is_timed_beside_torch(tiny_onnx_bundle, tmp_path):
    report_path = tmp_path / "bench.json"
    arguments = ["--model", str(tiny_onnx_bundle), "--device", "cpu", "--rounds", "1", "--json", str(report_path)]
    assert main([*arguments, "--backend", "onnx"]) == 0
    report = json.loads(report_path.read_text())
    assert "onnxruntime" in report["device"]
    medians_ms = report["median_ms"]
    ratio = medians_ms["forward by torch"] / medians_ms["forward"]
    assert report["ratio"]["forward by torch / forward"] == pytest.approx(ratio, rel=0.1)  # of rounded times


@pytest.mark.parametrize(
    ("arguments", "message"), [(["--model", "nowhere"], "no model.yaml"), (["--rounds", "0"], "at least 1")]
)
def test_bad_arguments_are_one_line_and_exit_code_1(arguments, message, capsys):
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
