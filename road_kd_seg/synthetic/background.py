# SPDX-License-Identifier: Apache-2.0
"""What is not road: sky, horizon, walls along the street and pictures of trees and posts. All of it is background."""

from __future__ import annotations

import math
from functools import cache, lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg.synthetic import textures
from road_kd_seg.synthetic.arrays import F32, U8, f32, to_u8
from road_kd_seg.synthetic.camera import View
from road_kd_seg.synthetic.canvas import Canvas, blend
from road_kd_seg.synthetic.scene import Billboard, Light, Road
from road_kd_seg.synthetic.terrain import elevation_m
from road_kd_seg.taxonomy import BACKGROUND

_PANORAMA_PX = (128, 2048)
"""Rows from +13 to -3 degrees, columns from 80 degrees left to 80 right of straight on."""
_TOP_RAD, _BOTTOM_RAD = math.radians(13), math.radians(-3)
_SIDE_RAD = math.radians(80)
_COARSE = 4
_HAZE_M = 220.0
_HAZE_FROM_M = 8.0
_WALLS_SIGHT_M = 90.0
_TALLEST_M = 11.0
_HOUSE_M = 14.0
_FRONT_PX = 1024


def paint_sky(canvas: Canvas, view: View, road: Road) -> None:
    """Sky with clouds, and the horizon's hills, trees and houses, wherever there is nothing yet."""
    unseen = ~np.isfinite(canvas.depth_m)
    rows = np.flatnonzero(unseen.any(axis=1))
    if rows.size == 0:
        return
    bottom, width = int(rows[-1]) + 1, view.camera.width
    # Everything up here is smooth: angles and sky are worked out for every fourth pixel.
    angles = view.directions(0, 0, bottom, width, step_px=_COARSE)
    elevation = np.arctan2(angles[2], np.hypot(angles[0], angles[1]))
    azimuth = np.arctan2(angles[0], angles[1])
    sky = _enlarge(_sky(road, elevation, azimuth), bottom, width)
    pano_rows = _enlarge(
        (np.float32(_TOP_RAD) - elevation) * np.float32(_PANORAMA_PX[0] / (_TOP_RAD - _BOTTOM_RAD)), bottom, width
    )
    pano_columns = _enlarge(
        (azimuth + np.float32(_SIDE_RAD)) * np.float32(_PANORAMA_PX[1] / (2 * _SIDE_RAD)), bottom, width
    )
    first = int(np.argmax((pano_rows > 0).any(axis=1)))
    picture = textures.sample(
        _panorama(road), pano_columns[first:], np.clip(pano_rows[first:], 0, np.float32(_PANORAMA_PX[0] - 1))
    )
    red, green, blue, cover = cv2.split(picture)
    blend(sky[first:], f32(cv2.merge((red, green, blue))), f32(cover * (pano_rows[first:] > 0)))
    np.copyto(canvas.rgb[:bottom], sky, where=unseen[:bottom, :, None])


