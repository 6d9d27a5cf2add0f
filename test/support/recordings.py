# SPDX-License-Identifier: Apache-2.0
"""Frames whose every pixel is known, and bags that no good recorder makes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from road_kd_seg.frame import Intrinsics, LabeledFrame, RgbdFrame

FRAME_NS = 100_000_000
"""Ten frames per second: the slop that follows from it is 50 ms."""


def make_frame(number: int, height: int = 6, width: int = 8, *, depth: bool = True, label: bool = True) -> LabeledFrame:
    """A frame whose every pixel tells its number."""
    random = np.random.default_rng(number)
    rgb = random.integers(0, 256, (height, width, 3), np.uint8)
    depth_m = (random.integers(0, 9000, (height, width)) / np.float32(1000)).astype(np.float32)
    labels = random.integers(0, 5, (height, width), np.uint8)
    camera = Intrinsics(500.0, 501.0, width / 2, height / 2, width, height)
    frame = RgbdFrame(rgb, depth_m if depth else None, camera, 1_000_000_000 + number * FRAME_NS, "camera_optical")
    return LabeledFrame(frame, labels if label else None)


class RawBag:
    """Writes any image under any stamp, in the order of the calls: the bags that no good recorder makes."""

    def __init__(self, path: Path, storage: StoragePlugin = StoragePlugin.MCAP) -> None:
        self.path = path
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._writer = Writer(path, version=9, storage_plugin=storage)
        self._writer.open()
        self._connections = {}
        self._log_time_ns = 0

    def image(self, topic: str, stamp_ns: int, encoding: str, pixels: np.ndarray, data: bytes | None = None) -> None:
        message = self._store.types["sensor_msgs/msg/Image"](
            header=self._header(stamp_ns),
            height=pixels.shape[0],
            width=pixels.shape[1],
            encoding=encoding,
            is_bigendian=0,
            step=pixels.strides[0],
            data=np.frombuffer(pixels.tobytes() if data is None else data, np.uint8),
        )
        self._write(topic, message)

    def text(self, topic: str, text: str) -> None:
        self._write(topic, self._store.types["std_msgs/msg/String"](data=text))

    def close(self) -> Path:
        self._writer.close()
        return self.path

    def _header(self, stamp_ns: int) -> object:
        sec, nanosec = divmod(stamp_ns, 1_000_000_000)
        stamp = self._store.types["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec)
        return self._store.types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera_optical")

    def _write(self, topic: str, message: object) -> None:
        msgtype = message.__msgtype__
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(topic, msgtype, typestore=self._store)
        self._log_time_ns += 1_000_000
        cdr = self._store.serialize_cdr(message, msgtype)
        self._writer.write(self._connections[topic], self._log_time_ns, cdr)


@pytest.fixture
def raw_bag(tmp_path: Path):
    """Opens RawBags in the test's folder."""

    def new(name: str = "raw", storage: StoragePlugin = StoragePlugin.MCAP) -> RawBag:
        return RawBag(tmp_path / name, storage)

    return new


@pytest.fixture
def frames_of():
    """Frames by number."""

    def frames(numbers: Iterable[int], **kwargs) -> list[LabeledFrame]:
        return [make_frame(number, **kwargs) for number in numbers]

    return frames
