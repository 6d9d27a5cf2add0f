# SPDX-License-Identifier: Apache-2.0
"""What the launch files share. Imports ROS's launch packages, and nothing of ours but paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch.action import Action
from launch.actions import DeclareLaunchArgument, GroupAction, SetEnvironmentVariable, Shutdown
from launch.event import Event
from launch.events.process import ProcessExited
from launch.launch_context import LaunchContext
from launch.substitutions import EnvironmentVariable
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


def declared(arguments: Mapping[str, tuple[str, str]]) -> list[DeclareLaunchArgument]:
    """Declarations of name → (default, description)."""
    return [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in arguments.items()
    ]


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


def scoped(actions: Sequence[Action], **arguments: str) -> GroupAction:
    """Actions that see these launch arguments and no others, with the shared-memory profile that images need.

    Without the scope, arguments leak into included launch files, which warn of those that they do not know.
    """
    profile = str(share_file("config/fastdds_shm.xml"))
    variables = [
        SetEnvironmentVariable(name, EnvironmentVariable(name, default_value=profile)) for name in PROFILE_VARIABLES
    ]
    return GroupAction([*variables, *actions], scoped=True, forwarding=False, launch_configurations=arguments)


def rviz(camera: str, node: str, frame: str, *, use_sim_time: bool = False) -> Node:
    """RViz on the topics of a camera and a node, both absolute, in a fixed frame."""
    require_packages("rviz2")
    outputs = ("overlay", "obstacle_mask", "lane_mask", "obstacle_points", "costmap_points")
    return Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", str(share_file("config/seg.rviz")), "-f", frame],
        parameters=[{"use_sim_time": use_sim_time}],
        remappings=[
            ("/camera/camera/color/image_raw", f"{camera}/color/image_raw"),
            *((f"/road_seg/{name}", f"{node}/{name}") for name in outputs),
        ],
    )


def end_with_code(event: Event, _: LaunchContext) -> Shutdown:
    """End the launch with a process: with an error, and so with code 1, if the process had one.

    Raises:
        RoadKdError: the process failed.
    """
    assert isinstance(event, ProcessExited)
    if event.returncode:
        raise RoadKdError(f"{Path(event.cmd[0]).name} ended with code {event.returncode}: its output is above")
    return Shutdown(reason=f"{Path(event.cmd[0]).name} has ended")
