# SPDX-License-Identifier: Apache-2.0
"""Names by which other processes reach `seg_node`: its node name, its topics and its module."""

NODE_MODULE = "road_kd_seg.ros.seg_node"
NODE_NAME = "road_seg"

COLOR_NAME = "color/image_raw"
DEPTH_NAME = "aligned_depth_to_color/image_raw"
CAMERA_INFO_NAME = "color/camera_info"
"""Subscriptions, relative, to be remapped."""

LABEL_TOPIC = f"/{NODE_NAME}/label"
"""Class id per pixel, where node and namespace are not renamed."""
STAGE_TOPICS = {
    stage: f"/{NODE_NAME}/debug/processing_time/{stage}_ms" for stage in ("preprocess", "inference", "postprocess")
}
"""Milliseconds of each stage, frame by frame, alike."""
