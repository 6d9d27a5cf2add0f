# SPDX-License-Identifier: Apache-2.0
"""A segmented frame, and every output that the node makes of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import Header

from road_kd_seg.clouds import costmap_points, ground_points, masked_depth, organized_points
from road_kd_seg.frame import RgbdFrame, Segmentation
from road_kd_seg.ground import GroundPlane
from road_kd_seg.obstacles import Obstacle, find_obstacles
from road_kd_seg.postprocess import obstacle_points, overlay, role_mask
from road_kd_seg.ros.parameters import Settings
from road_kd_seg.taxonomy import Role, Taxonomy


@dataclass(frozen=True, slots=True)
class SegmentedFrame:
    """What the outputs of one frame are made with."""

    frame: RgbdFrame
    segmentation: Segmentation
    plane: GroundPlane | None
    """The road; None without depth, or where none was found."""
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

    def obstacle_points(self) -> NDArray[np.void]:
        """Obstacle pixels where they are, (N,)."""
        return obstacle_points(self.frame, self.segmentation, self.taxonomy, **self._limits())

    def costmap_points(self) -> NDArray[np.void]:
        """Obstacle pixels, the negative ones lifted above the road, (N,)."""
        height_m = self.settings.negative_obstacle_height_m
        return costmap_points(
            self.frame, self.segmentation, self.taxonomy, self.plane, height_m=height_m, **self._limits()
        )

    def ground_points(self) -> NDArray[np.void]:
        """Thinned drivable pixels, (N,)."""
        stride, max_range_m = self.settings.ground_points_stride, self.settings.max_range_m
        return ground_points(self.frame, self.segmentation, self.taxonomy, stride=stride, max_range_m=max_range_m)

    def points(self) -> NDArray[np.void]:
        """Every pixel as a point, (H, W) at a stride of 1."""
        assert self.frame.depth_m is not None and self.frame.intrinsics is not None  # noqa: PT018
        return organized_points(self.frame.depth_m, self.frame.intrinsics, self.settings.points_stride)

    def obstacles(self) -> list[Obstacle]:
        """Obstacles as objects, nearest first; needs depth and intrinsics, as the points do."""
        return find_obstacles(self.frame, self.segmentation, self.taxonomy, self.plane, **self._limits())

    def masked_depth(self) -> NDArray[np.uint16] | None:
        """Depth without obstacles, millimeters, (H, W)."""
        return masked_depth(self.frame, self.segmentation, self.taxonomy)

    def _limits(self) -> dict[str, float]:
        return {"max_range_m": self.settings.max_range_m, "min_confidence": self.settings.min_confidence}


IMAGES: Mapping[str, tuple[str, Callable[[SegmentedFrame], NDArray[Any] | None]]] = {
    "~/obstacle_mask": ("mono8", lambda frame: frame.mask(Role.OBSTACLE)),
    "~/lane_mask": ("mono8", lambda frame: frame.mask(Role.LANE)),
    "~/label": ("mono8", lambda frame: frame.segmentation.label),
    "~/confidence": ("mono8", lambda frame: frame.confidence()),
    "~/overlay": ("rgb8", lambda frame: frame.overlay()),
    "~/masked_depth": ("16UC1", lambda frame: frame.masked_depth()),
}
"""Encoding and pixels by topic, in the order of publication; None: this frame has none."""

CLOUDS: Mapping[str, Callable[[SegmentedFrame], NDArray[np.void]]] = {
    "~/obstacle_points": SegmentedFrame.obstacle_points,
    "~/costmap_points": SegmentedFrame.costmap_points,
    "~/ground_points": SegmentedFrame.ground_points,
    "~/points": SegmentedFrame.points,
}
"""Points by topic; called for frames with depth and intrinsics."""
