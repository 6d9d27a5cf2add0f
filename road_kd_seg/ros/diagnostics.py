# SPDX-License-Identifier: Apache-2.0
"""Once a second: the node's judgment of itself on /diagnostics, and in the log what stays wrong."""

from __future__ import annotations

import time
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from road_kd_seg.errors import printable
from road_kd_seg.ros.frame_counters import FrameCounters
from road_kd_seg.ros.monitor import NAMESAKE, Monitor, NodeState

_PERIOD_S = 1.0
_REMINDER_S = 30.0
"""How often what stays wrong is said again."""


class Diagnostics:
    """A publisher and its timer, alive in every state of the node."""

    def __init__(
        self,
        node: Node,
        counters: FrameCounters,
        monitor: Monitor,
        state: Callable[[], NodeState],
        describe_topics: Callable[[], str],
    ) -> None:
        self._node = node
        self._counters = counters
        self._monitor = monitor
        self._state = state
        self._describe_topics = describe_topics
        self._said_s: dict[str, float] = {}
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # A steady timer: with use_sim_time and no /clock, others never fire, and that is when one looks here.
        node.create_timer(_PERIOD_S, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _report(self) -> None:
        state = self._state()
        name = f"{self._node.get_fully_qualified_name()}: segmentation"
        array = DiagnosticArray(status=[self._monitor.report(state, self._counters.read(), name)])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)
        if state.has_namesake:
            self._remind(NAMESAKE)
        if state.listens and (silence := self._monitor.silence(depth_is_used=state.depth_is_used)):
            self._remind(silence, self._describe_topics)

    def _remind(self, what: str, details: Callable[[], str] | None = None) -> None:
        now_s = time.monotonic()
        if now_s - self._said_s.get(what, -_REMINDER_S) >= _REMINDER_S:
            self._said_s[what] = now_s
            self._node.get_logger().warning(printable(f"{what}: {details()}" if details else what))
