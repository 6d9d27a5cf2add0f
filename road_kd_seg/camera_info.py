# SPDX-License-Identifier: Apache-2.0
"""The fields of a sensor_msgs/CameraInfo → intrinsics. Knows its fields, not ROS: bags and live messages share it."""

from __future__ import annotations

from typing import Any, NamedTuple

from road_kd_seg.errors import FrameError, shown
from road_kd_seg.frame import Intrinsics
from road_kd_seg.frame_checks import same_frame


class CameraFit(NamedTuple):
    """What a camera_info is worth for an image."""

    intrinsics: Intrinsics | None
    """None where it does not fit: a frame can be segmented without, only points need them."""
    problem: str = ""
    """Why it does not fit and what to do; empty if it does."""


def fit_camera_info(info: Any, frame_id: str, size: tuple[int, int]) -> CameraFit:
    """Intrinsics, if this camera_info belongs to an image.

    Args:
        info: anything with the message's fields.
        frame_id: of the color image.
        size: (H, W) of the color image.
    """
    if not same_frame(info.header.frame_id, frame_id):
        return CameraFit(
            None,
            f"camera_info is of frame {shown(info.header.frame_id)}, the color image of {shown(frame_id)}:"
            " remap color/camera_info to the topic of the same camera",
        )
    intrinsics = intrinsics_from_camera_info(info)
    if intrinsics is None:
        return CameraFit(None, "camera_info holds no calibration (K is zero or no camera's): calibrate the camera")
    if (intrinsics.height, intrinsics.width) != size:
        return CameraFit(
            None,
            f"camera_info is for {intrinsics.width}x{intrinsics.height} images, the color image is"
            f" {size[1]}x{size[0]}: remap color/camera_info to the topic that goes with color/image_raw",
        )
    return CameraFit(intrinsics)


def intrinsics_from_camera_info(info: Any) -> Intrinsics | None:
    """The pinhole camera of the images as published (binning and region of interest applied, REP 104).

    Args:
        info: anything with the message's fields.

    Returns:
        None for an uncalibrated camera (K[0] is 0), or one whose numbers no camera has.
    """
    binning_x, binning_y = max(1, info.binning_x), max(1, info.binning_y)
    region = info.roi
    width, height = region.width or info.width, region.height or info.height
    try:
        return Intrinsics(
            fx=float(info.k[0]) / binning_x,
            fy=float(info.k[4]) / binning_y,
            cx=(float(info.k[2]) - region.x_offset) / binning_x,
            cy=(float(info.k[5]) - region.y_offset) / binning_y,
            width=int(width) // binning_x,
            height=int(height) // binning_y,
        )
    except FrameError:
        return None
