# SPDX-License-Identifier: Apache-2.0
"""What the launch files share. Imports ROS's launch packages, and nothing of ours but paths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    SetEnvironmentVariable,
    Shutdown,
    UnsetLaunchConfiguration,
)
from launch.event import Event
from launch.events.process import ProcessExited
from launch.launch_context import LaunchContext
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import Node

from road_kd_seg.errors import RoadKdError
from road_kd_seg.fastdds import PROFILE_VARIABLES
from road_kd_seg.share import share_file

INPUTS = (
    "color/image_raw",
    "color/image_raw/compressed",
    "color/camera_info",
    "aligned_depth_to_color/image_raw",
    "aligned_depth_to_color/image_raw/compressedDepth",
)

_OF_LAUNCH = {"ros_namespace", "ros_remaps", "global_params", "emulate_tty"}
"""Where launch keeps what PushRosNamespace, SetRemap, SetParameter and its own settings say, beside the arguments."""


def declared(arguments: Mapping[str, tuple[str, str]]) -> list[DeclareLaunchArgument]:
    """Declarations of name → (default, description)."""
    return [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in arguments.items()
    ]


def values(context: LaunchContext, names: Iterable[str]) -> dict[str, str]:
    """The values of launch arguments."""
    return {name: LaunchConfiguration(name).perform(context) for name in names}


def is_true(name: str, value: str) -> bool:
    """A launch argument as a switch.

    Raises:
        RoadKdError: it is neither true nor false.
    """
    if value.lower() not in ("true", "false"):
        raise RoadKdError(f"{name}:={value}: expected true or false")
    return value.lower() == "true"


def require_packages(*names: str) -> None:
    """Look packages up before anything is started, so that a missing one leaves no process behind.

    Raises:
        RoadKdError: the first that is missing.
    """
    for name in names:
        try:
            get_package_share_directory(name)
        except PackageNotFoundError as error:
            raise RoadKdError(
                f"package '{name}' is not installed: apt install ros-$ROS_DISTRO-{name.replace('_', '-')}"
            ) from error


def scoped(actions: Sequence[Action]) -> GroupAction:
    """Actions with the shared-memory profile that images need, which nothing else gets to see.

    What a launch file around this one has pushed (namespace, parameters, remaps, environment) stays.
    """
    profile = str(share_file("config/fastdds_shm.xml"))
    variables = [
        SetEnvironmentVariable(name, EnvironmentVariable(name, default_value=profile)) for name in PROFILE_VARIABLES
    ]
    return GroupAction([*variables, *actions], scoped=True)


def included(context: LaunchContext, file: Path, arguments: Mapping[str, str]) -> GroupAction:
    """A launch file with these arguments and no others: some it would take for its own, of the rest it would warn."""
    source = PythonLaunchDescriptionSource(str(file))
    forgotten = [UnsetLaunchConfiguration(name) for name in context.launch_configurations if name not in _OF_LAUNCH]
    return scoped([*forgotten, IncludeLaunchDescription(source, launch_arguments=arguments.items())])


def absolute(context: LaunchContext, *names: str) -> str:
    """Names, one below the other, below the namespace that a launch file around this one has pushed."""
    parts: list[str] = []
    for name in (context.launch_configurations.get("ros_namespace", ""), *names):
        parts = [*([] if name.startswith("/") else parts), *(part for part in name.split("/") if part)]
    return "/" + "/".join(parts)


def rviz(camera: str, node: str, frame: str, *, use_sim_time: bool = False) -> Node:
    """RViz on the topics of a camera and a node, both absolute, in a fixed frame."""
    require_packages("rviz2")
    outputs = ("overlay", "obstacle_mask", "lane_mask", "obstacle_points", "costmap_points")
    return Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", str(share_file("config/seg.rviz")), "-f", frame],
        parameters=[{"use_sim_time": True}] if use_sim_time else [],
        remappings=[
            ("/camera/camera/color/image_raw", f"{camera}/color/image_raw"),
            *((f"/road_seg/{name}", f"{node}/{name}") for name in outputs),
        ],
    )


def end_with_code(event: Event, context: LaunchContext) -> Shutdown | None:
    """End the launch with a process: with an error, and so with code 1, if the process had one.

    Raises:
        RoadKdError: the process failed.
    """
    assert isinstance(event, ProcessExited)
    if context.is_shutdown:  # on a Ctrl-C, which is no failure
        return None
    if event.returncode:
        raise RoadKdError(f"{Path(event.cmd[0]).name} ended with code {event.returncode}: its output is above")
    return Shutdown(reason=f"{Path(event.cmd[0]).name} has ended")
