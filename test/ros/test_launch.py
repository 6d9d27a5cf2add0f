"""The launch files, run by ROS's own launch. PyPI has no launch packages: without ROS this is skipped.

Skipped by a mark: launch_testing's plugin imports every test file, and skipping the module would skip the others too.
"""

from pathlib import Path

import pytest
from sensor_msgs.msg import Image

try:
    import launch_pytest
    import launch_ros  # noqa: F401
    from ament_index_python.packages import get_package_share_directory
    from launch.actions import IncludeLaunchDescription, RegisterEventHandler, SetEnvironmentVariable
    from launch.event_handlers import OnProcessExit
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    from launch import LaunchDescription

    SHARE = Path(get_package_share_directory("road_kd_seg"))
    LACKING = ""
except ImportError as error:
    launch_pytest = pytest
    LACKING = f"ROS's launch packages are not importable: {error}"
except (LookupError, OSError):
    LACKING = "road_kd_seg is not in the ament index: build it with colcon and source it"

pytestmark = [pytest.mark.ros, pytest.mark.skipif(bool(LACKING), reason=LACKING)]


def source(name):
    return PythonLaunchDescriptionSource(str(SHARE / "launch" / name))


@pytest.fixture(scope="module")
def exit_codes():
    """Of the processes that the launch has started, once they have ended."""
    return []


@launch_pytest.fixture(scope="module")
def seg_launch(empty_graph, tiny_bundle, exit_codes):
    arguments = {"model": str(tiny_bundle), "device": "cpu", "camera": ""}
    note = OnProcessExit(on_exit=lambda event, _: exit_codes.append(event.returncode))
    return LaunchDescription(
        [
            SetEnvironmentVariable("ROS_DOMAIN_ID", str(empty_graph.domain_id)),
            RegisterEventHandler(note),
            IncludeLaunchDescription(source("seg.launch.py"), launch_arguments=arguments.items()),
        ]
    )


@pytest.mark.launch(fixture=seg_launch)
def test_the_launched_node_segments(empty_graph, stamps):
    (labels,) = empty_graph.outputs(stamps, label=Image)
    color = empty_graph.publish_pair(next(stamps))
    empty_graph.until(lambda: any(msg.header == color.header for msg in labels), "the label of a color image")


@pytest.mark.launch(fixture=seg_launch, shutdown=True)
def test_the_launched_node_ends_cleanly(exit_codes):
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
