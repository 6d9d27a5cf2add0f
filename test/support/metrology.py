# SPDX-License-Identifier: Apache-2.0
"""Potholes of rendered scenes, measured from a sensor's depth and known exactly."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg.frame import RgbdFrame, Segmentation
from road_kd_seg.ground import assess_depth
from road_kd_seg.obstacle_tracker import ObstacleTracker
from road_kd_seg.obstacles import MIN_PIXELS, Measure, find_obstacles
from road_kd_seg.synthetic.drive import DriveConfig, SceneDepth, plan_drive, render_drive, render_scene_depth
from road_kd_seg.synthetic.layout import build_segment
from road_kd_seg.synthetic.scene import SEGMENT_M, Defect, Road
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY, NEGATIVE_OBSTACLE, ROAD

SIZE = (360, 640)
NOISES_PX = (0.05, 0.085, 0.15)
"""Of disparity in a 1024 px wide image: a good D455, the middle of those that are rendered, a bad one."""
MAX_DISTANCE_M = 5.0
BANDS_M = ((0.0, 2.0), (2.0, 3.0), (3.0, 4.0), (4.0, 5.0))
UNITS = {"depth_cm": ("depth_m", 100), "area_m2": ("area_m2", 1), "volume_l": ("volume_m3", 1000)}


class Pothole(NamedTuple):
    """One pothole as it is and as one camera measures it."""

    distance_m: float
    noise_px: float
    true: dict[str, float]
    measured: dict[str, Measure]

    def error(self, quantity: str) -> float:
        return self.measured[quantity].value - self.true[quantity]

    def covered(self, quantity: str) -> bool:
        return self.measured[quantity].low <= self.true[quantity] <= self.measured[quantity].high


class Potholes(NamedTuple):
    measured: list[Pothole]

    def coverage(self, quantity: str) -> float:
        return float(np.mean([each.covered(quantity) for each in self.measured]))

    def table(self, quantity: str) -> str:
        """Error by distance and noise: median, 90th percentile of its size, share of intervals that hold."""
        unit = quantity.rpartition("_")[2]
        lines = [f"| {quantity} | noise, px | n | true, median | error, median | 90 % below | within interval |"]
        for (near_m, far_m), noise_px in itertools.product(BANDS_M, NOISES_PX):
            group = [p for p in self.measured if near_m <= p.distance_m < far_m and p.noise_px == noise_px]
            if group:
                errors = np.array([each.error(quantity) for each in group])
                true = np.median([each.true[quantity] for each in group])
                held = np.mean([each.covered(quantity) for each in group])
                lines.append(
                    f"| {near_m:.0f}-{far_m:.0f} m | {noise_px} | {len(group)} | {true:.3g} | {np.median(errors):+.2g}"
                    f" | {np.quantile(np.abs(errors), 0.9):.2g} {unit} | {held:.0%} |"
                )
        return "\n".join(lines)


def measure_potholes(first_seed: int, count: int) -> Potholes:
    """The first `count` potholes within `MAX_DISTANCE_M` of the scenes from a seed on, by each of the cameras."""
    found: list[Pothole] = []
    potholes = 0
    for seed in itertools.count(first_seed):
        for measured in _of_scene(render_scene_depth(seed, *SIZE, NOISES_PX)):
            found += measured
            potholes += 1
            if potholes == count:
                return Potholes(found)
    raise AssertionError


def _of_scene(scene: SceneDepth) -> Iterator[list[Pothole]]:
    planes = [assess_depth(depth_m).plane for depth_m in scene.measured_m]
    count, ids, stats, _ = cv2.connectedComponentsWithStats((scene.label == NEGATIVE_OBSTACLE).astype(np.uint8))
    for index in range(1, count):
        mask = ids == index
        true, distance_m = _exactly(scene, mask)
        if stats[index, cv2.CC_STAT_AREA] < 2 * MIN_PIXELS or distance_m > MAX_DISTANCE_M:
            continue
        seen: list[Pothole] = []
        for noise_px, depth_m, plane in zip(NOISES_PX, scene.measured_m, planes, strict=True):
            frame = RgbdFrame(np.zeros((*SIZE, 3), np.uint8), depth_m, scene.camera)
            label = np.where(mask, NEGATIVE_OBSTACLE, ROAD).astype(np.uint8)
            segmentation = Segmentation(label, np.ones(SIZE, np.float32))
            objects = find_obstacles(frame, segmentation, DEFAULT_TAXONOMY, plane)
            if plane is not None and objects:
                measured = {name: _in_unit(getattr(objects[0], of), factor) for name, (of, factor) in UNITS.items()}
                seen.append(Pothole(distance_m, noise_px, true, measured))
        if seen:
            yield seen


def _exactly(scene: SceneDepth, mask: NDArray[np.bool_]) -> tuple[dict[str, float], float]:
    """Depth, area and volume of what is seen below the road, from the exact geometry, and its distance."""
    camera = scene.camera
    rows, columns = np.nonzero(mask)
    z_m, road_m = scene.true_m[mask].astype(np.float64), scene.road_m[mask].astype(np.float64)
    rays = np.stack([(columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy, np.ones(len(rows))], -1)
    pixel, height_m = 1 / (camera.fx * camera.fy), scene.camera_height_m
    true = {
        "depth_cm": 100 * height_m * float(np.quantile(z_m / road_m - 1, 0.9)),
        "area_m2": pixel / height_m * float((road_m**3).sum()),
        "volume_l": 1000 * pixel / 3 * float((z_m**3 - road_m**3).sum()),
    }
    return true, float(np.linalg.norm((rays * road_m[:, None]).mean(axis=0)))


def _in_unit(measure: Measure, factor: float) -> Measure:
    return Measure(measure.value * factor, measure.low * factor, measure.high * factor)


class Count(NamedTuple):
    """Potholes of a drive: those that came into sight, and the numbers that the tracker gave them."""

    potholes: int
    numbers: int
    once: int
    """Potholes with one number, which no other has."""


def count_potholes(config: DriveConfig) -> Count:
    """Track a rendered drive's obstacles, of true outlines and a sensor's depth, up to 10 m as the node does.

    Which pothole an object is follows from the vehicle's true pose and the road's plan, which the tracker does not see.
    """
    road, rig, *_ = plan_drive(config)
    tracker, numbers_of = ObstacleTracker(), dict[Defect, set[int]]()
    for index, (frame, label) in enumerate(render_drive(config)):
        assert frame.depth_m is not None
        pose = rig.pose(road, index / config.rate_hz)
        segmentation = Segmentation(label, np.ones(label.shape, np.float32))
        plane = assess_depth(frame.depth_m).plane
        obstacles = find_obstacles(frame, segmentation, DEFAULT_TAXONOMY, plane, max_range_m=10.0)
        for obstacle, number in zip(obstacles, tracker.update(obstacles, frame.stamp_ns), strict=True):
            if obstacle.class_id == NEGATIVE_OBSTACLE:
                x_m, y_m, _ = pose.rotation() @ obstacle.position_m + pose.position
                nearest = _nearest_defect(road, float(y_m), float(x_m - road.middle_x(y_m)))
                if nearest.kind == "pothole":
                    numbers_of.setdefault(nearest, set()).add(number)
    owners = [number for numbers in numbers_of.values() for number in numbers]
    once = sum(len(numbers) == 1 and owners.count(*numbers) == 1 for numbers in numbers_of.values())
    return Count(len(numbers_of), len(set(owners)), once)


def _nearest_defect(road: Road, s_m: float, t_m: float) -> Defect:
    middle = int(s_m // SEGMENT_M)
    defects = [defect for index in (middle - 1, middle, middle + 1) for defect in build_segment(road, index).defects]
    return min(defects, key=lambda defect: max(abs(defect.s_m - s_m), abs(defect.t_m - t_m)))
