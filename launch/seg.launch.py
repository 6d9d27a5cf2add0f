# SPDX-License-Identifier: Apache-2.0
"""The segmentation node on a camera's topics, or one node for each of several; `--show-args` lists the arguments."""

from pathlib import Path

from launch.actions import OpaqueFunction
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription
from road_kd_seg.errors import RoadKdError
from road_kd_seg.node_interface import NODE_NAME
from road_kd_seg.ros.launching import INPUTS, absolute, declared, is_true, scoped, values
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
    "use_sim_time": ("", "true: take the time from /clock, for bags; empty: as params_file says."),
    "autostart": ("", "false: wait for a lifecycle manager, such as nav2's; empty: as params_file says."),
    "log_level": ("info", "debug, info, warn, error or fatal."),
}


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*declared(ARGUMENTS), OpaqueFunction(function=seg_nodes)])


def seg_nodes(context: LaunchContext) -> list:
    value = values(context, ARGUMENTS)
    cameras = [camera.strip().rstrip("/") for camera in value["camera"].split(",")]
    if len(set(cameras)) < len(cameras) or (len(cameras) > 1 and "" in cameras):
        raise RoadKdError(f"camera:={value['camera']}: expected different names, separated by commas")
    if not Path(value["params_file"]).is_file():  # launch would warn, and start the node without it
        raise RoadKdError(f"params_file:={value['params_file']}: expected a file that exists")
    return [scoped([seg_node(context, camera, len(cameras) > 1, value)]) for camera in cameras]


def seg_node(context: LaunchContext, camera: str, is_one_of_several: bool, value: dict[str, str]) -> Node:
    texts = {name: ParameterValue(value[name], value_type=str) for name in ("model", "device") if value[name]}
    switches = {name: is_true(name, value[name]) for name in ("use_sim_time", "autostart") if value[name]}
    namespace = absolute(context, value["namespace"], camera.lstrip("/") if is_one_of_several else "")
    topics = absolute(context, value["namespace"], camera) if camera else ""
    logger = absolute(context, namespace, NODE_NAME).lstrip("/").replace("/", ".")
    return Node(
        package="road_kd_seg",
        executable="seg_node",
        output="screen",
        namespace=namespace,
        parameters=[value["params_file"], texts | switches],
        remappings=[(topic, f"{topics}/{topic}") for topic in INPUTS],
        ros_arguments=["--log-level", f"{logger}:={value['log_level']}"],
    )
