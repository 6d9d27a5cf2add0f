# SPDX-License-Identifier: Apache-2.0
"""Obstacles as objects: where they are, how large, and for potholes how deep, with 90 % intervals.

What is measured is what the camera sees. The part of a pothole behind its near rim is hidden, the more the flatter the
view. NumPy and OpenCV only; H W camera size, N pixels of one object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg.errors import FrameError
from road_kd_seg.frame import Intrinsics, RgbdFrame, Segmentation
from road_kd_seg.ground import GroundPlane
from road_kd_seg.postprocess import role_mask
from road_kd_seg.taxonomy import Role, Taxonomy

MIN_PIXELS = 64
"""Smaller connected areas, and those with fewer pixels of valid depth, are no objects: no robot brakes for them."""
_TRIMMED = (0.02, 0.98)
"""Quantiles of an object's points that bound it: single pixels of stereo depth fly."""
_DEEP = 0.9
"""A pothole's depth is this quantile of the depths of its pixels: the deepest pixel alone is mostly noise."""
_DEEP_SIGMAS = 1.2816
"""The same quantile of a normal distribution."""
_Z90 = 1.645
"""Half the width of a 90 % interval in standard deviations."""
_NOISE_STRIDE = 4
_NOISE_TOLERANCE_PER_M = 0.02
"""What lies further than this from the road in inverse depth says nothing about the noise of the road's depth."""


@dataclass(frozen=True, slots=True)
class _Deviation:
    """How far a measure is off: a floor that no camera falls below, because stereo matches windows of pixels and
    smooths rims, and a share of what would come out if the noise of all pixels had one sign."""

    floor: float
    noise_share: float

    def of(self, extent: float, noise: float) -> float:
        """Standard deviation, where the floor grows with `extent`."""
        return float(np.hypot(self.floor * extent, self.noise_share * noise))


# Fitted to 112 rendered potholes up to 5 m away, each seen by three cameras, none of which the tests measure.
_DEPTH = _Deviation(floor=0.0012, noise_share=0.42)  # per meter of distance
_AREA = _Deviation(floor=0.001, noise_share=0.07)  # of the area
_VOLUME = _Deviation(floor=0.0009, noise_share=0.27)  # per meter of distance and square meter


@dataclass(frozen=True, slots=True)
class Measure:
    """A quantity and its 90 % interval from the noise of the depth."""

    value: float
    low: float
    high: float

    def scaled(self, factor: float, digits: int) -> dict[str, float]:
        """In another unit, rounded."""
        parts = {"value": self.value, "low": self.low, "high": self.high}
        return {name: round(part * factor, digits) for name, part in parts.items()}


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One connected obstacle of one frame. Its box stands on the road: width to the right, length ahead, height."""

    class_id: int
    confidence: float
    """Mean over its pixels, 0 to 1."""
    num_points: int
    """Pixels with valid depth."""
    position_m: NDArray[np.float64]
    """Middle of the box in the optical frame, (3,)."""
    size_m: NDArray[np.float64]
    """Width, length and height of the box, (3,); the height of a negative obstacle is its depth."""
    axes: NDArray[np.float64]
    """Columns: the directions right, ahead and up of the road in the optical frame, (3, 3); of the camera, without a
    road plane."""
    is_cut: bool
    """It reaches the image's border, and so is larger than what is seen of it."""
    depth_m: Measure | None = None
    """Below the road, for negative obstacles on a road plane; None for others."""
    area_m2: Measure | None = None
    """Of its opening in the road, likewise."""
    volume_m3: Measure | None = None
    """Between the road and what is seen below it, likewise."""

    @property
    def footprint_m(self) -> NDArray[np.float64]:
        """Near left and far right corner on the road, to the right and ahead of the camera, (2, 2)."""
        middle = (self.position_m @ self.axes)[:2]
        return np.stack([middle - self.size_m[:2] / 2, middle + self.size_m[:2] / 2])

    def describe(self, taxonomy: Taxonomy, number: int) -> dict[str, Any]:
        """As plain data for JSON, rounded to what can be known."""
        return {
            "id": number,
            "class": taxonomy.names[self.class_id],
            "position_m": [round(float(value), 3) for value in self.position_m],
            "size_m": [round(float(value), 3) for value in self.size_m],
            "is_cut": self.is_cut,
            "depth_cm": self.depth_m and self.depth_m.scaled(100, 1),
            "area_m2": self.area_m2 and self.area_m2.scaled(1, 4),
            "volume_l": self.volume_m3 and self.volume_m3.scaled(1000, 2),
        }


