# SPDX-License-Identifier: Apache-2.0
"""Drives along random roads, and single scenes: what the rest of the project asks for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.bags.topics import COLOR_OPTICAL_FRAME
from road_kd_seg.frame import Intrinsics, LabeledFrame
from road_kd_seg.synthetic.camera import CameraPose, View, d455_intrinsics
from road_kd_seg.synthetic.canvas import see_ground
from road_kd_seg.synthetic.render import paint_scene, render
from road_kd_seg.synthetic.roads import draw_road
from road_kd_seg.synthetic.scene import Road, Weather
from road_kd_seg.synthetic.sensor import SensorLook, draw_sensor_look, measure_depth
from road_kd_seg.synthetic.variety import draw_lens, draw_mast, vary_look, vary_road
from road_kd_seg.taxonomy import ROAD

FIRST_STAMP_NS = 1_750_000_000_000_000_000
_CLOSE_UP_SHARE = 0.15
_WET_GLOSS = 0.25
"""Share of the sky that a road must mirror to count as wet: the rim of a patch, which fades out, does not."""


@dataclass(frozen=True)
class DriveConfig:
    """A drive along one road, with one camera, in one light."""

    seed: int = 0
    """Of everything: the same seed gives the same bytes."""
    num_frames: int = 300
    rate_hz: float = 15.0
    height: int = 576
    """Pixels."""
    width: int = 1024
    """Pixels; with the height in 16:9 the field of view is a D455's."""
    variety: bool = False
    """Also vary lens, mast, terrain, traffic, hour, weather and the faults of depth, as `render_scene` does; some
    images are then 4 / 3 of their height wide."""


@dataclass(frozen=True, slots=True)
class Rig:
    """How the camera is mounted and moved."""

    speed_m_s: float
    height_m: float
    pitch_rad: float
    roll_rad: float
    sway: float
    """How much the vehicle rocks; 1 is a bad road."""

    def pose(self, road: Road, time_s: float) -> CameraPose:
        """Where the camera is after `time_s` of driving."""
        s_m = self.speed_m_s * time_s
        t_m = road.ego_t_m + 0.12 * math.sin(0.5 * time_s)
        return CameraPose(
            x_m=float(road.middle_x(s_m)) + t_m,
            y_m=s_m,
            height_m=self.height_m + 0.012 * self.sway * math.sin(9.1 * time_s),
            heading_rad=road.heading_rad(s_m) + 0.02 * math.sin(0.7 * time_s),
            pitch_rad=self.pitch_rad + 0.006 * self.sway * math.sin(7.3 * time_s + 1),
            roll_rad=self.roll_rad + 0.006 * self.sway * math.sin(5.7 * time_s + 2),
        )


class Drive(NamedTuple):
    """What stays the same along a drive."""

    road: Road
    rig: Rig
    look: SensorLook
    camera: Intrinsics


def plan_drive(config: DriveConfig) -> Drive:
    """The road, the rig and the camera of a drive."""
    rng = np.random.default_rng([config.seed, 5])
    rig, look = _draw_rig(rng, close_up=False), draw_sensor_look(rng)
    road = draw_road(config.seed, clear_path=True, close_up=False)
    camera = d455_intrinsics(config.height, config.width)
    if config.variety:
        varied = np.random.default_rng([config.seed, 9])
        camera, baseline_m = draw_lens(varied, config.height, config.width)
        road = vary_road(road, varied)
        mast = draw_mast(varied, rig.pose(road, 0.0))
        rig = replace(rig, height_m=mast.height_m, pitch_rad=mast.pitch_rad, roll_rad=mast.roll_rad)
        look = vary_look(look, road.weather or Weather(), baseline_m, varied)
    return Drive(road, rig, look, camera)


def render_drive(config: DriveConfig) -> Iterator[LabeledFrame]:
    """Frames of one drive, one at a time, in order."""
    road, rig, look, camera = plan_drive(config)
    for i in range(config.num_frames):
        time_s = i / config.rate_hz
        stamp_ns = FIRST_STAMP_NS + round(time_s * 1e9)
        frame_rng = np.random.default_rng([config.seed, 6, i])
        yield render(road, View(camera, rig.pose(road, time_s)), look, frame_rng, stamp_ns, COLOR_OPTICAL_FRAME)


