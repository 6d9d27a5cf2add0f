# SPDX-License-Identifier: Apache-2.0
"""Records what a running `seg_node` publishes: labels into a bag, their times, and the node's own report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import Image
from std_msgs.msg import Float64

from road_kd_seg.bags.cdr import IMAGE_TYPE, header_stamp_ns
from road_kd_seg.node_interface import LABEL_TOPIC, NODE_NAME, STAGE_TOPICS


@dataclass(frozen=True)
class NodeReport:
    """The node's latest words on /diagnostics."""

    number: int = 0
    """How many reports came, this one included; 0 before the first."""
    values: dict[str, str] = field(default_factory=dict)
    failed: str = ""
    """Why the node cannot become active; empty if nothing keeps it."""

    @property
    def state(self) -> str:
        """Lifecycle state, empty before the first report."""
        return self.values.get("state", "")

    @property
    def counters(self) -> dict[str, int]:
        """received, published, dropped.*, in_flight."""
        names = ("received", "published", "in_flight")
        return {key: int(value) for key, value in self.values.items() if key in names or key.startswith("dropped.")}


class OutputRecorder(Node):
    """Subscribes to a node's labels and diagnostics, and to the color images it gets.

    Images are taken as the bytes that came and are not decoded, so that recording costs the machine little.
    """

    def __init__(
        self, context: Context, color_topic: str, color_type: type, folder: Path, also_subscribe: Sequence[str] = ()
    ) -> None:
        super().__init__("replay_recorder", context=context, start_parameter_services=False)
        self.color_sent_ns: dict[int, int] = {}
        """When the player published each color image, by its stamp."""
        self.label_sent_ns: dict[int, int] = {}
        """When the node published each label, by its stamp."""
        self.stages_ms: dict[str, list[float]] = {stage: [] for stage in STAGE_TOPICS}
        """What each stage of the node took, frame by frame."""
        self.report = NodeReport()
        self._bag = Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP)
        self._bag.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._bag.open()
        self._labels = self._bag.add_connection(LABEL_TOPIC, IMAGE_TYPE, typestore=get_typestore(Stores.ROS2_JAZZY))
        reliable = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
        best_effort = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
        # rclpy hands a callback of two arguments the message's times as well.
        self.create_subscription(color_type, color_topic, self._on_color, best_effort, raw=True)
        self.create_subscription(Image, LABEL_TOPIC, self._on_label, reliable, raw=True)
        for stage, topic in STAGE_TOPICS.items():
            self.create_subscription(Float64, topic, partial(self._on_stage, stage), reliable)
        for topic in also_subscribe:
            self.create_subscription(Image, topic, lambda _: None, reliable, raw=True)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, reliable)
        self._change_state = self.create_client(ChangeState, f"/{NODE_NAME}/change_state")

    def deactivate_node(self) -> None:
        """Ask the node to stop taking images, which ends every frame that still waits; its next report says so."""
        self._change_state.call_async(ChangeState.Request(transition=Transition(id=Transition.TRANSITION_DEACTIVATE)))

    def close(self) -> None:
        """Finish the bag and leave the graph."""
        self._bag.close()
        self.destroy_node()

    def _on_color(self, cdr: bytes, info: dict[str, Any]) -> None:
        self.color_sent_ns[header_stamp_ns(cdr)] = info["source_timestamp"]

    def _on_label(self, cdr: bytes, info: dict[str, Any]) -> None:
        self.label_sent_ns[header_stamp_ns(cdr)] = info["source_timestamp"]
        self._bag.write(self._labels, info["received_timestamp"], cdr)

    def _on_stage(self, stage: str, took_ms: Float64) -> None:
        self.stages_ms[stage].append(took_ms.data)

    def _on_diagnostics(self, array: DiagnosticArray) -> None:
        for status in array.status:
            if NODE_NAME in status.name:
                values = {item.key: item.value for item in status.values}
                failed = status.message if status.level == b"\x02" and values.get("state") != "active" else ""
                self.report = NodeReport(self.report.number + 1, values, failed)
