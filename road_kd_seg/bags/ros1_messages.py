# SPDX-License-Identifier: Apache-2.0
"""Messages of ROS 1 as those of ROS 2: the same fields, without the header's counter, other names for a few."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import Any

from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from road_kd_seg.errors import BagError


@cache
def _stores() -> tuple[Typestore, Typestore]:
    return get_typestore(Stores.ROS1_NOETIC), get_typestore(Stores.ROS2_JAZZY)


def is_convertible(msgtype: str) -> bool:
    """Whether both systems have this type."""
    return all(msgtype in store.types for store in _stores())


def to_cdr(msgtype: str, data: bytes) -> bytes:
    """A ROS 1 message of a convertible type, serialized as ROS 2 does.

    Raises:
        BagError: the bytes are no such message.
    """
    ros1, ros2 = _stores()
    try:
        message = _convert(ros1.deserialize_ros1(data, msgtype), ros2)
        return bytes(ros2.serialize_cdr(message, msgtype))
    except Exception as error:  # damaged bytes make the generated parser stumble in any way
        raise BagError(f"a message is no valid {msgtype} of ROS 1 ({error}): the bag is damaged") from error


def _convert(message: Any, store: Typestore) -> Any:
    kind: Any = store.types[message.__msgtype__]
    values = {}
    for field in fields(kind):
        # CameraInfo's D, K, R and P are lower case in ROS 2.
        value = getattr(message, field.name if hasattr(message, field.name) else field.name.upper())
        if hasattr(value, "__msgtype__"):
            value = _convert(value, store)
        elif isinstance(value, list) and value and hasattr(value[0], "__msgtype__"):
            value = [_convert(part, store) for part in value]
        values[field.name] = value
    return kind(**values)
