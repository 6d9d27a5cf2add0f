# SPDX-License-Identifier: Apache-2.0
"""The camera's topics → jobs for the worker. Lives while the node is active and enabled."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from road_kd_seg.camera_info import fit_camera_info
from road_kd_seg.frame import Intrinsics, RgbdFrame
from road_kd_seg.frame_checks import check_same_frame
from road_kd_seg.image_codec import depth_from_message, millimeters_from_message, rgb_from_message
from road_kd_seg.node_interface import CAMERA_INFO_NAME, COLOR_NAME, DEPTH_NAME
from road_kd_seg.ros.frame_counters import FrameCounters, FrameOutcome
from road_kd_seg.ros.monitor import Monitor
from road_kd_seg.ros.parameters import Settings
from road_kd_seg.ros.synchronizer import RgbdSynchronizer, StampedImage
from road_kd_seg.ros.topics import describe_input, explained

_MAX_CAMERA_INFOS = 4
"""How many are kept: where sizes alternate, the newest may belong to the other size."""
_REMINDER_S = 30.0


@dataclass(frozen=True, slots=True)
class FrameTask:
    """A frame on its way through the node."""

    frame: RgbdFrame
    header: Header
    """Of the color image; every output gets it as it is."""
    received_ns: int
    """When the color image came, monotonic clock."""


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Where the inputs' findings go."""

    on_job: Callable[[FrameTask], None]
    on_invalid: Callable[[Exception], None]
    """A color image, alone or with its depth, is no frame."""
    on_time_went_back: Callable[[int], None]
    """Stamps went back to this time in nanoseconds."""
    runs_without_depth: Callable[[], bool]
    """Whether some model takes color alone."""


class DepthWatch:
    """Tells missing depth by the stamps alone, so that it is right at any replay rate and needs no clock."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_ns = round(timeout_s * 1e9)
        self._reference_ns: int | None = None
        self.missing = False
        """Whether the last color image was too far from any depth."""

    def see_color(self, stamp_ns: int) -> bool:
        """A color image came; whether depth is missing."""
        if self._reference_ns is None or stamp_ns < self._reference_ns - self._timeout_ns:
            self._reference_ns = stamp_ns
        self.missing = stamp_ns - self._reference_ns > self._timeout_ns
        return self.missing

    def see_depth(self, stamp_ns: int) -> None:
        """A depth image came."""
        self._reference_ns = stamp_ns


class Inputs:
    """Subscriptions, pairing, decoding. All of it runs on the executor's thread."""

    def __init__(
        self, node: Node, settings: Settings, counters: FrameCounters, monitor: Monitor, callbacks: Callbacks
    ) -> None:
        self._node = node
        self._counters = counters
        self._monitor = monitor
        self._sinks = callbacks
        self._requires_same_frame = settings.require_same_frame
        self._camera_infos: deque[CameraInfo] = deque(maxlen=_MAX_CAMERA_INFOS)
        self._depth_watch = DepthWatch(settings.depth_timeout_s)
        self._synchronizer = RgbdSynchronizer(
            self._on_pair,
            lambda count: counters.record(FrameOutcome.UNSYNCHRONIZED, count),
            callbacks.on_time_went_back,
            slop_s=settings.sync_slop_s,
            queue_size=settings.sync_queue_size,
        )
        self._subscriptions: list[Any] = []
        try:
            self._subscribe_images(settings.image_transport, COLOR_NAME, "/compressed", self._on_color)
            depth_transport = settings.depth_image_transport or settings.image_transport
            self._subscribe_images(depth_transport, DEPTH_NAME, "/compressedDepth", self._on_depth)
            self._subscribe(CameraInfo, CAMERA_INFO_NAME, self._on_camera_info)
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        """Unsubscribe; color images that wait for depth end as unsynchronized."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._synchronizer.clear()

    def describe_topics(self) -> str:
        """The color and the depth topic as the graph sees them."""
        return "; ".join(describe_input(self._node, subscription) for subscription in self._subscriptions[:2])

    def forget_newer_than(self, limit_ns: int) -> None:
        """The clock went back to `limit_ns`: what waits with a later stamp is from the past run."""
        self._synchronizer.forget_newer_than(limit_ns)

    def _subscribe_images(self, transport: str, name: str, suffix: str, callback: Callable[..., None]) -> None:
        kind, ending = (CompressedImage, suffix) if transport == "compressed" else (Image, "")
        self._subscribe(kind, name + ending, callback)

    def _subscribe(self, kind: type, name: str, callback: Callable[..., None]) -> None:
        # Depth 1: a deeper queue only adds latency. Best effort matches every publisher.
        qos = QoSProfile(depth=1, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT)
        options = QoSOverridingOptions.with_default_policies()
        with explained(self._node, name):
            self._subscriptions.append(
                self._node.create_subscription(kind, name, callback, qos, qos_overriding_options=options)
            )

    def _on_camera_info(self, msg: CameraInfo) -> None:
        self._camera_infos.appendleft(msg)

    def _on_color(self, msg: Image | CompressedImage) -> None:
        self._counters.receive()
        color = StampedImage(msg, time.monotonic_ns())
        missing = self._depth_watch.see_color(color.stamp_ns)
        self._monitor.see_color(depth_missing=missing)
        if missing and self._sinks.runs_without_depth():
            self._offer(color, None)
        else:
            self._synchronizer.add_color(color)

    def _on_depth(self, msg: Image | CompressedImage) -> None:
        depth = StampedImage(msg, time.monotonic_ns())
        self._monitor.see_depth()
        self._depth_watch.see_depth(depth.stamp_ns)
        self._synchronizer.add_depth(depth)

    def _on_pair(self, color: StampedImage, depth: StampedImage) -> None:
        self._monitor.see_pair()
        self._offer(color, depth)

    def _offer(self, color: StampedImage, depth: StampedImage | None) -> None:
        try:
            job = FrameTask(self._decode(color, depth), color.header, color.received_ns)
        except Exception as error:  # whatever a message holds, the node lives on
            self._sinks.on_invalid(error)
        else:
            self._sinks.on_job(job)

    def _decode(self, color: StampedImage, depth: StampedImage | None) -> RgbdFrame:
        if depth is not None and self._requires_same_frame:
            check_same_frame(color.header.frame_id, depth.header.frame_id)
        rgb = rgb_from_message(color.message)
        depth_m = None if depth is None else depth_from_message(depth.message, rgb.shape[:2])
        intrinsics = self._intrinsics(color.header, (rgb.shape[0], rgb.shape[1]))
        depth_mm = None if depth is None else millimeters_from_message(depth.message)
        return RgbdFrame(rgb, depth_m, intrinsics, color.stamp_ns, color.header.frame_id, depth_mm)

    def _intrinsics(self, header: Header, size: tuple[int, int]) -> Intrinsics | None:
        """Of the newest camera_info that fits: only points need it, so one that does not is as good as none."""
        problem = ""
        for info in self._camera_infos:
            fit = fit_camera_info(info, header.frame_id, size)
            if fit.intrinsics is not None:
                return fit.intrinsics
            problem = problem or fit.problem
        if problem:
            self._node.get_logger().warning(f"masks, but no points: {problem}", throttle_duration_sec=_REMINDER_S)
        return None
