# SPDX-License-Identifier: Apache-2.0
"""One view of a road: true light, label and depth, then the sensor's version of them."""

from __future__ import annotations

import math

import numpy as np

from road_kd_seg.frame import LabeledFrame, RgbdFrame
from road_kd_seg.synthetic import background, blemishes, markings, solids, surface, weather
from road_kd_seg.synthetic.arrays import F32, f32
from road_kd_seg.synthetic.camera import View
from road_kd_seg.synthetic.canvas import Canvas, Ground, see_ground
from road_kd_seg.synthetic.layout import build_segment
from road_kd_seg.synthetic.scene import SEGMENT_M, Road, Segment, Solid
from road_kd_seg.synthetic.sensor import SensorLook, expose, measure_depth
from road_kd_seg.synthetic.terrain import elevation_m

_SIGHT_M = 45.0
_STAINS_SIGHT_M = 25.0
_DEFECTS_SIGHT_M = 13.0
_NEAREST_SOLID_M = 1.0
_LONGEST_SHADOW_M = 3.0


def render(
    road: Road, view: View, look: SensorLook, rng: np.random.Generator, stamp_ns: int, frame_id: str
) -> LabeledFrame:
    """What the camera reports from one pose, with the ground truth."""
    canvas = paint_scene(road, view)
    if road.weather is not None:
        weather.precipitate(canvas.rgb, road.weather, rng)
    depth_m = measure_depth(canvas.depth_m, canvas.hole_chance, view.camera, look, rng)
    rgb = expose(canvas.rgb, look, rng)
    return LabeledFrame(RgbdFrame(rgb, depth_m, view.camera, stamp_ns, frame_id), canvas.label)


def paint_scene(road: Road, view: View) -> Canvas:
    """True light, label and depth of one view."""
    canvas = Canvas.blank(view.camera.height, view.camera.width)
    plane = see_ground(road, view)
    segments = _segments_in_sight(road, view.pose.y_m)
    if plane.top < view.camera.height:
        _paint_ground(canvas.below(plane.top), plane, view, road, segments)
    background.paint_sky(canvas, view, road)
    if road.wall:
        background.paint_walls(canvas, view, road)
    for board in sorted((b for s in segments for b in s.billboards), key=lambda b: -b.s_m):
        background.paint_billboard(canvas, view, road, board)
    for solid in _solids_in_sight(segments, road, view):
        _paint_solid(canvas, view, road, solid)
    background.add_haze(canvas, road.light)
    if road.weather is not None:
        weather.darken(canvas, view, road, road.weather)
    return canvas


def _segments_in_sight(road: Road, y_m: float) -> list[Segment]:
    first, last = math.floor((y_m - 3.0) / SEGMENT_M), math.floor((y_m + _SIGHT_M) / SEGMENT_M)
    return [build_segment(road, i) for i in range(first, last + 1)]


def _paint_ground(canvas: Canvas, plane: Ground, view: View, road: Road, segments: list[Segment]) -> None:
    surface.paint_surface(canvas, plane, road)
    stains = [s for g in segments for s in g.stains if s.s_m < view.pose.y_m + _STAINS_SIGHT_M]
    for stain in stains:
        if stain.kind in ("oil", "patch", "manhole"):
            blemishes.paint_stain(canvas, plane, stain)
    markings.paint_lines(canvas, plane, road, [m for g in segments for m in g.marks])
    if road.weather is not None:
        weather.cover_with_snow(canvas, plane, road, road.weather)
        weather.wet_the_ground(canvas, plane, road, road.weather)
    for stain in stains:
        if stain.kind not in ("oil", "patch", "manhole"):
            blemishes.paint_stain(canvas, plane, stain)
    for defect in (d for g in segments for d in g.defects if d.s_m < view.pose.y_m + _DEFECTS_SIGHT_M):
        blemishes.paint_defect(canvas, plane, view, road, defect)
    for solid in _solids_in_sight(segments, road, view):
        _cast_shadow(canvas, plane, road, solid)
    surface.light_ground(canvas, plane, view, road)