def render_scene(seed: int, height: int = 576, width: int = 1024, *, variety: bool = False) -> LabeledFrame:
    """One frame of a road that no other seed has, for training on many of them.

    About one in seven is a steep close-up of rough asphalt with a pothole instead of a view along a road. Obstacles may
    block the way, which they never do in a drive.

    Args:
        seed: of everything; the same seed gives the same bytes.
        height: pixels.
        width: pixels.
        variety: also vary lens (some images are 4 / 3 of their height wide, whatever `width` says), mast, terrain,
            traffic, time of day, weather and the faults of stereo depth. Without it, scenes are what they ever were.
    """
    scene = _plan_scene(seed, height, width, variety=variety)
    return render(scene.road, scene.view, scene.look, scene.rng, FIRST_STAMP_NS, COLOR_OPTICAL_FRAME)


def render_wet_mask(seed: int, height: int = 576, width: int = 1024, *, variety: bool = False) -> NDArray[np.bool_]:
    """Where the road of `render_scene` is wet: (H, W), True on road that mirrors a fair share of the sky."""
    scene = _plan_scene(seed, height, width, variety=variety)
    canvas = paint_scene(scene.road, scene.view)
    return np.asarray((canvas.gloss > _WET_GLOSS) & (canvas.label == ROAD))


class SceneDepth(NamedTuple):
    """Depth of a scene as it is and as cameras of several qualities measure it; all (H, W), meters, 0 for none."""

    label: NDArray[np.uint8]
    true_m: NDArray[np.float32]
    road_m: NDArray[np.float32]
    """Of the plane in which the road lies: potholes are beyond it."""
    measured_m: list[NDArray[np.float32]]
    """One for each quality."""
    camera: Intrinsics
    camera_height_m: float
    """Above that plane."""


def render_scene_depth(seed: int, height: int, width: int, disparity_noise_px: Sequence[float]) -> SceneDepth:
    """The geometry of `render_scene(seed)`, for measurements.

    Args:
        seed: of the scene.
        height: H.
        width: W.
        disparity_noise_px: deviation of a match in a 1024 px wide image, of each camera.
    """
    scene = _plan_scene(seed, height, width, variety=False)
    canvas = paint_scene(scene.road, scene.view)
    ground = see_ground(scene.road, scene.view)
    road_m = np.zeros((height, width), np.float32)
    road_m[ground.top :] = np.where(np.isfinite(ground.depth_m), ground.depth_m, 0)
    measured_m = [
        measure_depth(
            canvas.depth_m, canvas.hole_chance, scene.view.camera, replace(scene.look, disparity_noise_px=noise), rng
        )
        for noise, rng in zip(disparity_noise_px, scene.rng.spawn(len(disparity_noise_px)), strict=True)
    ]
    true_m = np.where(np.isfinite(canvas.depth_m), canvas.depth_m, 0).astype(np.float32)
    return SceneDepth(canvas.label, true_m, road_m, measured_m, scene.view.camera, scene.view.pose.height_m)


class _Scene(NamedTuple):
    road: Road
    view: View
    look: SensorLook
    rng: np.random.Generator
    """What is left of it for the sensor's noise."""


def _plan_scene(seed: int, height: int, width: int, *, variety: bool) -> _Scene:
    rng = np.random.default_rng([seed, 7])
    close_up = bool(rng.random() < _CLOSE_UP_SHARE)
    road = draw_road(seed, clear_path=False, close_up=close_up)
    rig = _draw_rig(rng, close_up=close_up)
    look = draw_sensor_look(rng, mean_exposure=1.4 if close_up else 1.0)
    camera, pose = d455_intrinsics(height, width), rig.pose(road, 0.0)
    if variety:
        varied = np.random.default_rng([seed, 9])
        camera, baseline_m = draw_lens(varied, height, width)
        road = vary_road(road, varied)
        if not close_up:
            pose = draw_mast(varied, pose)
        look = vary_look(look, road.weather or Weather(), baseline_m, varied)
    return _Scene(road, View(camera, pose), look, rng)


def _draw_rig(rng: np.random.Generator, *, close_up: bool) -> Rig:
    pitch_deg = rng.uniform(36, 55) if close_up else rng.uniform(10, 25)
    return Rig(
        speed_m_s=rng.uniform(2.0, 6.0),
        height_m=rng.uniform(0.7, 1.25) if close_up else rng.uniform(1.0, 1.6),
        pitch_rad=math.radians(pitch_deg),
        roll_rad=math.radians(rng.normal(0, 1.2)),
        sway=rng.uniform(0.2, 1.0),
    )
