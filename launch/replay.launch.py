# SPDX-License-Identifier: Apache-2.0
"""A bag through the segmentation node; with `out:=FOLDER`, what the node published is scored as well."""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.substitutions import ExecutableInPackage

from launch import LaunchContext, LaunchDescription
from road_kd_seg.errors import RoadKdError
from road_kd_seg.ros.launching import declared, end_with_code, rviz, scoped

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
    value = {name: LaunchConfiguration(name).perform(context) for name in ("bag", *ARGUMENTS)}
    if not Path(value["bag"]).exists():
        raise RoadKdError(f"bag {value['bag']} does not exist")
    camera = value["camera"].rstrip("/")
    viewer = [scoped([rviz(camera, "/road_seg", value["frame"], use_sim_time=True)])] if value["rviz"] == "true" else []
    return [*viewer, *(evaluation(value) if value["out"] else playback(value, camera))]


def playback(value: dict[str, str], camera: str) -> list:
    seg = Path(__file__).parent / "seg.launch.py"
    arguments = {"use_sim_time": "true", "model": value["model"], "camera": camera}
    loop = ["--loop"] if value["loop"].lower() == "true" else []
    player = Node(
        package="road_kd_seg",
        executable="bag_player",
        output="screen",
        arguments=[value["bag"], "--clock", "--rate", value["rate"], "--wait-for-subscribers", "60", *loop],
        on_exit=end_with_code,
    )
    source = PythonLaunchDescriptionSource(str(seg))
    return [
        scoped([IncludeLaunchDescription(source, launch_arguments=arguments.items())]),
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
