# SPDX-License-Identifier: Apache-2.0
"""Names that the RealSense ROS 2 driver gives to topics and frames (node `/camera/camera`), and ours for labels."""

from __future__ import annotations

from dataclasses import dataclass

COLOR_TOPIC = "/camera/camera/color/image_raw"
DEPTH_TOPIC = "/camera/camera/aligned_depth_to_color/image_raw"
CAMERA_INFO_TOPIC = "/camera/camera/color/camera_info"
TF_STATIC_TOPIC = "/tf_static"
LABEL_TOPIC = "/ground_truth/label"
"""mono8 class ids, with the color image's header; the only topic here that no driver publishes."""

CAMERA_FRAME = "camera_link"
DEPTH_FRAME = "camera_depth_frame"
DEPTH_OPTICAL_FRAME = "camera_depth_optical_frame"
COLOR_FRAME = "camera_color_frame"
COLOR_OPTICAL_FRAME = "camera_color_optical_frame"
"""Frame of the color image and, because the driver aligns it, of the depth image."""


@dataclass(frozen=True, slots=True)
class TopicNames:
    """Where in a bag the frames are; the defaults are a RealSense driver's names."""

    color: str = COLOR_TOPIC
    depth: str = DEPTH_TOPIC
    camera_info: str = CAMERA_INFO_TOPIC
    label: str = LABEL_TOPIC
