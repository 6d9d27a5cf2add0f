# SPDX-License-Identifier: Apache-2.0
"""A drive with its predictions as a rosbag2 that opens in RViz and Foxglove. Needs no ROS."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from road_kd_seg.errors import RoadKdError
from road_kd_seg.frame import RgbdFrame
from road_kd_seg.replay.labels import LabelStore
from road_kd_seg.replay.report.pictures import paint_errors, paint_prediction
from road_kd_seg.taxonomy import Role, Taxonomy

OVERLAY = "overlay"
"""Folder of the bag beside the report; its file is overlay.mcap."""
TOPICS = {
    "overlay": "/replay/overlay/compressed",
    "errors": "/replay/errors/compressed",
    "label": "/replay/label/compressed",
    "ground_truth": "/replay/ground_truth/compressed",
    "obstacle_mask": "/replay/obstacle_mask/compressed",
    "lane_mask": "/replay/lane_mask/compressed",
}
"""sensor_msgs/CompressedImage each, with stamp and frame id of the color image: JPEG for people, PNG for the others."""


def write_overlay_bag(
    folder: Path, frames: Iterable[RgbdFrame], predictions: LabelStore, ground_truth: LabelStore, taxonomy: Taxonomy
) -> int:
    """Write OVERLAY below a folder; that of an earlier run is replaced.

    Args:
        folder: of the report.
        frames: those that have a prediction.
        predictions: label images by stamp.
        ground_truth: label images by stamp; frames without one lack `errors` and `ground_truth`.
        taxonomy: colors and roles.

    Returns:
        How many frames were written.

    Raises:
        RoadKdError: something else lies where the bag is to be.
    """
    path = folder / OVERLAY
    if path.exists():
        if not (path / f"{OVERLAY}.mcap").is_file():
            raise RoadKdError(f"{path}: exists and is no overlay of an earlier run: choose another --out")
        shutil.rmtree(path)
    count = 0
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        out = _CompressedWriter(writer)
        for frame in frames:
            label = predictions.get(frame.stamp_ns)
            out.write("overlay", frame, paint_prediction(frame.rgb, label, taxonomy))
            out.write("label", frame, label)
            for name, role in (("obstacle_mask", Role.OBSTACLE), ("lane_mask", Role.LANE)):
                out.write(name, frame, taxonomy.role_table(role)[label])
            if frame.stamp_ns in ground_truth:
                known = ground_truth.get(frame.stamp_ns)
                out.write("ground_truth", frame, known)
                out.write("errors", frame, paint_errors(frame.rgb, known, label, taxonomy))
            count += 1
    return count


class _CompressedWriter:
    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._connections: dict[str, Connection] = {}

    def write(self, name: str, frame: RgbdFrame, image: NDArray[np.uint8]) -> None:
        """RGB as JPEG, one channel as PNG, which keeps ids."""
        kind, encoded = ("jpeg", ".jpg") if image.ndim == 3 else ("png", ".png")
        pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
        types: dict[str, Any] = self._store.types
        sec, nanosec = divmod(frame.stamp_ns, 1_000_000_000)
        stamp = types["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec)
        message = types["sensor_msgs/msg/CompressedImage"](
            header=types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame.frame_id),
            format=kind,
            data=cv2.imencode(encoded, pixels)[1].reshape(-1),
        )
        msgtype = message.__msgtype__
        if name not in self._connections:
            self._connections[name] = self._writer.add_connection(TOPICS[name], msgtype, typestore=self._store)
        self._writer.write(self._connections[name], frame.stamp_ns, self._store.serialize_cdr(message, msgtype))
