# SPDX-License-Identifier: Apache-2.0
"""The segmentation node on a camera's topics, or one node for each of several; `--show-args` lists the arguments."""

from launch.actions import OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription
from road_kd_seg.errors import RoadKdError
from road_kd_seg.ros.launching import INPUTS, declared, scoped
from road_kd_seg.share import share_file

ARGUMENTS = {
    "camera": (
        "/camera/camera",
        "Namespace of the camera's topics, as realsense2_camera names them. Several, separated by commas, get a node"
        " each, in the camera's namespace: /front/camera/road_seg.",
    ),
    "namespace": ("", "Namespace of the node; with several cameras, put before theirs."),
    "params_file": (str(share_file("config/seg.yaml")), "Parameters of the node."),
    "model": ("", "Model bundle; empty: the one in params_file."),
    "device": ("", "auto, cpu, cuda or cuda:N; empty: the one in params_file."),
    "use_sim_time": ("false", "Take the time from /clock, for bags."),
    "log_level": ("info", "debug, info, warn, error or fatal."),
}


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*declared(ARGUMENTS), OpaqueFunction(function=seg_nodes)])


def seg_nodes(context: LaunchContext) -> list:
    value = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    cameras = [camera.strip().rstrip("/") for camera in value["camera"].split(",")]
    if len(set(cameras)) < len(cameras):
        raise RoadKdError(f"camera:={value['camera']} names a camera twice")
    return [scoped([seg_node(camera, len(cameras) > 1, value)]) for camera in cameras]


def seg_node(camera: str, is_one_of_several: bool, value: dict[str, str]) -> Node:
    chosen = {name: value[name] for name in ("model", "device") if value[name]}
    namespace = [value["namespace"].strip("/"), camera.strip("/") if is_one_of_several else ""]
    return Node(
        package="road_kd_seg",
        executable="seg_node",
        output="screen",
        namespace="/".join(part for part in namespace if part),
        parameters=[value["params_file"], chosen, {"use_sim_time": value["use_sim_time"].lower() == "true"}],
        remappings=[(topic, f"{camera}/{topic}") for topic in INPUTS],
        ros_arguments=["--log-level", f"road_seg:={value['log_level']}"],
    )