def find_obstacles(
    frame: RgbdFrame,
    segmentation: Segmentation,
    taxonomy: Taxonomy,
    plane: GroundPlane | None,
    *,
    max_range_m: float = np.inf,
    min_confidence: float = 0.0,
) -> list[Obstacle]:
    """The connected areas of each obstacle class as objects, nearest first.

    Args:
        frame: with depth and intrinsics.
        segmentation: of this frame.
        taxonomy: which classes are obstacles, and which of them lie below the road.
        plane: the road; None: objects in the camera's axes, and nothing below the road is measured.
        max_range_m: depth beyond is left out.
        min_confidence: so are pixels less sure than this.

    Raises:
        FrameError: the frame has no depth or no intrinsics.
    """
    if frame.depth_m is None or frame.intrinsics is None:
        lacking = "depth" if frame.depth_m is None else "camera intrinsics"
        raise FrameError(f"obstacles need depth and camera_info, this frame has no {lacking}")
    depth_m, camera = frame.depth_m, frame.intrinsics
    noise_per_m = depth_noise(depth_m, plane) if plane is not None else 0.0
    mask = role_mask(segmentation, taxonomy, Role.OBSTACLE, min_confidence) > 0
    found = []
    for item in taxonomy.classes:
        if item.role is not Role.OBSTACLE:
            continue
        same = (mask & (segmentation.label == item.id)).astype(np.uint8)
        count, ids, boxes, _ = cv2.connectedComponentsWithStats(same, connectivity=8)
        for index in range(1, count):
            left, top, width, height, num_pixels = (int(value) for value in boxes[index])
            if num_pixels < MIN_PIXELS:
                continue
            window = np.s_[top : top + height, left : left + width]
            rows, columns = np.nonzero(ids[window] == index)
            pixels = _Pixels(rows + top, columns + left, depth_m[window][rows, columns].astype(np.float64), camera)
            seen = (pixels.depth_m > 0) & (pixels.depth_m <= max_range_m)
            if seen.sum() < MIN_PIXELS:
                continue
            confidence = float(segmentation.confidence[window][rows, columns].mean())
            is_cut = min(top, left) == 0 or top + height == frame.size[0] or left + width == frame.size[1]
            below = plane if item.id in taxonomy.negative_ids else None
            found.append(_measured(item.id, confidence, is_cut, pixels, seen, plane, below, noise_per_m))
    return sorted(found, key=lambda obstacle: float(np.linalg.norm(obstacle.position_m)))


def depth_noise(depth_m: NDArray[np.float32], plane: GroundPlane) -> float:
    """Deviation of 1/z of the road's pixels from their plane, 1/m: stereo's noise is that of disparity, everywhere the
    same in 1/z."""
    sampled = depth_m[::_NOISE_STRIDE, ::_NOISE_STRIDE].astype(np.float64)
    rows, columns = np.nonzero(sampled > 0)
    road = _road(plane, rows * _NOISE_STRIDE, columns * _NOISE_STRIDE)
    residual = np.abs(1 / sampled[rows, columns] - road)
    near = residual[residual < _NOISE_TOLERANCE_PER_M]
    return 1.4826 * float(np.median(near)) if near.size else 0.0


