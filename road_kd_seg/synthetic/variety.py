# SPDX-License-Identifier: Apache-2.0
"""Draws what makes scenes unlike each other: lens, mast, terrain, traffic, hour, weather, and a worse depth camera."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from road_kd_seg.frame import Intrinsics
from road_kd_seg.synthetic.camera import CameraPose, d455_intrinsics
from road_kd_seg.synthetic.scene import Light, Rgb, Road, Surroundings, Terrain, Weather
from road_kd_seg.synthetic.sensor import SensorLook
from road_kd_seg.synthetic.stereo_faults import draw_stereo_faults

_D435_BASELINE_M = 0.050
_LENSES = ("d455", "d455_4:3", "d435", "d435_4:3")


def draw_lens(rng: np.random.Generator, height: int, width: int) -> tuple[Intrinsics, float]:
    """A color camera of a RealSense, and the baseline of its depth camera.

    Half of the cameras are a D455 of `width` x `height`; the others have a D435's narrower lens, or images of 4:3,
    as 640x480 is, which are `height` pixels high. At 4:3 a D455 sees more above and below than its depth sensor does.
    """
    kind = _LENSES[int(rng.choice(4, p=(0.4, 0.2, 0.25, 0.15)))]
    if kind.endswith("4:3"):
        width = round(height * 4 / 3)
    half_tangent = {
        "d455": width / height / 2 * 9 / 8,  # 90 degrees wide at 16:9
        "d455_4:3": math.tan(math.radians(32.5)) * 4 / 3,
        "d435": math.tan(math.radians(34.7)),
        "d435_4:3": math.tan(math.radians(21.25)) * 4 / 3,
    }[kind]
    if kind == "d455":
        camera = d455_intrinsics(height, width)
    else:
        focal_px = width / 2 / half_tangent
        camera = Intrinsics(focal_px, focal_px, (width - 1) / 2, (height - 1) / 2, width, height)
    off_center = rng.normal(0, 0.008, 2) * (width, height)
    camera = dataclasses.replace(camera, cx=camera.cx + off_center[0], cy=camera.cy + off_center[1])
    return camera, 0.095 if kind.startswith("d455") else _D435_BASELINE_M


def draw_mast(rng: np.random.Generator, pose: CameraPose) -> CameraPose:
    """Another height (0.4 to 2.5 m), pitch (0 to 90 degrees), roll (up to 15) and direction of the same camera."""
    pitch_deg = rng.choice(
        [rng.uniform(0, 12), rng.uniform(12, 40), rng.uniform(40, 70), rng.uniform(70, 90)], p=(0.25, 0.5, 0.17, 0.08)
    )
    roll_deg = rng.uniform(-15, 15) if rng.random() < 0.3 else rng.normal(0, 1.5)
    return dataclasses.replace(
        pose,
        height_m=float(np.exp(rng.uniform(math.log(0.4), math.log(2.5)))),
        pitch_rad=math.radians(float(pitch_deg)),
        roll_rad=math.radians(float(np.clip(roll_deg, -15, 15))),
        heading_rad=pose.heading_rad + math.radians(rng.normal(0, 7)),
    )


def vary_road(road: Road, rng: np.random.Generator) -> Road:
    """The same road with terrain, traffic, weather and a texture between faint and harsh."""
    weather = _draw_weather(rng)
    town = road.style == "urban"
    bridge = not town and rng.random() < 0.08
    kerb_m = -5.0 if bridge else _draw_kerb(rng, town=town)
    terrain = Terrain(
        curve_per_m=float(np.clip(rng.normal(0, 0.0006), -0.0015, 0.0015)),
        crown=rng.uniform(-0.01, 0.035),
        bumps_m=abs(rng.normal(0, 0.010)),
        kerb_m=0.0 if road.style == "close_up" else kerb_m,
    )
    surroundings = Surroundings(
        cars=rng.uniform(0.0, 0.5) if rng.random() < 0.6 else 0.0,
        people=rng.uniform(0.0, 0.5) if rng.random() < (0.6 if town else 0.25) else 0.0,
        houses=0.0 if road.wall or bridge else rng.uniform(0, 0.6) * (1.0 if town else 0.4),
        parapet=bridge,
    )
    return dataclasses.replace(
        road,
        terrain=terrain,
        weather=weather,
        surroundings=None if road.style == "close_up" else surroundings,
        grain=road.grain * float(np.exp(rng.uniform(math.log(0.5), math.log(2.0)))),
        verge="pavement" if terrain.kerb_m > 0 else road.verge,
        light=_light_of(road.light, weather),
        solid_rate=road.solid_rate * 0.8,
    )


def vary_look(look: SensorLook, weather: Weather, baseline_m: float, rng: np.random.Generator) -> SensorLook:
    """The same sensor in that weather, with the faults of a real stereo camera."""
    fallen = max(weather.rain, weather.snowfall)
    return dataclasses.replace(
        look,
        exposure=look.exposure * (1 - 0.55 * weather.night),
        noise=look.noise * (1 + 2.2 * weather.night),
        motion_px=look.motion_px + round(5 * weather.night),
        disparity_noise_px=look.disparity_noise_px * rng.uniform(0.8, 2.0),
        hole_share=look.hole_share + 0.06 * fallen + 0.05 * weather.snow_cover,
        baseline_m=baseline_m,
        faults=draw_stereo_faults(rng, specks=(20 * weather.rain + 160 * weather.snowfall) * rng.random()),
    )


def _draw_kerb(rng: np.random.Generator, *, town: bool) -> float:
    if rng.random() > (0.75 if town else 0.3):
        return 0.0
    height_m = rng.uniform(0.06, 0.16)
    return height_m if rng.random() < 0.7 else -height_m


def _draw_weather(rng: np.random.Generator) -> Weather:
    """Six days in ten are dry; a quarter of all is dusk or night."""
    drawn = rng.random()
    night = 0.0 if drawn < 0.75 else rng.uniform(0.3, 0.7) if drawn < 0.85 else rng.uniform(0.8, 1.0)
    kind = rng.choice(["dry", "wet", "rain", "snow"], p=(0.6, 0.12, 0.14, 0.14))
    rain = rng.uniform(0.2, 1.0) if kind == "rain" else 0.0
    return Weather(
        night=night,
        street_lamps=bool(rng.random() < 0.5),
        wet=rng.uniform(0.3, 1.0) if kind in ("wet", "rain") else 0.0,
        rain=rain,
        snow_cover=rng.uniform(0.15, 0.9) if kind == "snow" else 0.0,
        snowfall=rng.uniform(0.1, 1.0) if kind == "snow" and rng.random() < 0.7 else 0.0,
    )


def _light_of(light: Light, weather: Weather) -> Light:
    """Clouds where it rains or snows; a low and red sun at dusk, none at night."""
    clouds = 1.0 if max(weather.rain, weather.snowfall) > 0 else 0.0
    sun = max(0.0, 1 - 1.25 * weather.night) * (1 - clouds)
    sky = _mixed(light.sky, (0.80, 0.82, 0.84), clouds)
    reddened = (
        light.sun[0] * sun,
        light.sun[1] * sun * (1 - 0.25 * weather.night),
        light.sun[2] * sun * (1 - 0.5 * weather.night),
    )
    return dataclasses.replace(
        light,
        sun=reddened,
        sky=sky,
        zenith=_mixed(light.zenith, (0.70, 0.72, 0.75), clouds),
        horizon=_mixed(light.horizon, (0.78, 0.80, 0.82), clouds),
    )


def _mixed(a: Rgb, b: Rgb, share: float) -> Rgb:
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share)
