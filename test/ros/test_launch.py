"""The launch files, run by ROS's own launch. PyPI has no launch packages: without ROS this is skipped."""

from pathlib import Path

import pytest

# `launch` alone would find this repository's folder of that name.
launch_actions = pytest.importorskip("launch.actions", reason="ROS's launch packages are not installed")
launch_ros = pytest.importorskip("launch_ros", reason="ROS's launch_ros is not installed")
launch_pytest = pytest.importorskip("launch_pytest", reason="ROS's launch_pytest is not installed")

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory  # noqa: E402
from launch.event_handlers import OnProcessExit  # noqa: E402
from launch.launch_description_sources import PythonLaunchDescriptionSource  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402

from launch import LaunchDescription  # noqa: E402

try:
    SHARE = Path(get_package_share_directory("road_kd_seg"))
except (PackageNotFoundError, OSError):
    pytest.skip("road_kd_seg is not in the ament index: build it with colcon and source it", allow_module_level=True)

pytestmark = pytest.mark.ros


def source(name):
    return PythonLaunchDescriptionSource(str(SHARE / "launch" / name))


@pytest.fixture
def exit_codes():
    """Of the processes that the launch has started, once they have ended."""
    return []


@launch_pytest.fixture
def seg_launch(graph, tiny_bundle, exit_codes):
    arguments = {"model": str(tiny_bundle), "device": "cpu", "camera": ""}
    note = OnProcessExit(on_exit=lambda event, _: exit_codes.append(event.returncode))
    return LaunchDescription(
        [
            launch_actions.SetEnvironmentVariable("ROS_DOMAIN_ID", str(graph.domain_id)),
            launch_actions.RegisterEventHandler(note),
            launch_actions.IncludeLaunchDescription(source("seg.launch.py"), launch_arguments=arguments.items()),
        ]
    )


@pytest.mark.launch(fixture=seg_launch)
def test_the_launched_node_segments_and_ends_cleanly(graph, stamps, exit_codes):
    (labels,) = graph.outputs(stamps, label=Image)
    color = graph.publish_pair(next(stamps))
    graph.until(lambda: any(msg.header == color.header for msg in labels), "the label of a colour image")
    yield
    assert exit_codes == [0]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("seg.launch.py", {"camera", "params_file", "model", "device", "use_sim_time", "log_level"}),
        ("replay.launch.py", {"bag", "rate", "loop", "model", "out", "rviz"}),
        ("realsense.launch.py", {"rviz"}),
    ],
)
def test_a_launch_file_declares_its_arguments(name, arguments):
    description = source(name).try_get_launch_description_without_context()
    declared = {entity.name for entity in description.entities if hasattr(entity, "default_value")}
    assert arguments <= declared
