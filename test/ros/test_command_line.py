# SPDX-License-Identifier: Apache-2.0
"""Whatever the command line and the environment hold: one line and exit code 1, or a clean end; never a traceback."""

import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

pytestmark = pytest.mark.ros

COMMAND = [sys.executable, "-m", "road_kd_seg.ros.seg_node"]
LIMIT_S = 200


def run(*arguments, **environment):
    """Exit code, standard output and the lines of standard error."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ROS_SECURITY")}
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env=clean | {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"} | environment,
    )
    return done.returncode, done.stdout, done.stderr.strip().splitlines()


def without(module, folder: Path) -> dict[str, str]:
    """An environment in which a package is not installed."""
    (folder / module).mkdir()
    (folder / module / "__init__.py").write_text(f"raise ModuleNotFoundError('none', name='{module}')")
    return {"PYTHONPATH": str(folder)}


class TestHelp:
    def test_it_lists_the_parameters_and_ends(self):
        code, out, err = run("--help")
        assert (code, err) == (0, [])
        assert "seg_node --ros-args -p model:=" in out
        assert "max_range_m: 10.0" in out

    def test_it_needs_no_ros(self, tmp_path):
        assert run("-h", **without("rclpy", tmp_path))[0] == 0


class TestRefusal:
    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            (["--model", "x"], "arguments --model x: expected none before --ros-args; parameters are given as"),
            (["--ros-args", "--", "x"], "arguments x:"),
            (["--ros-args", "--params-file", "/no/such.yaml"], "'--params-file /no/such.yaml'"),
            (["--ros-args", "-r", "nonsense"], "Couldn't parse remap rule: '-r nonsense'"),
            (["--ros-args", "-r", "color/image_raw:=/1a"], "Couldn't parse remap rule"),
            (["--ros-args", "-p"], "trailing -p flag"),
            (["--ros-args", "--log-level", "shouty"], "'--log-level shouty'"),
            (["--ros-args", "--frobnicate"], "unknown ROS arguments ['--frobnicate']"),
            (["--ros-args", "-p", "modl:=x"], "parameter 'modl' is unknown: did you mean 'model'?"),
            (["--ros-args", "-p", "frob:=1"], "parameter 'frob' is unknown"),
            (["--ros-args", "-p", "road_seg:frob:=1"], "parameter 'frob' is unknown"),
            (["--ros-args", "-r", "__ns:=bad ns"], "Couldn't parse remap rule: '-r __ns:=bad ns'"),
            (["--ros-args", "-r", "__node:=/a/b"], "Couldn't parse remap rule: '-r __node:=/a/b'"),
            (["--ros-args", "-p", os.fsdecode(b"model:=\xff")], r"argument 'model:=\udcff' is no UTF-8 text"),
            (["--ros-args", "-p", "model:=3"], "parameters: Trying to set parameter 'model' to '3'"),
            (["--ros-args", "-p", "sync_slop_s:=7.0"], "sync_slop_s out of range"),
            (["--ros-args", "-p", "max_range_m:=.nan"], "max_range_m out of range"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_a_wrong_command_line_is_one_line(self, arguments, reason):
        code, _, err = run(*arguments)
        assert (code, len(err)) == (1, 1), err
        assert err[0].startswith("error: ")
        assert reason in err[0]

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("a: [b", "Couldn't parse params file"),
            ("model: x", "Cannot have a value before ros__parameters"),
            ("/**:\n  ros__parameters:\n    min_confidense: 0.5\n", "did you mean 'min_confidence'?"),
        ],
        ids=["broken", "without ros__parameters", "misspelt"],
    )
    def test_a_wrong_parameter_file_is_one_line(self, tmp_path, text, reason):
        file = tmp_path / "node.yaml"
        file.write_text(text)
        code, _, err = run("--ros-args", "--params-file", file)
        assert (code, len(err)) == (1, 1), err
        assert reason in err[0]

    @pytest.mark.parametrize(
        ("environment", "reason"),
        [
            ({"ROS_DOMAIN_ID": "abc"}, "ROS_DOMAIN_ID is 'abc', expected a number from 0 to 232"),
            ({"ROS_DOMAIN_ID": "999"}, "ROS_DOMAIN_ID is '999', expected a number from 0 to 232"),
            ({"ROS_DOMAIN_ID": "-1"}, "ROS_DOMAIN_ID is '-1', expected a number from 0 to 232"),
            ({"ROS_DOMAIN_ID": "²"}, "ROS_DOMAIN_ID is '²', expected a number from 0 to 232"),
            ({"ROS_LOG_DIR": "/proc/no/such"}, "set ROS_LOG_DIR to a folder that can be written"),
            ({"HOME": ""}, "HOME is not set, so there is no log folder: set ROS_LOG_DIR"),
            ({"ROS_STATIC_PEERS": "no address"}, "Unable to resolve peer no address: correct ROS_STATIC_PEERS"),
            ({"RCUTILS_COLORIZED_OUTPUT": "yes"}, "RCUTILS_COLORIZED_OUTPUT is 'yes', expected 0 or 1"),
            ({"ROS_SECURITY_ENABLE": "true", "ROS_SECURITY_STRATEGY": "Enforce"}, "ROS_SECURITY_KEYSTORE is ''"),
            ({"RMW_IMPLEMENTATION": "rmw_none_cpp"}, "RMW_IMPLEMENTATION is 'rmw_none_cpp', which is not installed"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
    )
    def test_a_wrong_environment_is_one_line(self, environment, reason):
        code, _, err = run(**environment)
        assert (code, len(err)) == (1, 1), err
        assert reason in err[0]

    def test_a_missing_ros_is_one_line(self, tmp_path):
        code, _, err = run(**without("rclpy", tmp_path))
        assert (code, len(err)) == (1, 1), err
        assert "'rclpy' is missing: source ROS 2" in err[0]


def catches_signals(pid: int) -> bool:
    """Whether a process has a handler for SIGTERM, which Python itself has not."""
    mask = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return mask is not None and bool(int(mask[1], 16) >> (signal.SIGTERM - 1) & 1)


class TestEarlySignal:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
    def test_during_start_up_it_ends_cleanly(self, tmp_path, number):
        log = tmp_path / "log"
        with log.open("w") as stream:
            # Below nohup, which a node then obeys, hangups would be ignored here, too.
            obeyed = partial(signal.signal, number, signal.SIG_DFL)
            process = subprocess.Popen(COMMAND, stdout=stream, stderr=stream, preexec_fn=obeyed)
        deadline_s = time.monotonic() + LIMIT_S
        while not catches_signals(process.pid):
            assert time.monotonic() < deadline_s
        process.send_signal(number)
        assert process.wait(LIMIT_S) == 0
        assert "Traceback" not in log.read_text()
        assert "active" not in log.read_text()
