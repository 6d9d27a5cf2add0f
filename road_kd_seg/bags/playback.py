# SPDX-License-Identifier: Apache-2.0
"""Publishers for a bag's topics, and the clock that paces them."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from typing import Any

import rclpy
from builtin_interfaces.msg import Time
from rclpy.duration import Duration
from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.validate_full_topic_name import validate_full_topic_name
from rosgraph_msgs.msg import Clock

from road_kd_seg.bags.frame_stream import BagMessage
from road_kd_seg.bags.reader import BagReader
from road_kd_seg.bags.topic_publishers import interface_class, publisher_qos
from road_kd_seg.errors import BagError, RoadKdError, shown
from road_kd_seg.fastdds import use_shared_memory_profile
from road_kd_seg.signals import StopSignal

_CLOCK_PERIOD_S = 0.025
"""40 Hz of wall time, as `ros2 bag play --clock`."""
_SETTLE_S = 0.5
"""Discovery finds the endpoints of a process in one go: after this long without another one, it has found them."""
_LINGER_S = 0.5


def play(options: argparse.Namespace) -> int:
    """Play a bag as the parsed command line says, until its end or a signal; 0.

    Raises:
        BagError: the bag cannot be read, lacks a topic that was asked for, or holds no type that is installed.
        RoadKdError: nobody subscribed in time.
    """
    stop = StopSignal()
    warning = use_shared_memory_profile()
    with BagReader(options.bag) as bag:
        if options.topics:
            _check_topics(options.topics, bag)
        rclpy.init(args=sys.argv, signal_handler_options=SignalHandlerOptions.NO)
        try:
            node = rclpy.create_node("bag_player", start_parameter_services=False)
            if warning:
                node.get_logger().warning(warning)
            player = BagPlayer(node, bag, stop, topics=options.topics, rate=options.rate, clock=options.clock)
            if options.wait_for_subscribers:
                player.wait_for_subscribers(options.subscribers, options.wait_for_subscribers)
            player.play(loop=options.loop)
            player.log_summary()
            node.destroy_node()
        finally:
            rclpy.try_shutdown()
    return 0


def _check_topics(wanted: list[str], bag: BagReader) -> None:
    missing = sorted(set(wanted) - bag.topics.keys())
    if missing:
        raise BagError(f"bag {bag.path}: it has no {', '.join(missing)}; it holds {', '.join(sorted(bag.topics))}")


class BagPlayer:
    """Publishers for a bag's topics, and the clock that paces them."""

    def __init__(
        self, node: Node, bag: BagReader, stop: StopSignal, *, topics: list[str] | None, rate: float, clock: bool
    ) -> None:
        self._node = node
        self._bag = bag
        self._stop = stop
        self._rate = rate
        self._publishers = self._create_publishers([topic for topic in bag.topics if topics is None or topic in topics])
        if not self._publishers:
            raise BagError(f"bag {bag.path}: none of its message types is installed: {_listing(bag.topics)}")
        self._clock = node.create_publisher(Clock, "/clock", 1) if clock else None
        self._clock_sent_s = float("-inf")
        most = max(bag.message_counts[topic] for topic in self._publishers)
        self._period_s = bag.duration_ns / 1e9 / max(most - 1, 1) / rate
        self._sent: Counter[str] = Counter()

    def wait_for_subscribers(self, least: int, timeout_s: float) -> None:
        """Wait until there are `least` subscriptions and nobody else is just about to subscribe.

        Raises:
            RoadKdError: fewer came in time.
        """
        deadline_s = time.monotonic() + timeout_s
        matched, since_s = self._matched(), time.monotonic()
        while not self._stop.received and not (sum(matched) >= least and time.monotonic() - since_s > _SETTLE_S):
            if time.monotonic() > deadline_s and sum(matched) < least:
                names = ", ".join(publisher.topic_name for publisher in self._publishers.values())
                raise RoadKdError(
                    f"{sum(matched)} subscriptions to {names} within {timeout_s:g} s, expected {least}:"
                    " is the node running?"
                )
            time.sleep(0.02)
            if (now_matched := self._matched()) != matched:
                matched, since_s = now_matched, time.monotonic()

    def play(self, *, loop: bool) -> None:
        """Publish everything, once or until a signal comes."""
        self._play_once()
        while loop and not self._stop.received:
            # One period between the last image and the first, or the one overwrites the other in a queue of one.
            time.sleep(self._period_s)
            self._play_once()
        for publisher in self._publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=1))
        # Best-effort readers acknowledge nothing, and what they have not taken goes with our shared memory.
        time.sleep(_LINGER_S)

    def log_summary(self) -> None:
        """Say how many messages went out, and what to do next."""
        counts = ", ".join(f"{topic} {count}" for topic, count in sorted(self._sent.items())) or "nothing"
        self._node.get_logger().info(f"sent {counts}")
        self._node.get_logger().info("next: seg_view shows what a running seg_node makes of it; --loop repeats it")

    def _play_once(self) -> None:
        pace = None
        for message in self._bag.messages(self._publishers.keys()):
            if message.log_time_ns >= self._bag.start_ns:  # what the RealSense SDK logs at time 0 is sent at once
                pace = pace or _Pace(message.log_time_ns, self._rate)
                pace.forgive(message.log_time_ns, self._period_s)
                if not self._wait_until(message, pace):
                    return
            self._publishers[message.topic].publish(bytes(message.cdr))
            self._sent[message.topic] += 1

    def _wait_until(self, message: BagMessage, pace: _Pace) -> bool:
        """Wait for a message's time while the clock runs; False if a signal came."""
        while not self._stop.received and (remaining_s := pace.remaining_s(message.log_time_ns)) > 0:
            self._publish_clock(pace.now_ns())
            time.sleep(min(remaining_s, _CLOCK_PERIOD_S))
        return not self._stop.received

    def _publish_clock(self, now_ns: int) -> None:
        if self._clock is None or time.monotonic() - self._clock_sent_s < _CLOCK_PERIOD_S:
            return
        self._clock_sent_s = time.monotonic()
        sec, nanosec = divmod(now_ns, 1_000_000_000)
        self._clock.publish(Clock(clock=Time(sec=sec, nanosec=nanosec)))

    def _create_publishers(self, topics: list[str]) -> dict[str, Any]:
        """A publisher for every topic that ROS 2 can have; what is skipped is said."""
        publishers, forbidden = {}, []
        for topic in topics:
            msgtype = self._bag.topics[topic]
            try:
                validate_full_topic_name(topic)
            except InvalidTopicNameException:
                forbidden.append(topic)
                continue
            kind = interface_class(msgtype) if self._bag.is_ros2(topic) else None
            if kind is None:
                self._node.get_logger().warning(f"skipping {topic}: message type {shown(msgtype)} is not installed")
                continue
            qos = publisher_qos(topic, self._bag.qos[topic], self._bag.message_counts[topic])
            publishers[topic] = self._node.create_publisher(kind, topic, qos)
        if forbidden:
            self._node.get_logger().warning(
                f"skipping {len(forbidden)} topics with names that ROS 2 forbids, the first is {shown(forbidden[0])}"
            )
        return publishers

    def _matched(self) -> list[int]:
        return [publisher.get_subscription_count() for publisher in self._publishers.values()]


class _Pace:
    """Bag time against the monotonic clock."""

    def __init__(self, start_ns: int, rate: float) -> None:
        self._bag_start_ns = start_ns
        self._rate = rate
        self._start_ns = time.monotonic_ns()

    def now_ns(self) -> int:
        """Bag time now."""
        return self._bag_start_ns + int((time.monotonic_ns() - self._start_ns) * self._rate)

    def remaining_s(self, bag_time_ns: int) -> float:
        """Seconds until a bag time; not positive once it has come."""
        return (bag_time_ns - self.now_ns()) / self._rate / 1e9

    def forgive(self, bag_time_ns: int, max_s: float) -> None:
        """Let the bag's time stand still for as long as we are late, if that is more than `max_s`.

        A camera does not send a burst to catch up, and subscribers with a queue of one would lose most of it.
        """
        late_s = -self.remaining_s(bag_time_ns)
        if late_s > max_s:
            self._start_ns += round(late_s * 1e9)


def _listing(topics: dict[str, str]) -> str:
    return ", ".join(f"{topic} ({msgtype})" for topic, msgtype in sorted(topics.items())) or "it holds no topics"
