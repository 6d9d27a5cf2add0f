# SPDX-License-Identifier: Apache-2.0
"""The launch files, run by ROS's own launch, beside a driver and an RViz that only say what they were given.

PyPI has no launch packages: without ROS this is skipped. Skipped by a mark: launch_testing's plugin imports every test
file, and skipping the module would skip the others too.
"""

import importlib.util
import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from rcl_interfaces.srv import GetParameters
from sensor_msgs.msg import Image

from recordings import make_frame
from road_kd_seg.bags.writer import write_bag
from ros_graph import START_S, Graph, Process

ROOT = Path(__file__).resolve().parents[2]
LACKING = [name for name in ("launch", "launch_ros", "ament_index_python") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.ros,
    pytest.mark.skipif(bool(LACKING), reason=f"ROS's launch is not importable: {', '.join(LACKING)}"),
]

# A shell that starts the tests in the background ignores SIGINT, and so would the launch.
RUNNER = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
arguments = [tuple(argument.split(":=", 1)) for argument in sys.argv[2:]]
source = PythonLaunchDescriptionSource(sys.argv[1])
service = LaunchService()
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments)])
)
sys.exit(service.run())
"""

# Warns of arguments that it does not know, as rs_launch.py of realsense-ros 4.58 does.
DRIVER_LAUNCH = """
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import Node
NAMES = ("camera_name", "camera_namespace", "serial_no", "align_depth.enable", "enable_sync",
         "rgb_camera.color_profile", "depth_module.depth_profile")
def start(context):
    given = dict(context.launch_configurations)
    print("driver was given", {name: given[name] for name in NAMES if given[name]})
    for name in given.keys() - set(NAMES):
        print(f"[WARN] parameter {name} is not supported")
    return [Node(package="realsense2_camera", executable="realsense2_camera_node", output="screen")]
def generate_launch_description():
    declared = [DeclareLaunchArgument(name, default_value="") for name in NAMES]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])
"""

# As a robot's own launch file has it.
WRAPPER = """
from launch import LaunchDescription
from launch.actions import GroupAction, IncludeLaunchDescription, SetEnvironmentVariable
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import PushRosNamespace, SetParameter
def generate_launch_description():
    source = PythonLaunchDescriptionSource("{file}")
    included = IncludeLaunchDescription(source, launch_arguments={arguments}.items())
    pushed = [PushRosNamespace("robot"), SetParameter("use_sim_time", True), included]
    profile = SetEnvironmentVariable("FASTRTPS_DEFAULT_PROFILES_FILE", "{profile}")
    return LaunchDescription([profile, GroupAction(pushed)])
