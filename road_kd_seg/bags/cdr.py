"""The few ROS messages that this package reads from a bag, decoded without ROS."""

from __future__ import annotations

import struct
from typing import Any

from rosbags.typesys import Stores, get_typestore

from road_kd_seg.camera_info import intrinsics_from_camera_info
from road_kd_seg.errors import BagError, FrameError
from road_kd_seg.frame import Intrinsics

IMAGE_TYPE = "sensor_msgs/msg/Image"
CAMERA_INFO_TYPE = "sensor_msgs/msg/CameraInfo"

# Neither type has changed since the first ROS 2, so any distribution's definitions read every bag.
_TYPES = get_typestore(Stores.ROS2_JAZZY)


def header_stamp_ns(cdr: bytes) -> int:
    """Stamp of any message that begins with a std_msgs/Header, without decoding the rest.

    Raises:
        BagError: too few bytes for a header.
    """
    if len(cdr) < 12:
        raise BagError(f"a message has {len(cdr)} bytes, too few for a header: the bag is damaged")
    sec, nanosec = struct.unpack_from("<iI" if cdr[1] & 1 else ">iI", cdr, 4)
    return int(sec) * 1_000_000_000 + int(nanosec)


def decode_image(cdr: bytes) -> Any:
    """A sensor_msgs/Image with ROS's field names; `data` is uint8 (N,).

    Raises:
        FrameError: the bytes are no such message.
    """
    try:
        return _TYPES.deserialize_cdr(cdr, IMAGE_TYPE)
    except Exception as error:  # damaged bytes make the generated parser stumble in any way
        raise FrameError(f"a message is no valid {IMAGE_TYPE} ({error}): the bag is damaged") from error


def decode_intrinsics(cdr: bytes) -> Intrinsics | None:
    """The pinhole camera of a sensor_msgs/CameraInfo; None if it says that it is uncalibrated (K[0] is 0).

    Raises:
        BagError: the bytes are no such message.
    """
    try:
        info: Any = _TYPES.deserialize_cdr(cdr, CAMERA_INFO_TYPE)
    except Exception as error:  # damaged bytes make the generated parser stumble in any way
        raise BagError(f"a message is no valid {CAMERA_INFO_TYPE} ({error}): the bag is damaged") from error
    return intrinsics_from_camera_info(info)
