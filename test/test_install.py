# SPDX-License-Identifier: Apache-2.0
"""What `pip install .` brings, in environments of its own: the requirements of the wheel, and nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path

import pytest

from environments import closure, make_environment
from ros_graph import HAS_ROS, START_S, Process

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("road_kd_seg", "models", "config", "launch", "resource", "setup.py", "setup.cfg", "package.xml", "README.md")
TEST_DEPENDS = ("pytest", "pytest-timeout", "hypothesis")
"""What package.xml's test_depends bring."""
TOOLS = {
    "road_kd_seg.replay.cli": ["bag", "--out", "out"],
    "road_kd_seg.bags.player": ["bag"],
    "road_kd_seg.tools.seg_benchmark": [],
}
"""Tools that need an extra, with the arguments that they require."""

pytestmark = pytest.mark.xdist_group("install")  # one worker, as the environment takes a while to make


def run(command: Sequence[object], **options) -> subprocess.CompletedProcess:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=240, **options)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this source tree."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", out, source]
    built = run(command)
    assert built.returncode == 0, built.stderr
    (found,) = out.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def minimal(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Interpreter of an environment with the wheel, its requirements, real ROS messages, and no other extra."""
    (built,) = distributions(path=[str(wheel)])
    needed = built.requires or []
    base = [text for text in needed if "extra ==" not in text]
    ros = [text.partition(";")[0] for text in needed if re.search(r"extra == .ros.", text)]
    python = make_environment(tmp_path_factory.mktemp("minimal") / "env", closure([*base, *ros, *TEST_DEPENDS]))
    installed = run([sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", wheel])
    assert installed.returncode == 0, installed.stderr
    return python


@pytest.mark.parametrize("package", ["rosbags", "matplotlib", "jinja2", "onnxruntime", "road_kd_training"])
def test_the_environment_is_minimal(minimal, package, tmp_path):
    found = run([minimal, "-c", f"import importlib.util as u; print(u.find_spec({package!r}))"], cwd=tmp_path)
    if package in ("jinja2", "matplotlib") and found.stdout.strip() != "None":
        pytest.skip(f"{package} comes with PyTorch or timm")
    assert found.stdout.strip() == "None", found.stderr


def test_the_shipped_model_segments_a_frame(minimal, tmp_path):
    code = (
        "import numpy as np; from road_kd_seg import RgbdFrame, Segmenter;"
        "segmenter = Segmenter.from_bundle('road_student', device='cpu');"
        "frame = RgbdFrame(np.zeros((90, 160, 3), np.uint8), np.ones((90, 160), np.float32));"
        "print(segmenter(frame).label.shape)"
    )
    result = run([minimal, "-c", code], cwd=tmp_path)
    assert result.stdout.strip() == "(90, 160)", result.stderr


@pytest.mark.ros
@pytest.mark.skipif(not HAS_ROS, reason="rclpy is not installed")
def test_the_node_starts_and_becomes_active(minimal, graph, tiny_bundle, tmp_path):
    arguments = ["--ros-args", "-p", f"model:={tiny_bundle}"]
    node = Process([str(minimal), "-m", "road_kd_seg.ros.seg_node", *arguments], tmp_path / "log", graph.domain_id)
    try:
        graph.until(lambda: not node.running or graph.latest_status.get("state") == "active", "active", START_S)
        assert node.running, node.log
    finally:
        assert node.stop() == 0, node.log


@pytest.mark.parametrize(
    "tool", ["road_kd_seg.replay.cli", "road_kd_seg.bags.player", "road_kd_seg.tools.seg_benchmark"]
)
def test_a_tool_that_needs_an_extra_helps_and_says_which(minimal, tool, tmp_path):
    assert run([minimal, "-m", tool, "--help"], cwd=tmp_path).returncode == 0
    result = run([minimal, "-m", tool, *TOOLS[tool]], cwd=tmp_path)
    assert result.returncode == 1
    assert re.fullmatch(r"error: \w+ is not installed: pip install 'road_kd_seg\[replay\]'\n", result.stderr)


@pytest.mark.parametrize(
    "tool", ["road_kd_seg.replay.cli", "road_kd_seg.bags.player", "road_kd_seg.tools.seg_benchmark"]
)
def test_help_does_not_wait_for_pytorch(tool, tmp_path):
    code = f"import runpy, sys; sys.argv = ['tool', '--help']\ntry: runpy.run_module({tool!r}, run_name='__main__')"
    code += "\nfinally: print('torch' in sys.modules, 'rosbags' in sys.modules, 'rclpy' in sys.modules)"
    result = run([sys.executable, "-c", code], cwd=ROOT)
    assert result.stdout.splitlines()[-1] == "False False False", result.stderr


def test_the_node_loads_nothing_that_only_the_replay_needs():
    code = "import sys, road_kd_seg.ros.seg_node, road_kd_seg.ros.node; print(*sorted(sys.modules))"
    loaded = set(run([sys.executable, "-c", code], cwd=ROOT).stdout.split())
    assert "road_kd_seg.segmenter" in loaded
    assert not loaded & {"rosbags", "matplotlib", "jinja2", "rich", "road_kd_seg.bags", "road_kd_seg.replay"}


def test_colcon_test_collects_the_suite_without_extras(minimal):
    """An import that skips a module at collection once made `colcon test` run nothing and report success."""
    result = run([minimal, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "test"], cwd=ROOT)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    collected = re.search(r"(\d+) tests? collected", result.stdout)
    assert collected, result.stdout[-3000:]
    assert int(collected[1]) >= 500