def _enlarge(coarse: F32, height: int, width: int) -> F32:
    """Interpolate what was computed at every fourth pixel, from pixel 0 on, up to (height, width)."""
    shift = np.array([[_COARSE, 0, 0], [0, _COARSE, 0]], np.float32)
    return f32(cv2.warpAffine(coarse, shift, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _sky(road: Road, elevation: F32, azimuth: F32) -> F32:
    """(h, w, 3) light of the sky."""
    light = road.light
    height = np.clip(elevation * 2, 0, 1)[..., None] ** np.float32(0.6)
    sky = np.array(light.horizon, np.float32) * (1 - height) + np.array(light.zenith, np.float32) * height
    # Clouds lie on a plane overhead: their texture runs together towards the horizon.
    overhead = 1 / np.maximum(elevation, np.float32(0.03))
    clouds = textures.sample_tile(
        textures.cloud(road.seed % 3), azimuth * overhead * 60 + 700, overhead * 90 + np.float32(road.seed % 977)
    )
    whiteness = np.clip((clouds - 0.1) * 0.9, 0, 1)[..., None] * np.float32(0.75) * np.clip(height * 4, 0, 1)
    sky += (np.float32(1.05 * max(light.horizon)) - sky) * whiteness
    return f32(sky)


@lru_cache(maxsize=4)
def _panorama(road: Road) -> F32:
    """(rows, columns, 4): lit color and cover of the horizon."""
    rng = np.random.default_rng([road.seed, 4])
    rows, columns = _PANORAMA_PX
    elevation = np.linspace(_TOP_RAD, _BOTTOM_RAD, rows, dtype=np.float32)[:, None]
    image = np.zeros((rows, columns, 3), np.float32)
    total = np.zeros((rows, columns), np.float32)
    lit = np.array(road.light.sky, np.float32) + 0.4 * np.array(road.light.sun, np.float32)
    haze = np.array(road.light.horizon, np.float32)
    leaves = 1 + 0.3 * cv2.resize(textures.speckle(1)[:rows], (columns, rows))
    for rise_deg, rough, rgb, hazy in _RIDGES:
        skyline = math.radians(rise_deg) * rng.uniform(0.5, 1.3) * (1 + rough * _profile(rng, columns))
        cover = np.clip((skyline - elevation) * np.float32(500) + np.float32(0.5), 0, 1)
        color = np.array(rgb, np.float32) * lit * (1 - hazy)
        ridge = cv2.merge([leaves * np.float32(c) + np.float32(h * hazy) for c, h in zip(color, haze, strict=True)])
        blend(image, f32(ridge), cover)
        np.maximum(total, cover, out=total)
    picture = f32(cv2.merge((*cv2.split(image), total)))
    if road.style == "urban":
        _draw_houses(picture, rng, lit, haze)
    return picture


_RIDGES = (
    (3.5, 0.15, (0.08, 0.11, 0.07), 0.65),
    (2.2, 0.5, (0.07, 0.10, 0.04), 0.35),
    (1.6, 0.9, (0.05, 0.08, 0.03), 0.15),
)
"""Far to near: height in degrees, roughness of the skyline, albedo, share of haze."""


def _profile(rng: np.random.Generator, count: int) -> F32:
    """(count,) wavy line of about unit deviation: hills with trees on them."""
    row, start = rng.integers(textures.TILE_PX, size=2)
    line = np.roll(textures.cloud(1)[row], start)[: textures.TILE_PX // 2]
    return f32(cv2.resize(line[None], (count, 1))[0])


def _draw_houses(image: F32, rng: np.random.Generator, lit: F32, haze: F32) -> None:
    rows, columns = image.shape[:2]
    horizon_row = round(rows * _TOP_RAD / (_TOP_RAD - _BOTTOM_RAD))
    left = 0
    while left < columns:
        width, height = int(rng.integers(40, 160)), int(rng.integers(12, 70))
        if rng.random() < 0.6:
            rgb = rng.uniform(0.15, 0.45) * (1 + rng.normal(0, 0.08) * np.array([1, 0.2, -1])) * lit
            house = image[max(0, horizon_row - height) : horizon_row + 4, left : left + width]
            house[..., :3] = 0.7 * rgb + 0.3 * haze
            house[5::9, :, :3] *= 0.8
            house[3:, 3::11, :3] *= 0.75
            house[..., 3] = 1
        left += width


def paint_walls(canvas: Canvas, view: View, road: Road) -> None:
    """House fronts on both sides of a straight street."""
    x, y, z = view.directions(0, 0, view.camera.height, view.camera.width)
    for side in (-1.0, 1.0):
        wall_m = road.half_width_m + road.verge_width_m + 0.6 - side * view.pose.x_m
        toward = x * np.float32(side)
        depth_m = np.float32(wall_m) / np.maximum(toward, np.float32(1e-3))
        up_m = np.float32(view.pose.height_m) + depth_m * z
        seen = (depth_m < _WALLS_SIGHT_M) & (up_m >= 0) & (up_m < _TALLEST_M) & (depth_m < canvas.depth_m)
        box = _bounds(seen)
        if box is not None:
            along_m = np.float32(view.pose.y_m) + depth_m[box] * y[box]
            _paint_front(canvas, box, seen[box], along_m, up_m[box], depth_m[box], road, side)


def _bounds(mask: NDArray[np.bool_]) -> tuple[slice, slice] | None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _paint_front(
    canvas: Canvas,
    box: tuple[slice, slice],
    seen: NDArray[np.bool_],
    along_m: F32,
    up_m: F32,
    depth_m: F32,
    road: Road,
    side: float,
) -> None:
    house = np.floor(along_m * np.float32(1 / _HOUSE_M)).astype(np.int32) + (500 if side > 0 else 0) + road.seed % 997
    house &= 255
    rgb, height_m = _house_looks()
    seen &= up_m < height_m[house]
    px_per_m = np.float32(_FRONT_PX / _HOUSE_M)
    front = textures.sample_tint(_front(), along_m * px_per_m, (np.float32(12) - up_m) * px_per_m)
    facing = max(0.0, -side * road.light.to_sun[0])
    lit = np.array(road.light.sky, np.float32) * 0.75 + np.array(road.light.sun, np.float32) * np.float32(facing)
    front *= (rgb * lit)[house]
    np.copyto(canvas.rgb[box], front, where=seen[..., None])
    np.copyto(canvas.depth_m[box], depth_m, where=seen)
    canvas.label[box][seen] = BACKGROUND


@cache
def _house_looks() -> tuple[F32, F32]:
    """(256, 3) colors and (256,) heights in meters."""
    rng = np.random.default_rng(21)
    brightness = rng.uniform(0.2, 0.55, (256, 1))
    rgb = brightness * (1 + rng.normal(0, 0.1, (256, 1)) * np.array([[1.0, 0.1, -1.2]]))
    heights_m = rng.choice([1.2, 2.4, 6.0, 9.0, _TALLEST_M], 256)
    return rgb.astype(np.float32), heights_m.astype(np.float32)


@cache
def _front() -> U8:
    """(1024, 1024, 3) tint of 14 m x 14 m of house front, bottom row = 2 m below the street."""
    rng = np.random.default_rng(22)
    image = np.ones((1024, 1024), np.float32) + 0.05 * textures.cloud(0) + 0.05 * textures.speckle(0)
    px = 1024 / 14
    courses = np.arange(1024)
    image[(courses % 12) == 0] *= 0.88
    for floor_m in (1.0, 4.2, 7.4):
        for left_m in np.arange(1.0, 13.0, 2.6):
            top, bottom = round((12 - floor_m - 1.7) * px), round((12 - floor_m) * px)
            left, right = round(left_m * px), round((left_m + 1.2) * px)
            image[top - 6 : bottom + 6, left - 6 : right + 6] = 1.25
            image[top:bottom, left:right] = 0.22 + 0.25 * rng.random()
            image[top:bottom, (left + right) // 2 - 2 : (left + right) // 2 + 2] = 1.2
    image[round(11.2 * px) : round(12 * px)] *= 0.65
    return to_u8(np.repeat(image[..., None], 3, 2) * 128)


def paint_billboard(canvas: Canvas, view: View, road: Road, board: Billboard) -> None:
    """An upright picture; hides what is behind it."""
    ground_m = elevation_m(road, view, board.s_m, board.t_m)
    foot = np.array([[float(road.middle_x(board.s_m)) + board.t_m, board.s_m, ground_m]])
    column, row, depth_m = view.project(foot)[0]
    if depth_m < 1.5 or depth_m > 70:
        return
    px_per_m = view.camera.fx / depth_m
    width_px, height_px = board.width_m * px_per_m, board.height_m * px_per_m
    left, right = max(0, math.floor(column - width_px / 2)), min(view.camera.width, math.ceil(column + width_px / 2))
    top, bottom = max(0, math.floor(row - height_px)), min(view.camera.height, math.ceil(row))
    if left >= right or top >= bottom:
        return
    sprite = _sprite(board.kind, board.shape)
    u = (np.arange(left, right) - (column - width_px / 2)) * (sprite.shape[1] / width_px)
    v = (np.arange(top, bottom) - (row - height_px)) * (sprite.shape[0] / height_px)
    picture = textures.sample(sprite, *(a.astype(np.float32) for a in np.meshgrid(u, v)))
    region = (slice(top, bottom), slice(left, right))
    seen = (picture[..., 3] > 0.5) & (canvas.depth_m[region] > depth_m)
    light = road.light
    lit = np.array(light.sky, np.float32) + np.float32(0.55) * np.array(light.sun, np.float32)
    canvas.rgb[region][seen] = (picture[..., :3] * lit)[seen]
    canvas.depth_m[region][seen] = depth_m
    canvas.label[region][seen] = BACKGROUND


@cache
def _sprite(kind: str, shape: int) -> F32:
    """(n, m, 4) albedo and cover of an upright picture, bottom row at its foot."""
    rng = np.random.default_rng([23, shape, len(kind)])
    if kind == "post":
        image = np.zeros((160, 22, 4), np.float32)
        image[:, 2:20] = (0.7, 0.7, 0.68, 1)
        image[22:52, 2:20, :3] = 0.03
        return image
    if kind == "lamp":
        image = np.zeros((600, 120, 4), np.float32)
        image[12:, 8:16] = (0.25, 0.26, 0.27, 1)
        image[8:16, 8:90] = (0.25, 0.26, 0.27, 1)
        image[10:24, 74:116] = (0.4, 0.4, 0.4, 1)
        return image
    image = np.zeros((256, 256, 4), np.float32)
    y, x = np.mgrid[-1:1:256j, -1:1:256j].astype(np.float32)
    noise = textures.fractal_noise(rng, 256, (4, 8, 16, 32, 64), (1, 0.8, 0.7, 0.6, 0.5))
    middle, stretch = (-0.28, 1.35) if kind == "tree" else (0.15, 1.0)
    crown = 0.78 - np.hypot(x, (y - middle) * stretch) + 0.13 * noise
    if kind == "tree":
        stem = np.abs(x) < 0.035 + 0.02 * y
        image[stem & (y > 0)] = (0.11, 0.085, 0.06, 1)
    else:
        crown = np.minimum(crown, 1.0) + 0.6 * (y > 0.7) * (np.abs(x) < 0.75)
    leaf = (
        np.array([0.07, 0.115, 0.035], np.float32)
        * rng.uniform(0.8, 1.5)
        * (1 + rng.normal(0, 0.15) * np.array([1, 0, -0.5]))
    )
    shade = np.clip(0.85 - 0.45 * (y - middle) + 0.28 * noise, 0.25, 1.6)
    foliage = crown > 0
    image[foliage, :3] = leaf * shade[foliage][:, None]
    image[foliage, 3] = 1
    return image


def add_haze(canvas: Canvas, light: Light) -> None:
    """Far things take the horizon's color."""
    rows = np.flatnonzero((canvas.depth_m > _HAZE_FROM_M).any(axis=1))
    if rows.size == 0:
        return
    bottom = int(rows[-1]) + 1
    depth_m = canvas.depth_m[:bottom]
    # The sky and its horizon are painted with their haze already.
    amount = np.where(np.isfinite(depth_m), 1 - np.exp(depth_m * np.float32(-1 / _HAZE_M)), 0)
    haze = np.empty((1, 1, 3), np.float32)
    haze[:] = light.horizon
    blend(canvas.rgb[:bottom], haze, amount)