@dataclass(frozen=True, slots=True)
class _Pixels:
    """Pixels of one object, (N,) each."""

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    depth_m: NDArray[np.float64]
    """0 where invalid."""
    camera: Intrinsics

    def points(self, where: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Those of a mask in the optical frame, (n, 3)."""
        x = (self.columns[where] - self.camera.cx) / self.camera.fx
        y = (self.rows[where] - self.camera.cy) / self.camera.fy
        return np.stack([x, y, np.ones_like(x)], -1) * self.depth_m[where, None]


def _measured(
    class_id: int,
    confidence: float,
    is_cut: bool,
    pixels: _Pixels,
    seen: NDArray[np.bool_],
    plane: GroundPlane | None,
    below: GroundPlane | None,
    noise_per_m: float,
) -> Obstacle:
    """An object; `below` is the plane that it is measured against, if it is a negative obstacle."""
    axes = _axes(plane, pixels.camera)
    low, high = np.quantile(pixels.points(seen) @ axes, _TRIMMED, axis=0)
    measures: tuple[Measure | None, ...] = (None, None, None)
    if below is not None:
        measures = _below_road(pixels, seen, below, noise_per_m)
        road_m = -1 / float(np.linalg.norm(below.normal(pixels.camera)))
        low[2], high[2] = road_m - max(measures[0].value, 0), road_m
    middle = axes @ ((low + high) / 2)
    return Obstacle(class_id, confidence, int(seen.sum()), middle, high - low, axes, is_cut, *measures)


def _axes(plane: GroundPlane | None, camera: Intrinsics) -> NDArray[np.float64]:
    up = np.array([0.0, -1.0, 0.0]) if plane is None else plane.up(camera)
    # A camera that looks straight down has the top of its image ahead.
    view = np.array([0.0, 0.0, 1.0]) if abs(up[2]) < 0.99 else np.array([0.0, -1.0, 0.0])
    ahead = view - (view @ up) * up
    ahead /= np.linalg.norm(ahead)
    return np.stack([np.cross(ahead, up), ahead, up], -1)


def _road(plane: GroundPlane, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.float64]:
    """1/z of the road at pixels, (N,)."""
    return plane.columns * columns + plane.rows * rows + plane.offset


def _below_road(
    pixels: _Pixels, seen: NDArray[np.bool_], plane: GroundPlane, noise_per_m: float
) -> tuple[Measure, Measure, Measure]:
    """Depth, area and volume of a negative obstacle."""
    per_m = float(np.linalg.norm(plane.normal(pixels.camera)))  # 1 / height of the camera
    pixel = 1 / (pixels.camera.fx * pixels.camera.fy)
    road = _road(plane, pixels.rows, pixels.columns)
    road = np.maximum(road, 1e-3)
    road_m = 1 / road
    z_m = pixels.depth_m[seen]
    # A pixel's ray meets the road at road_m, where it covers pixel · |n| · z³ of it, and n · p = z / road_m.
    area_m2 = float((pixel * per_m * road_m**3).sum())
    below_m = (z_m * road[seen] - 1) / per_m
    noise_m = z_m**2 * road[seen] * noise_per_m / per_m
    deepest_m = float(np.quantile(below_m, _DEEP))
    # Noise widens the distribution of depths, and so moves its quantile: what a normal spread adds is taken off.
    spread_m, sigma_m = float(below_m.std()), float(noise_m.mean())
    added_m = _DEEP_SIGMAS * (spread_m - np.sqrt(max(spread_m**2 - sigma_m**2, 0.0)))
    share_seen = int(seen.sum()) / len(seen)
    volume_m3 = float((pixel * (z_m**3 - road_m[seen] ** 3) / 3).sum()) / share_seen
    volume_noise_m3 = float((pixel * z_m**4 * noise_per_m).sum()) / share_seen
    distance_m = float(road_m.mean())
    return (
        _interval(deepest_m - added_m, _DEPTH.of(distance_m, sigma_m)),
        _interval(area_m2, _AREA.of(area_m2, 3 * distance_m * noise_per_m * area_m2)),
        _interval(volume_m3, _VOLUME.of(distance_m * area_m2, volume_noise_m3)),
    )


def _interval(value: float, deviation: float) -> Measure:
    return Measure(value, value - _Z90 * deviation, value + _Z90 * deviation)
