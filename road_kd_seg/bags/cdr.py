# SPDX-License-Identifier: Apache-2.0
"""The few ROS messages that this package reads from a bag, decoded without ROS."""

from __future__ import annotations

import struct
from typing import Any

from rosbags.typesys import Stores, get_typestore

from road_kd_seg.bags.storage import MessageBytes
from road_kd_seg.errors import BagError, FrameError

IMAGE_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE_TYPE = "sensor_msgs/msg/CompressedImage"
IMAGE_TYPES = (IMAGE_TYPE, COMPRESSED_IMAGE_TYPE)
CAMERA_INFO_TYPE = "sensor_msgs/msg/CameraInfo"

# None of these types has changed since the first ROS 2, so any distribution's definitions read every bag.
_TYPES = get_typestore(Stores.ROS2_JAZZY)


def header_stamp_ns(cdr: MessageBytes) -> int:
    """Stamp of any message that begins with a std_msgs/Header, without decoding the rest.

    Raises:
        BagError: too few bytes for a header.
    """
    if len(cdr) < 12:
        raise BagError(f"a message has {len(cdr)} bytes, too few for a header: the bag is damaged")
    sec, nanosec = struct.unpack_from("<iI" if cdr[1] & 1 else ">iI", cdr, 4)
    return int(sec) * 1_000_000_000 + int(nanosec)


def decode_image(cdr: MessageBytes, msgtype: str = IMAGE_TYPE) -> Any:
    """An Image or a CompressedImage with ROS's field names; `data` is uint8 (N,).

    Raises:
        FrameError: the bytes are no such message.
    """
    try:
        return _TYPES.deserialize_cdr(memoryview(cdr), msgtype)  # which slices without a copy
    except Exception as error:  # damaged bytes make the generated parser stumble in any way
        raise FrameError(f"a message is no valid {msgtype} ({error}): the bag is damaged") from error


def decode_message(cdr: MessageBytes, msgtype: str) -> Any:
    """A message of any common type with ROS's field names.

    Raises:
        BagError: the bytes are no such message.
    """
    try:
        return _TYPES.deserialize_cdr(cdr, msgtype)
    except Exception as error:  # damaged bytes make the generated parser stumble in any way
        raise BagError(f"a message is no valid {msgtype} ({error}): the bag is damaged") from error
