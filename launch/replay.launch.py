# SPDX-License-Identifier: Apache-2.0
"""A bag through the segmentation node; with `out:=FOLDER`, what the node published is scored as well."""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction
from launch.substitutions import EnvironmentVariable
from launch_ros.actions import Node
from launch_ros.substitutions import ExecutableInPackage

from launch import LaunchContext, LaunchDescription
from road_kd_seg.errors import RoadKdError
from road_kd_seg.node_interface import NODE_NAME
from road_kd_seg.ros.launching import absolute, declared, end_with_code, included, is_true, rviz, scoped, values

ARGUMENTS = {
    "rate": ("1.0", "Speed of the bag."),
    "loop": ("false", "Start the bag again at its end; not with out."),
    "model": ("road_student", "Model bundle."),
    "camera": ("/camera/camera", "Namespace of the camera's topics in the bag; with out, replay_eval finds them."),
    "out": ("", "Folder for report.html and report.json; empty: no evaluation."),
    "rviz": ("false", "Show the outputs in RViz."),
    "frame": ("camera_color_optical_frame", "RViz's fixed frame."),
}


def generate_launch_description() -> LaunchDescription:
    bag = DeclareLaunchArgument("bag", description="rosbag2 folder, or an .mcap or .db3 file.")
    return LaunchDescription([bag, *declared(ARGUMENTS), OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list:
    value = values(context, ("bag", *ARGUMENTS))
    if not Path(value["bag"]).exists():
        raise RoadKdError(f"bag {value['bag']} does not exist")
    camera = value["camera"].rstrip("/")
    shows = is_true("rviz", value["rviz"])
    # The player's topics stay where they were recorded.
    node = f"/{NODE_NAME}" if value["out"] else absolute(context, NODE_NAME)
    viewer = [scoped([rviz(camera, node, value["frame"], use_sim_time=True)])] if shows else []
    return [*viewer, *(evaluation(value) if value["out"] else playback(context, value, camera))]


def playback(context: LaunchContext, value: dict[str, str], camera: str) -> list:
    arguments = {"use_sim_time": "true", "model": value["model"], "camera": camera}
    loop = ["--loop"] if is_true("loop", value["loop"]) else []
    player = Node(
        package="road_kd_seg",
        executable="bag_player",
        output="screen",
        arguments=[value["bag"], "--clock", "--rate", value["rate"], "--wait-for-subscribers", "60", *loop],
        on_exit=end_with_code,
    )
    return [
        included(context, Path(__file__).parent / "seg.launch.py", arguments),
        scoped([player]),
    ]


def evaluation(value: dict[str, str]) -> list:
    """replay_eval starts node and player itself, on this domain, so that RViz sees them."""
    replay_eval = ExecutableInPackage(package="road_kd_seg", executable="replay_eval")
    options = ["--live", "--model", value["model"], "--rate", value["rate"], "--out", value["out"]]
    domain = ["--domain-id", EnvironmentVariable("ROS_DOMAIN_ID", default_value="0")]
    return [
        scoped(
            [ExecuteProcess(cmd=[replay_eval, value["bag"], *options, *domain], output="screen", on_exit=end_with_code)]
        )
    ]
