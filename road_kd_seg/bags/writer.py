# SPDX-License-Identifier: Apache-2.0
"""Frames → an MCAP rosbag2 with the topics, types and frame ids of a RealSense driver. Needs no ROS."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection, Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from road_kd_seg.bags import topics
from road_kd_seg.errors import BagError
from road_kd_seg.files import make_folder
from road_kd_seg.frame import Intrinsics, LabeledFrame

_NEVER = QosTime(2147483647, 4294967295)
_DRIVER_QOS = Qos(
    history=QosHistory.KEEP_LAST,
    depth=10,
    reliability=QosReliability.RELIABLE,
    durability=QosDurability.VOLATILE,
    deadline=_NEVER,
    lifespan=_NEVER,
    liveliness=QosLiveliness.AUTOMATIC,
    liveliness_lease_duration=_NEVER,
    avoid_ros_namespace_conventions=False,
)
_LATCHED_QOS = _DRIVER_QOS._replace(depth=1, durability=QosDurability.TRANSIENT_LOCAL)

_COLOR_OFFSET_M = (0.0, -0.059, 0.0)
"""D455: the color sensor sits 59 mm to the right of the left infrared sensor, which is `camera_link`."""
_NO_ROTATION = (0.0, 0.0, 0.0, 1.0)
_BODY_TO_OPTICAL = (-0.5, 0.5, -0.5, 0.5)
"""Quaternion x y z w from x forward, y left, z up to z forward, x right, y down (REP-103)."""


def write_bag(path: Path, frames: Iterable[LabeledFrame], *, with_labels: bool = True) -> int:
    """Write frames as the bag a RealSense driver would have recorded; memory does not grow with their number.

    Color is rgb8, depth 16UC1 in millimeters (0 invalid), labels mono8. The messages of one frame share its stamp and
    frame id. A frame without depth, intrinsics or label lacks that message; a topic without messages is not in the bag.

    Args:
        path: folder to create; its parents are made as needed.
        frames: at least one, with rising stamps.
        with_labels: False leaves the labels out.

    Returns:
        How many frames were written.

    Raises:
        BagError: the path exists, there is no frame, or a stamp does not rise. No unfinished bag stays behind.
    """
    path = Path(path)
    if path.exists():
        raise BagError(f"bag {path}: exists already and is not overwritten; remove it or choose another name")
    make_folder(path.parent, error=BagError)
    frame_iterator = iter(frames)
    first = next(frame_iterator, None)
    if first is None:
        raise BagError(f"bag {path}: not written, because there are no frames; expected at least one")
    try:
        with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            return _write_frames(_MessageWriter(writer), chain([first], frame_iterator), path, with_labels)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def _write_frames(out: _MessageWriter, frames: Iterator[LabeledFrame], path: Path, with_labels: bool) -> int:
    previous_stamp_ns = -1
    count = 0
    for frame, label in frames:
        stamp_ns = frame.stamp_ns
        if stamp_ns <= previous_stamp_ns:
            raise BagError(
                f"bag {path}: frame {count} has stamp {stamp_ns} ns after {previous_stamp_ns} ns;"
                " stamps must rise, because readers pair images by stamp: give the frames their times first"
            )
        frame_id = frame.frame_id or topics.COLOR_OPTICAL_FRAME
        if count == 0:
            out.write_static_transforms(stamp_ns)
        if frame.intrinsics is not None:
            out.write_camera_info(frame.intrinsics, stamp_ns, frame_id)
        out.write_image(topics.COLOR_TOPIC, frame.rgb, "rgb8", stamp_ns, frame_id)
        if frame.depth_m is not None:
            out.write_image(topics.DEPTH_TOPIC, depth_to_millimeters(frame.depth_m), "16UC1", stamp_ns, frame_id)
        if label is not None and with_labels:
            out.write_image(topics.LABEL_TOPIC, label, "mono8", stamp_ns, frame_id)
        previous_stamp_ns = stamp_ns
        count += 1
    return count


def depth_to_millimeters(depth_m: NDArray[np.float32]) -> NDArray[np.uint16]:
    """(H, W) meters → (H, W) whole millimeters; 0 where the depth is no positive number or more than 16 bits hold."""
    millimeters = np.rint(depth_m * np.float32(1000.0))
    valid = (millimeters > 0) & (millimeters <= np.iinfo(np.uint16).max)
    return np.where(valid, millimeters, 0).astype(np.uint16)


class _MessageWriter:
    """Serializes messages of one ROS distribution's definitions; opens each topic with its first message."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._connections: dict[str, Connection] = {}

    def write_image(self, topic: str, image: NDArray[Any], encoding: str, stamp_ns: int, frame_id: str) -> None:
        """Write a sensor_msgs/Image without row padding."""
        pixels = np.ascontiguousarray(image)
        message = self._make(
            "sensor_msgs/msg/Image",
            header=self._header(stamp_ns, frame_id),
            height=pixels.shape[0],
            width=pixels.shape[1],
            encoding=encoding,
            is_bigendian=0,
            step=pixels.strides[0],
            data=pixels.reshape(-1).view(np.uint8),
        )
        self._write(topic, message, stamp_ns, _DRIVER_QOS)

    def write_camera_info(self, camera: Intrinsics, stamp_ns: int, frame_id: str) -> None:
        """Write a sensor_msgs/CameraInfo of an image without lens distortion."""
        projection = np.array([[camera.fx, 0, camera.cx, 0], [0, camera.fy, camera.cy, 0], [0, 0, 1, 0]], np.float64)
        message = self._make(
            "sensor_msgs/msg/CameraInfo",
            header=self._header(stamp_ns, frame_id),
            height=camera.height,
            width=camera.width,
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=projection[:, :3].reshape(-1),
            r=np.eye(3).reshape(-1),
            p=projection.reshape(-1),
            binning_x=0,
            binning_y=0,
            roi=self._make(
                "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
            ),
        )
        self._write(topics.CAMERA_INFO_TOPIC, message, stamp_ns, _DRIVER_QOS)

    def write_static_transforms(self, stamp_ns: int) -> None:
        """Write the driver's latched frame tree, from `camera_link` to both optical frames."""
        links = (
            (topics.CAMERA_FRAME, topics.DEPTH_FRAME, (0.0, 0.0, 0.0), _NO_ROTATION),
            (topics.DEPTH_FRAME, topics.DEPTH_OPTICAL_FRAME, (0.0, 0.0, 0.0), _BODY_TO_OPTICAL),
            (topics.CAMERA_FRAME, topics.COLOR_FRAME, _COLOR_OFFSET_M, _NO_ROTATION),
            (topics.COLOR_FRAME, topics.COLOR_OPTICAL_FRAME, (0.0, 0.0, 0.0), _BODY_TO_OPTICAL),
        )
        transforms = [
            self._make(
                "geometry_msgs/msg/TransformStamped",
                header=self._header(stamp_ns, parent),
                child_frame_id=child,
                transform=self._make(
                    "geometry_msgs/msg/Transform",
                    translation=self._make("geometry_msgs/msg/Vector3", **dict(zip("xyz", offset_m, strict=True))),
                    rotation=self._make("geometry_msgs/msg/Quaternion", **dict(zip("xyzw", rotation, strict=True))),
                ),
            )
            for parent, child, offset_m, rotation in links
        ]
        self._write(
            topics.TF_STATIC_TOPIC, self._make("tf2_msgs/msg/TFMessage", transforms=transforms), stamp_ns, _LATCHED_QOS
        )

    def _make(self, msgtype: str, **fields: Any) -> Any:
        return self._store.types[msgtype](**fields)

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        sec, nanosec = divmod(stamp_ns, 1_000_000_000)
        return self._make(
            "std_msgs/msg/Header",
            stamp=self._make("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec),
            frame_id=frame_id,
        )

    def _write(self, topic: str, message: Any, stamp_ns: int, qos: Qos) -> None:
        msgtype = message.__msgtype__
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, msgtype, typestore=self._store, offered_qos_profiles=[qos]
            )
        self._writer.write(self._connections[topic], stamp_ns, self._store.serialize_cdr(message, msgtype))
