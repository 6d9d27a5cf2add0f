"""What the node publishes. An output that nobody subscribes to is not computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header, String

from road_kd_seg.errors import RoadKdError
from road_kd_seg.frame import RgbdFrame, Segmentation
from road_kd_seg.postprocess import obstacle_points, overlay, role_mask
from road_kd_seg.ros.conversions import cloud_from_points, image_from_array
from road_kd_seg.ros.parameters import Settings
from road_kd_seg.ros.topics import explained
from road_kd_seg.taxonomy import Role, Taxonomy

try:
    from vision_msgs.msg import LabelInfo, VisionClass
except ImportError:  # PyPI has no wheels of vision_msgs; ~/legend says the same
    LabelInfo = None

_THROTTLE_S = 5.0


@dataclass(frozen=True, slots=True)
class SegmentedFrame:
    """A segmented frame, and what its outputs are made with."""

    frame: RgbdFrame
    segmentation: Segmentation
    header: Header
    taxonomy: Taxonomy
    settings: Settings

    def mask(self, role: Role) -> NDArray[np.uint8]:
        """0/255 mask of a role, (H, W)."""
        return role_mask(self.segmentation, self.taxonomy, role, self.settings.min_confidence)

    def confidence(self) -> NDArray[np.uint8]:
        """Winning probability x 255, (H, W)."""
        return np.rint(self.segmentation.confidence * 255).astype(np.uint8)

    def overlay(self) -> NDArray[np.uint8]:
        """Class colors over the image, (H, W, 3) RGB."""
        return overlay(self.frame.rgb, self.segmentation.label, self.taxonomy, self.settings.overlay_alpha)


_IMAGES: Mapping[str, tuple[str, Callable[[SegmentedFrame], NDArray[np.uint8]]]] = {
    "~/obstacle_mask": ("mono8", lambda scene: scene.mask(Role.OBSTACLE)),
    "~/lane_mask": ("mono8", lambda scene: scene.mask(Role.LANE)),
    "~/label": ("mono8", lambda scene: scene.segmentation.label),
    "~/confidence": ("mono8", lambda scene: scene.confidence()),
    "~/overlay": ("rgb8", lambda scene: scene.overlay()),
}
"""Encoding and pixels by topic, in the order of publication."""


class Outputs:
    """Publishers of everything but diagnostics. `publish` may be called from the worker's thread."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publishers: list[Any] = []
        try:
            self._images = {name: self._create(Image, name) for name in _IMAGES}
            self._points = self._create(PointCloud2, "~/obstacle_points")
            self._legend = self._create(String, "~/legend", latched=True)
            self._label_info = self._create(LabelInfo, "~/label_info", latched=True) if LabelInfo else None
        except RoadKdError:
            self.close()
            raise

    def close(self) -> None:
        """Destroy the publishers."""
        for publisher in self._publishers:
            self._node.destroy_publisher(publisher)

    def announce(self, taxonomy: Taxonomy, settings: Settings) -> None:
        """Publish what the label values mean; late subscribers get it too."""
        self._legend.publish(String(data=taxonomy.to_json()))
        if self._label_info is not None:
            classes = [VisionClass(class_id=c.id, class_name=c.name) for c in taxonomy.classes]
            info = LabelInfo(class_map=classes, threshold=float(settings.min_confidence))
            info.header.stamp = self._node.get_clock().now().to_msg()
            self._label_info.publish(info)

    def publish(self, scene: SegmentedFrame) -> None:
        """Publish what somebody subscribes to."""
        for name, (encoding, pixels) in _IMAGES.items():
            if self._images[name].get_subscription_count():
                self._images[name].publish(image_from_array(pixels(scene), encoding, scene.header))
        if self._points.get_subscription_count():
            self._publish_points(scene)

    def _publish_points(self, scene: SegmentedFrame) -> None:
        frame, settings = scene.frame, scene.settings
        if frame.depth_m is None or frame.intrinsics is None:
            lacking = "depth" if frame.depth_m is None else "a calibrated camera_info"
            self._node.get_logger().warning(
                f"no obstacle points: they need {lacking}; the masks are not affected",
                throttle_duration_sec=_THROTTLE_S,
            )
            return
        points = obstacle_points(
            frame,
            scene.segmentation,
            scene.taxonomy,
            max_range_m=settings.max_range_m,
            min_confidence=settings.min_confidence,
        )
        self._points.publish(cloud_from_points(points, scene.header))

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
