# SPDX-License-Identifier: Apache-2.0
"""What a team does with its own frames: train, interrupt, resume, distil, export, run the node, read the report."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from road_kd_seg.bundle import load_bundle
from road_kd_seg.replay.cli import main as replay_eval
from road_kd_training.checkpoints import LAST
from road_kd_training.cli import main
from road_kd_training.run_folder import read_result

STEPS = 60
DEADLINE_S = 300


def recipe_for(stereo_tree, tmp_path, name, network, **changes):
    def data(split):
        return [{"dataset": "stereo_pothole", "options": {"root": str(stereo_tree), "split": split}}]

    settings = {
        "name": name,
        "output": str(tmp_path / name),
        "network": network,
        "input": {"height": 32, "width": 64},
        "train": data("train"),
        "validation": data("validation"),
        "steps": STEPS,
        "batch_size": 2,
        "num_workers": 0,
        "mixed_precision": "no",
        "validate_every": 1,
        **changes,
    }
    path = tmp_path / f"{name}.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def interrupt_after_the_first_checkpoint(recipe, folder):
    """Press Ctrl-C in a training of its own process; what it said."""
    command = [sys.executable, "-c", "from road_kd_training.cli import main; raise SystemExit(main())"]
    process = subprocess.Popen(
        [*command, "train", "--config", str(recipe)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + DEADLINE_S
        while not (folder / LAST).is_file():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in error
    return out


@pytest.mark.ros
def test_train_interrupt_resume_distil_export_node_report(stereo_tree, tmp_path, monkeypatch, capsys):
    pytest.importorskip("rclpy", reason="the node needs ROS 2's rclpy")
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST"))

    teacher = recipe_for(stereo_tree, tmp_path, "teacher", {"name": "erfnet", "options": {"depth_channels": 1}})
    said = interrupt_after_the_first_checkpoint(teacher, tmp_path / "teacher")
    assert "the same command resumes from" in said
    assert read_result(tmp_path / "teacher") is None
    assert main(["train", "--config", str(teacher), "--validate_every", str(STEPS)]) == 0
    assert "resumed" in capsys.readouterr().out
    assert read_result(tmp_path / "teacher")["steps"] == STEPS

    student = recipe_for(
        stereo_tree,
        tmp_path,
        "student",
        {"name": "enet"},
        input={"height": 32, "width": 64, "depth": "none"},
        teachers=[{"bundle": str(tmp_path / "teacher" / "bundle")}],
        distillers=[{"method": "cwd", "options": {"taps": [["logits", "logits"]]}}],
        steps=4,
        validate_every=4,
    )
    assert main(["distill", "--config", str(student)]) == 0
    exported = tmp_path / "models" / "student"
    assert main(["export", str(tmp_path / "student"), "--out", str(exported)]) == 0
    assert load_bundle(exported).network == "enet"

    bag, out = tmp_path / "bag", tmp_path / "report"
    dataset = ["stereo_pothole", f"root={stereo_tree}", "split=all"]
    assert main(["dataset-to-bag", *dataset, "--out", str(bag), "--rate_hz", "2"]) == 0
    assert replay_eval([str(bag), "--live", "--model", str(exported), "--out", str(out), "--device", "cpu"]) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["frames"]["sent"] == 4
    assert report["frames"]["scored"] > 0
    assert (out / "report.html").is_file()
