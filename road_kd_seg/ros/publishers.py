# SPDX-License-Identifier: Apache-2.0
"""What the node publishes. An output that nobody subscribes to is not computed."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Float64, String

from road_kd_seg.frame import StageTimes
from road_kd_seg.obstacle_tracker import ObstacleTracker
from road_kd_seg.ros.conversions import cloud_from_points, image_from_array
from road_kd_seg.ros.detections import detections
from road_kd_seg.ros.parameters import Settings
from road_kd_seg.ros.segmented_frame import CLOUDS, IMAGES, SegmentedFrame
from road_kd_seg.ros.target_frame import TargetFrame
from road_kd_seg.ros.topics import explained
from road_kd_seg.taxonomy import Taxonomy

try:
    from vision_msgs import msg as vision
except ImportError:  # PyPI has no wheels of vision_msgs; ~/legend and ~/obstacles_json say the same
    vision = None

_THROTTLE_S = 5.0
_STAGES = tuple(field.name for field in fields(StageTimes))


class Outputs:
    """Publishers of everything but diagnostics. `publish` may be called from the worker's thread."""

    def __init__(self, node: Node, target_frame: str) -> None:
        self._node = node
        self._target = TargetFrame(node, target_frame) if target_frame else None
        self._publishers: list[Any] = []
        self._tracker = ObstacleTracker()
        try:
            self._images = {name: self._create(Image, name) for name in IMAGES}
            self._clouds = {name: self._create(PointCloud2, name) for name in CLOUDS}
            self._times = {name: self._create(Float64, f"~/debug/processing_time/{name}") for name in _STAGES}
            self._legend = self._create(String, "~/legend", latched=True)
            self._obstacles_json = self._create(String, "~/obstacles_json")
            self._label_info = self._create(vision.LabelInfo, "~/label_info", latched=True) if vision else None
            self._obstacles = self._create(vision.Detection3DArray, "~/obstacles") if vision else None
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        """Destroy the publishers."""
        if self._target is not None:
            self._target.close()
        for publisher in self._publishers:
            self._node.destroy_publisher(publisher)

    def announce(self, taxonomy: Taxonomy, settings: Settings) -> None:
        """Publish what the label values mean; late subscribers get it too."""
        self._legend.publish(String(data=taxonomy.to_json()))
        if self._label_info is not None:
            classes = [vision.VisionClass(class_id=c.id, class_name=c.name) for c in taxonomy.classes]
            info = vision.LabelInfo(class_map=classes, threshold=float(settings.min_confidence))
            info.header.stamp = self._node.get_clock().now().to_msg()
            self._label_info.publish(info)

    def publish(self, frame: SegmentedFrame) -> None:
        """Publish what somebody subscribes to."""
        for name, (encoding, pixels) in IMAGES.items():
            if self._images[name].get_subscription_count():
                array = pixels(frame)
                if array is not None:
                    self._images[name].publish(image_from_array(array, encoding, frame.header))
        self._publish_clouds(frame)
        self._publish_obstacles(frame)
        for name, publisher in self._times.items():
            if frame.segmentation.times is not None and publisher.get_subscription_count():
                publisher.publish(Float64(data=getattr(frame.segmentation.times, name)))

    def _publish_clouds(self, frame: SegmentedFrame) -> None:
        names = [name for name, publisher in self._clouds.items() if publisher.get_subscription_count()]
        if not names or not self._has_points(frame):
            return
        place = self._target.at(frame.header) if self._target is not None else (frame.header, lambda points: points)
        if place is None:
            return
        header, move = place
        for name in names:
            self._clouds[name].publish(cloud_from_points(move(CLOUDS[name](frame)), header))

    def _publish_obstacles(self, frame: SegmentedFrame) -> None:
        boxes, text = (
            publisher if publisher is not None and publisher.get_subscription_count() else None
            for publisher in (self._obstacles, self._obstacles_json)
        )
        if not (boxes or text) or not self._has_points(frame):
            return
        found = frame.obstacles()
        numbers = self._tracker.update(found, frame.frame.stamp_ns)
        if boxes is not None:
            boxes.publish(detections(vision, found, numbers, frame.taxonomy, frame.header))
        if text is not None:
            described = [each.describe(frame.taxonomy, number) for each, number in zip(found, numbers, strict=True)]
            whole = {"stamp_ns": frame.frame.stamp_ns, "frame_id": frame.header.frame_id, "obstacles": described}
            text.publish(String(data=json.dumps(whole)))

    def _has_points(self, frame: SegmentedFrame) -> bool:
        if frame.frame.depth_m is not None and frame.frame.intrinsics is not None:
            return True
        lacking = "depth" if frame.frame.depth_m is None else "a calibrated camera_info"
        self._node.get_logger().warning(
            f"no points: they need {lacking}; the masks are not affected", throttle_duration_sec=_THROTTLE_S
        )
        return False

    def _create(self, kind: type, name: str, *, latched: bool = False) -> Any:
        qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
        options = QoSOverridingOptions.with_default_policies()
        if latched:
            qos = QoSProfile(
                depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL, reliability=ReliabilityPolicy.RELIABLE
            )
            options = None  # late subscribers rely on it
        with explained(self._node, name):
            publisher = self._node.create_publisher(kind, name, qos, qos_overriding_options=options)
        self._publishers.append(publisher)
        return publisher
