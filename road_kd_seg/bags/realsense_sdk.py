# SPDX-License-Identifier: Apache-2.0
"""Recordings of the RealSense Viewer and SDK (`rs-record`): ROS 1 bags, and since 2.58 a single .db3.

Topics are `/device_D/sensor_S/STREAM_N/...`. Depth is as the left imager saw it, so it is aligned here by what the file
says about its cameras: messages of ROS types in .bag, `key=value` texts in .db3. Sources: librealsense's
src/media/ros*/ros*_writer.cpp (extrinsics map the reference stream's points to the stream's; rotations are stored by
columns).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.bags.alignment import DepthAlignment
from road_kd_seg.bags.cdr import decode_message
from road_kd_seg.bags.recording import Recording
from road_kd_seg.camera_info import intrinsics_from_camera_info
from road_kd_seg.errors import BagError
from road_kd_seg.frame import Intrinsics

_STREAM = re.compile(r"^((/device_\d+)/sensor_\d+)/[^/]+_\d+")
_NUMBER = re.compile(r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?")
_MILLIMETER_M = 0.001


class SdkDepth(NamedTuple):
    """How to make aligned meters of a recording's depth images."""

    align: DepthAlignment
    unit_m: float
    """Meters per unit of the stored image."""

    def __call__(self, depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
        """Depth that was decoded as millimeters, (H, W) of the depth camera → (H, W) of the color camera."""
        return self.align(depth_m * np.float32(self.unit_m / _MILLIMETER_M))


class _Camera(NamedTuple):
    intrinsics: Intrinsics
    distortion: tuple[float, ...]


def is_sdk_topic(topic: str) -> bool:
    """Whether a topic is of a stream that the SDK recorded."""
    return _STREAM.match(topic) is not None


def sdk_intrinsics(recording: Recording, color_topic: str) -> Intrinsics | None:
    """Of the color camera; None where the file does not say."""
    camera = _camera(recording, color_topic)
    return None if camera is None else camera.intrinsics


def sdk_depth(recording: Recording, color_topic: str, depth_topic: str) -> SdkDepth | None:
    """How depth is aligned to color; None where the file does not tell enough.

    Raises:
        BagError: a calibration message that is damaged.
    """
    color, depth = _camera(recording, color_topic), _camera(recording, depth_topic)
    to_color, to_depth = _extrinsics(recording, color_topic), _extrinsics(recording, depth_topic)
    if color is None or depth is None or to_color is None or to_depth is None:
        return None
    # p_color = Rc p_reference + tc and p_depth = Rd p_reference + td.
    rotation = to_color[0] @ to_depth[0].T
    translation_m = to_color[1] - rotation @ to_depth[1]
    align = DepthAlignment(depth.intrinsics, color.intrinsics, rotation, translation_m, color.distortion)
    return SdkDepth(align, _unit_m(recording, depth_topic))


def _camera(recording: Recording, topic: str) -> _Camera | None:
    stream = _prefix(topic)
    for name in sorted(recording.topics):
        if name.startswith(f"{stream}/") and name.endswith("/camera_info"):
            message = _first(recording, name)
            camera = None if message is None else _camera_of(message)
            if camera is not None:
                return camera
    return None


def _camera_of(message: Any) -> _Camera | None:
    if not hasattr(message, "data"):
        intrinsics = intrinsics_from_camera_info(message)
        distortion = [float(value) for value in message.d]
        return None if intrinsics is None else _Camera(intrinsics, _five(distortion))
    values = _values(message.data)
    try:
        fx, fy, cx, cy = (float(values[key]) for key in ("fx", "fy", "ppx", "ppy"))
        size = int(values["width"]), int(values["height"])
    except (KeyError, ValueError):
        return None
    if fx <= 0 or fy <= 0:
        return None
    return _Camera(Intrinsics(fx, fy, cx, cy, *size), _five(_numbers(values.get("coeffs", ""))))


def _five(distortion: list[float]) -> tuple[float, ...]:
    return tuple(distortion) if len(distortion) == 5 and any(distortion) else ()


def _extrinsics(recording: Recording, topic: str) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Rotation (3, 3) and translation (3,), from the reference stream to this one."""
    stream = _prefix(topic)
    message = next(
        (_first(recording, name) for name in sorted(recording.topics) if name.startswith(f"{stream}/tf/")), None
    )
    if message is None:
        return None
    if hasattr(message, "data"):
        values = _values(message.data)
        rotation, translation = _numbers(values.get("rotation", "")), _numbers(values.get("translation", ""))
        if len(rotation) != 9 or len(translation) != 3:
            return None
        return np.array(rotation).reshape(3, 3).T, np.array(translation)
    q, t = message.rotation, message.translation
    return _rotation(q.x, q.y, q.z, q.w), np.array([t.x, t.y, t.z])


def _rotation(x: float, y: float, z: float, w: float) -> NDArray[np.float64]:
    x, y, z, w = np.array([x, y, z, w]) / (np.linalg.norm([x, y, z, w]) or 1)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _unit_m(recording: Recording, depth_topic: str) -> float:
    """Meters per unit of depth; millimeters where the file does not say."""
    sensor = _prefix(depth_topic).rpartition("/")[0]
    message = _first(recording, f"{sensor}/option/Depth Units/value")
    numbers = [] if message is None else _numbers(str(message.data))
    return numbers[0] if numbers and numbers[0] > 0 else _MILLIMETER_M


def _first(recording: Recording, topic: str) -> Any:
    """The topic's first message, decoded; None without one."""
    if not recording.counts.get(topic):
        return None
    message = next(recording.messages([topic]), None)
    return None if message is None else decode_message(message.data, recording.topics[topic].msgtype)


def _prefix(topic: str) -> str:
    found = _STREAM.match(topic)
    if found is None:
        raise BagError(f"{topic} is no topic of a RealSense SDK recording")
    return found.group(0)


def _values(text: str) -> Mapping[str, str]:
    return dict(part.split("=", 1) for part in text.split(";") if "=" in part)


def _numbers(text: str) -> list[float]:
    return [float(number) for number in _NUMBER.findall(text)]
