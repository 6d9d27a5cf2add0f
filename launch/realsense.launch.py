# SPDX-License-Identifier: Apache-2.0
"""RealSense driver with aligned depth, the segmentation node, and RViz on request."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import OpaqueFunction

from launch import LaunchContext, LaunchDescription
from road_kd_seg.node_interface import NODE_NAME
from road_kd_seg.ros.launching import absolute, declared, included, is_true, require_packages, rviz, scoped, values

ARGUMENTS = {
    "camera_namespace": ("camera", "Namespace of the camera."),
    "camera_name": ("camera", "Name of the camera."),
    "serial_no": ("", "Serial number; empty: the first camera found."),
    "color_profile": ("", "Width, height and rate of color, e.g. 848x480x30; empty: the driver's."),
    "depth_profile": ("", "Width, height and rate of depth; empty: the driver's."),
    "model": ("", "Model bundle; empty: the one in config/seg.yaml."),
    "device": ("", "auto, cpu, cuda or cuda:N; empty: the one in config/seg.yaml."),
    "rviz": ("true", "Show the outputs in RViz."),
}


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*declared(ARGUMENTS), OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list:
    value = values(context, ARGUMENTS)
    shows = is_true("rviz", value["rviz"])
    require_packages("realsense2_camera", *(["rviz2"] if shows else []))
    camera = absolute(context, value["camera_namespace"], value["camera_name"])
    driver = {
        "camera_namespace": value["camera_namespace"],
        "camera_name": value["camera_name"],
        "align_depth.enable": "true",
        "enable_sync": "true",
    }
    optional = {
        # The driver reads a number as such, and a serial number is none: quotes keep it a string.
        "serial_no": f"'{value['serial_no']}'" if value["serial_no"] else "",
        "rgb_camera.color_profile": value["color_profile"],
        "depth_module.depth_profile": value["depth_profile"],
    }
    driver |= {name: text for name, text in optional.items() if text}
    segmentation = {"camera": camera, "model": value["model"], "device": value["device"]}
    driver_folder = Path(get_package_share_directory("realsense2_camera")) / "launch"
    frame = f"{value['camera_name']}_color_optical_frame"
    return [
        included(context, Path(__file__).parent / "seg.launch.py", segmentation),
        included(context, driver_folder / "rs_launch.py", driver),
        *([scoped([rviz(camera, absolute(context, NODE_NAME), frame)])] if shows else []),
    ]
