"""The fields of a sensor_msgs/CameraInfo → intrinsics. Knows its fields, not ROS: bags and live messages share it."""

from __future__ import annotations

from typing import Any

from road_kd_seg.frame import Intrinsics


def intrinsics_from_camera_info(info: Any) -> Intrinsics | None:
    """The pinhole camera of the images as published (binning and region of interest applied, REP 104).

    Args:
        info: anything with the message's fields.

    Returns:
        None for an uncalibrated camera (K[0] is 0).
    """
    if info.k[0] == 0:
        return None
    binning_x, binning_y = max(1, info.binning_x), max(1, info.binning_y)
    region = info.roi
    width, height = region.width or info.width, region.height or info.height
    return Intrinsics(
        fx=float(info.k[0]) / binning_x,
        fy=float(info.k[4]) / binning_y,
        cx=(float(info.k[2]) - region.x_offset) / binning_x,
        cy=(float(info.k[5]) - region.y_offset) / binning_y,
        width=int(width) // binning_x,
        height=int(height) // binning_y,
    )