def _solids_in_sight(segments: list[Segment], road: Road, view: View) -> list[Solid]:
    def in_sight(solid: Solid) -> bool:
        ahead_m = solid.s_m - view.pose.y_m
        aside_m = _foot(solid, road)[0] - view.pose.x_m
        reach_m = math.hypot(solid.size_m[0], solid.size_m[1]) / 2
        return ahead_m < solid.sight_m and math.hypot(ahead_m, aside_m) > _NEAREST_SOLID_M + reach_m

    return [s for g in segments for s in g.solids if in_sight(s)]


def _foot(solid: Solid, road: Road) -> tuple[float, float]:
    return float(road.middle_x(solid.s_m)) + solid.t_m, solid.s_m


def _cast_shadow(canvas: Canvas, plane: Ground, road: Road, solid: Solid) -> None:
    sun_x, sun_y, sun_z = road.light.to_sun
    reach_m = math.hypot(solid.size_m[0], solid.size_m[1]) / 2
    length_m = min(_LONGEST_SHADOW_M, solid.size_m[2] * math.hypot(sun_x, sun_y) / sun_z)
    reach_m += length_m + 0.15
    region = plane.region(solid.s_m, solid.t_m, reach_m, reach_m)
    if region is None:
        return
    foot = _foot(solid, road)
    x_m, y_m = plane.x_m[region], plane.s_m[region]
    nowhere = np.zeros((1, 1), np.float32)
    direction = (nowhere + np.float32(sun_x), nowhere + np.float32(sun_y), nowhere + np.float32(sun_z))
    struck = solids.hit(solid, foot, (x_m, y_m, nowhere), direction)
    canvas.sun[region] *= ~np.isfinite(struck.scale)
    # The sky, too, is hidden next to a solid's foot.
    gap_m = np.hypot(x_m - np.float32(foot[0]), y_m - np.float32(foot[1])) - np.float32(
        (solid.size_m[0] + solid.size_m[1]) / 4
    )
    canvas.rgb[region] *= (1 - np.float32(0.45) * np.exp(-np.maximum(gap_m, 0) / np.float32(0.10)))[..., None]


def _paint_solid(canvas: Canvas, view: View, road: Road, solid: Solid) -> None:
    foot = _foot(solid, road)
    reach_m = math.hypot(solid.size_m[0], solid.size_m[1]) / 2
    ground_m = elevation_m(road, view, solid.s_m, solid.t_m)
    corners = [
        (foot[0] + i * reach_m, foot[1] + j * reach_m, ground_m + solid.base_m + k * solid.size_m[2])
        for i in (-1, 1)
        for j in (-1, 1)
        for k in (0, 1)
    ]
    columns, rows, depth_m = view.project(np.array(corners)).T
    if depth_m.min() < 0.2:
        return
    left, right = max(0, math.floor(columns.min())), min(view.camera.width, math.ceil(columns.max()) + 1)
    top, bottom = max(0, math.floor(rows.min())), min(view.camera.height, math.ceil(rows.max()) + 1)
    if left >= right or top >= bottom:
        return
    x, y, z = view.directions(top, left, bottom - top, right - left)
    above_ground = view.pose.position - (0, 0, ground_m)
    origin = tuple(np.full((1, 1), v, np.float32) for v in above_ground)
    struck = solids.hit(solid, foot, (origin[0], origin[1], origin[2]), (x, y, z))
    region = (slice(top, bottom), slice(left, right))
    seen = struck.scale < canvas.depth_m[region]
    if not seen.any():
        return
    rgb = solids.albedo(solid, struck.local) * _light_on(road, struck.normal)
    canvas.rgb[region][seen] = rgb[seen]
    canvas.depth_m[region][seen] = struck.scale[seen]
    canvas.label[region][seen] = solid.label
    canvas.hole_chance[region][seen] = 0


def _light_on(road: Road, normal: solids.Xyz) -> F32:
    """(h, w, 3) irradiance of surfaces with these normals, with some light back from the road."""
    light = road.light
    facing = np.maximum(sum(n * np.float32(s) for n, s in zip(normal, light.to_sun, strict=True)), 0)
    upward = normal[2][..., None]
    sky, sun = np.array(light.sky, np.float32), np.array(light.sun, np.float32)
    bounce = 0.3 * (sky + sun * np.float32(light.to_sun[2])) * np.array(road.asphalt_rgb, np.float32)
    return f32(sky * (np.float32(0.6) + np.float32(0.4) * upward) + sun * facing[..., None] + bounce * (1 - upward))