"""

PROGRAM = """#!{python}
import os, signal, sys
print(sys.argv[1:], "profile", os.environ.get("FASTRTPS_DEFAULT_PROFILES_FILE"), flush=True)
signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
signal.pause()
"""
OURS = """#!{python}
import runpy
runpy.run_module("{module}", run_name="__main__", alter_sys=True)
"""


def add_package(prefix: Path, name: str, **programs: str) -> Path:
    """A package of an ament index: its marker and its programs; returns its share folder."""
    (index := prefix / "share" / "ament_index" / "resource_index" / "packages").mkdir(parents=True, exist_ok=True)
    (index / name).touch()
    (share := prefix / "share" / name).mkdir(parents=True, exist_ok=True)
    for program, text in programs.items():
        file = prefix / "lib" / name / program
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    return share


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """An ament prefix with this package alone."""
    prefix = tmp_path_factory.mktemp("prefix")
    modules = {
        "seg_node": "road_kd_seg.ros.seg_node",
        "bag_player": "road_kd_seg.bags.player",
        "replay_eval": "road_kd_seg.replay.cli",
    }
    add_package(
        prefix, "road_kd_seg", **{name: OURS.format(python=sys.executable, module=m) for name, m in modules.items()}
    )
    return prefix


@pytest.fixture(scope="module")
def prefix_with_driver(tmp_path_factory):
    """An ament prefix with a driver and RViz."""
    prefix = tmp_path_factory.mktemp("driver")
    program = PROGRAM.format(python=sys.executable)
    share = add_package(prefix, "realsense2_camera", realsense2_camera_node=program)
    (share / "launch").mkdir()
    (share / "launch" / "rs_launch.py").write_text(DRIVER_LAUNCH)
    add_package(prefix, "rviz2", rviz2=program)
    return prefix


@pytest.fixture
def start(graph: Graph, tmp_path, monkeypatch):
    """Starts a launch file with arguments; whatever is left of it is killed at the end."""
    started = []

    def start(name: str | Path, *prefixes: Path, **arguments: object) -> Process:
        monkeypatch.setenv("AMENT_PREFIX_PATH", os.pathsep.join(map(str, prefixes)))
        monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "log"))
        monkeypatch.setenv("OVERRIDE_LAUNCH_PROCESS_OUTPUT", "both")
        for variable in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
            monkeypatch.delenv(variable, raising=False)
        words = [f"{key}:={value}" for key, value in arguments.items()]
        command = [sys.executable, "-c", RUNNER, str(ROOT / "launch" / name), *words]
        process = Process(command, tmp_path / f"launch-{len(started)}.log", graph.domain_id)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.running:
            process.kill()
    for process in started:
        for pid in children(process):
            if Path(f"/proc/{pid}").exists():
                os.kill(pid, signal.SIGKILL)


def children(process: Process) -> list[int]:
    """Processes that a launch said it has started."""
    return [int(pid) for pid in re.findall(r"process started with pid \[(\d+)\]", process.log)]


def no_orphans(process: Process) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in children(process))


def interrupt(process: Process) -> int:
    """Signal every process, as Ctrl-C in a terminal does and launch counts on; returns its exit code."""
    for pid in children(process):
        os.kill(pid, signal.SIGINT)
    return process.stop(signal.SIGINT)


def warnings(process: Process) -> list[str]:
    """What launch and the launch files say; not what programs, tested elsewhere, do, nor what is said of our Ctrl-C."""
    lines = [line for line in process.log.splitlines() if re.search("warn|error", line, re.IGNORECASE)]
    own = [line for line in lines if not re.match(r"\[\w+-\d+\] ", line)]
    return [line for line in own if "user interrupted with ctrl-c (SIGINT)" not in line]


class TestSeg:
    def test_it_segments_on_a_camera_and_ends_cleanly(self, graph, stamps, start, prefix, tiny_bundle):
        process = start("seg.launch.py", prefix, model=tiny_bundle, device="cpu", camera="")
        (labels,) = graph.outputs(stamps, label=Image)
        assert labels
        assert interrupt(process) == 0
        assert no_orphans(process)
        assert "has finished cleanly" in process.log
        assert warnings(process) == []

    def test_several_cameras_get_a_node_each_in_their_namespace(self, graph, start, prefix, tiny_bundle):
        cameras = "/front/camera,/rear/camera"
        values = {"namespace": "robot", "log_level": "warn"}
        process = start("seg.launch.py", prefix, model=tiny_bundle, camera=cameras, **values)
        for side in ("front", "rear"):
            label = f"/robot/{side}/camera/road_seg/label"
            graph.until(lambda: graph.node.count_publishers(label), label, START_S)  # noqa: B023
            color = f"/{side}/camera/color/image_raw"
            graph.until(lambda: graph.node.count_subscribers(color) == 1, color, START_S)  # noqa: B023
        assert "active" not in process.log
        assert interrupt(process) == 0
        assert no_orphans(process)
        assert warnings(process) == []

    def test_cameras_without_a_slash_are_below_the_namespace(self, graph, start, prefix, tiny_bundle):
        process = start("seg.launch.py", prefix, model=tiny_bundle, camera="front,rear", namespace="robot")
        for side in ("front", "rear"):
            color = f"/robot/{side}/color/image_raw"
            graph.until(lambda: graph.node.count_subscribers(color) == 1, color, START_S)  # noqa: B023
        assert interrupt(process) == 0

    def test_a_lifecycle_manager_finds_it_unconfigured(self, graph, start, prefix, tiny_bundle):
        process = start("seg.launch.py", prefix, model=tiny_bundle, autostart="false")
        assert graph.lifecycle_state() == "unconfigured"
        assert interrupt(process) == 0

    @pytest.mark.parametrize(
        ("name", "value"),
        [("camera", "/a,/a"), ("camera", "/a,"), ("autostart", "no"), ("params_file", "/no/such.yaml")],
    )
    def test_what_makes_no_sense_starts_nothing(self, start, prefix, name, value):
        process = start("seg.launch.py", prefix, **{name: value})
        assert process.wait(START_S) == 1
        assert f"{name}:={value}: expected" in process.log
        assert children(process) == []


class TestRealsense:
    def test_without_the_driver_nothing_is_started(self, start, prefix):
        process = start("realsense.launch.py", prefix)
        assert process.wait(START_S) == 1
        assert "package 'realsense2_camera' is not installed: apt install" in process.log
        assert children(process) == []

    def test_the_driver_gets_its_arguments_and_no_others(self, graph, start, prefix, prefix_with_driver, tiny_bundle):
        values = {"serial_no": "123", "camera_name": "front", "color_profile": "848x480x30", "model": tiny_bundle}
        process = start("realsense.launch.py", prefix, prefix_with_driver, **values)
        topic = "/camera/front/color/image_raw"
        graph.until(lambda: graph.node.count_subscribers(topic), "the node on the camera", START_S)
        given = (
            "driver was given {'camera_name': 'front', 'camera_namespace': 'camera', 'serial_no': \"'123'\","
            " 'align_depth.enable': 'true', 'enable_sync': 'true', 'rgb_camera.color_profile': '848x480x30'}"
        )
        assert given in process.log
        assert warnings(process) == []
        shown = re.search(r"\[rviz2-\d\] (.*)", process.log)[1]
        assert "'-f', 'front_color_optical_frame'" in shown
        assert f"/camera/camera/color/image_raw:={topic}" in shown
        assert process.log.count("fastdds_shm.xml") == 2  # driver and RViz
        assert interrupt(process) == 0
        assert no_orphans(process)

    def test_what_a_launch_file_around_it_has_pushed_stays(
        self, graph, start, prefix, prefix_with_driver, tiny_bundle, tmp_path
    ):
        profile = ROOT / "config" / "fastdds_shm.xml"
        values = {"file": ROOT / "launch" / "realsense.launch.py", "profile": tmp_path / "profile.xml"}
        values["profile"].write_text(profile.read_text())
        (tmp_path / "robot.launch.py").write_text(WRAPPER.format(arguments={"model": str(tiny_bundle)}, **values))
        process = start(tmp_path / "robot.launch.py", prefix, prefix_with_driver, stray="argument")
        topic = "/robot/camera/camera/color/image_raw"
        graph.until(lambda: graph.node.count_subscribers(topic), "the node on the camera", START_S)
        request = GetParameters.Request(names=["use_sim_time"])
        assert graph.call(GetParameters, "/robot/road_seg/get_parameters", request).values[0].bool_value
        assert f"/camera/camera/color/image_raw:={topic}" in process.log
        assert "/road_seg/overlay:=/robot/road_seg/overlay" in process.log
        assert process.log.count("__ns:=/robot'") == 2  # driver and RViz
        assert process.log.count(f"profile {values['profile']}") == 2
        pushed = ("ros_namespace", "global_params")  # arguments in the driver's eyes, whoever starts it so
        assert [line for line in warnings(process) if not any(name in line for name in pushed)] == []
        assert interrupt(process) == 0
        assert no_orphans(process)


class TestReplay:
    @pytest.fixture(scope="class")
    def bag(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("bag") / "drive"
        write_bag(folder, [make_frame(number, 48, 64) for number in range(20)])
        return folder

    def test_a_missing_bag_starts_nothing(self, start, prefix):
        process = start("replay.launch.py", prefix, bag="/no/such/bag")
        assert process.wait(START_S) == 1
        assert "bag /no/such/bag does not exist" in process.log
        assert children(process) == []

    def test_a_bag_that_cannot_be_played_ends_it_with_code_1(self, start, prefix, tmp_path, tiny_bundle):
        (tmp_path / "empty.mcap").touch()
        process = start("replay.launch.py", prefix, bag=tmp_path / "empty.mcap", model=tiny_bundle)
        assert process.wait(START_S) == 1
        assert "bag_player ended with code 1" in process.log
        assert no_orphans(process)

    def test_it_ends_with_the_bag(self, start, prefix, prefix_with_driver, bag, tiny_bundle):
        process = start("replay.launch.py", prefix, prefix_with_driver, bag=bag, model=tiny_bundle, rviz="true")
        assert process.wait(START_S) == 0
        assert len(children(process)) == 3  # RViz, the node and the player
        assert no_orphans(process)
        assert warnings(process) == []

    def test_with_out_it_scores_what_the_node_published(self, start, prefix, bag, tiny_bundle, tmp_path):
        process = start("replay.launch.py", prefix, bag=bag, model=tiny_bundle, out=tmp_path / "report")
        assert process.wait(START_S) == 0, process.log
        assert no_orphans(process)
        assert warnings(process) == []
        report = json.loads((tmp_path / "report" / "report.json").read_text())
        assert '"live"' in json.dumps(report)

    def test_ctrl_c_during_an_evaluation_is_no_failure(self, graph, start, prefix, bag, tiny_bundle, tmp_path):
        process = start("replay.launch.py", prefix, bag=bag, model=tiny_bundle, out=tmp_path / "report")
        graph.until(lambda: ("road_seg", "/") in graph.node.get_node_names_and_namespaces(), "the node", START_S)
        assert interrupt(process) == 0
        assert no_orphans(process)
        assert "Caught exception" not in process.log
