"""Paints the road plane: asphalt, verges, paint, stains, potholes and cracks. Functions change the canvas they get.

h and w are the size of the canvas below the horizon, or of a region of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg.synthetic import paint, textures
from road_kd_seg.synthetic.camera import View
from road_kd_seg.synthetic.canvas import LANE_MARKING, NEGATIVE_OBSTACLE, ROAD, Canvas, Ground, blend, spread
from road_kd_seg.synthetic.defects import build_patch
from road_kd_seg.synthetic.scene import Defect, Mark, Rgb, Road, Stain

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

_FAINT = 0.04
"""Share of a texture's contrast below which it is not looked up at all."""
_PAINT_FADES_M = (18.0, 30.0)
_DEFECTS_FADE_M = {"pothole": (8.5, 10.5), "crack": (6.0, 7.5)}
"""Nearer than the first, all is drawn; beyond the second, nothing: what nobody can see is not labelled either."""
_PARALLAX_STEPS = 12


def paint_surface(canvas: Canvas, ground: Ground, road: Road) -> None:
    """Asphalt and what lies beside it; sets labels and depth."""
    s_m = ground.s_m + np.float32(road.texture_offset_m[0])
    t_m = ground.t_m + np.float32(road.texture_offset_m[1])
    footprint_m = np.sqrt(ground.pixel_s_m * ground.pixel_t_m)
    broad = _smooth_layer(textures.cloud(0), s_m, t_m, 0.025)
    streaks = _smooth_layer(textures.cloud(1), s_m * np.float32(0.1), t_m, 0.02)
    medium = _layer(textures.speckle(0), s_m, t_m, 0.012) * _resolved(footprint_m, 0.03)
    mottle = np.float32(road.mottle)
    smooth = 1 + mottle * broad + np.float32(0.6) * mottle * streaks + np.float32(0.35) * mottle * medium
    asphalt = _flat(road.asphalt_rgb, smooth)
    _engrave(asphalt, textures.asphalt(road.asphalt_kind), s_m, t_m, road.asphalt_px_m, footprint_m, road.grain)

    ragged_m = 0.0 if road.verge == "pavement" else 0.09
    inward_m = np.float32(road.half_width_m) + np.float32(ragged_m) * (broad + 0.5 * medium) - np.abs(ground.t_m)
    on_road = inward_m > 0
    canvas.rgb[:] = asphalt
    if not on_road.all():
        share = np.clip(inward_m / np.maximum(ground.pixel_t_m, np.float32(0.02)) + np.float32(0.5), 0, 1)
        blend(canvas.rgb, _verge(ground, road, -inward_m, s_m, t_m, broad, footprint_m), 1 - share)
    on_road &= np.isfinite(ground.depth_m)
    canvas.label[on_road] = ROAD
    canvas.depth_m[:] = ground.depth_m


def _flat(rgb: Rgb, gain: F32) -> F32:
    """One colour times (h, w)."""
    return cv2.merge([gain * np.float32(channel) for channel in rgb])


def _layer(tile: F32, s_m: F32, t_m: F32, pixel_m: float) -> F32:
    """Look a tile up at `pixel_m` metres per texel. Positions are first moved by whole tiles towards 0, because remap
    keeps 16 bits of them."""
    return textures.sample(tile, *_texels(s_m, t_m, pixel_m))


def _smooth_layer(tile: F32, s_m: F32, t_m: F32, pixel_m: float) -> F32:
    """The same at half the resolution, for what varies slowly."""
    height, width = s_m.shape
    half = _layer(tile, s_m[::2, ::2], t_m[::2, ::2], pixel_m)
    return cv2.resize(half, (width, height), interpolation=cv2.INTER_LINEAR)


def _engrave(base: F32, tint: U8, s_m: F32, t_m: F32, pixel_m: float, footprint_m: F32, strength: float) -> None:
    """Multiply base, (h, w, 3), by a tint tile where pixels are small enough to show it."""
    gain = np.float32(strength) * _resolved(footprint_m, 2.5 * pixel_m)
    rows = np.flatnonzero((gain > _FAINT).any(axis=1))
    if rows.size == 0:
        return
    near = slice(int(rows[0]), int(rows[-1]) + 1)
    tints = textures.sample_tint(tint, *_texels(s_m[near], t_m[near], pixel_m))
    tints -= 1
    tints *= spread(gain[near])
    tints += 1
    base[near] *= tints


def _texels(s_m: F32, t_m: F32, pixel_m: float) -> tuple[F32, F32]:
    per_m = np.float32(1 / pixel_m)
    rows = s_m * per_m
    return t_m * per_m, rows - np.float32(_whole_tiles(rows))


def _whole_tiles(rows: F32) -> float:
    return math.floor(float(rows[-1].min()) / textures.TILE_PX) * textures.TILE_PX if rows.size else 0.0


def _resolved(footprint_m: F32, detail_m: float) -> F32:
    """1 where pixels are smaller than a detail, falling to 0 where they are larger (so that it does not alias)."""
    share = footprint_m * np.float32(1 / detail_m)
    return 1 / (1 + share * share)


def _verge(ground: Ground, road: Road, outward_m: F32, s_m: F32, t_m: F32, broad: F32, footprint_m: F32) -> F32:
    grass = _flat(road.ground_rgb, 1 + np.float32(0.16) * broad)
    _engrave(grass, textures.grass(), s_m, t_m, 0.004, footprint_m, 1.0)
    if road.verge == "grass":
        return grass
    width_m = np.float32(road.verge_width_m)
    if road.verge == "gravel":
        strip = _flat((0.36, 0.33, 0.29), 1 + np.float32(0.10) * broad)
        _engrave(strip, textures.gravel(), s_m, t_m, 0.004, footprint_m, 1.0)
        edge_m = width_m * (1 + np.float32(0.3) * broad)
    else:
        strip = _flat((1.0, 0.98, 0.94), _paving(ground, outward_m, s_m, broad))
        _engrave(strip, textures.asphalt(0), s_m, t_m, 0.004, footprint_m, 0.5)
        edge_m = np.full_like(broad, width_m)
    inside = (edge_m - outward_m) / np.maximum(ground.pixel_t_m, np.float32(0.05)) + np.float32(0.5)
    blend(grass, strip, np.clip(inside, 0, 1))
    return grass


def _paving(ground: Ground, outward_m: F32, s_m: F32, broad: F32) -> F32:
    """Brightness of flush kerb stones, then slabs with joints."""
    is_kerb = outward_m < np.float32(0.16)
    joint_s = _joint(s_m, np.where(is_kerb, np.float32(1.0), np.float32(0.4)), ground.pixel_s_m)
    joint_t = np.where(is_kerb, np.float32(1), _joint(outward_m - np.float32(0.16), np.float32(0.4), ground.pixel_t_m))
    tone = np.where(is_kerb, np.float32(0.46), np.float32(0.34))
    return tone * joint_s * joint_t * (1 + np.float32(0.08) * broad)


def _joint(position_m: F32, period_m: F32 | np.float32, pixel_m: F32) -> F32:
    cycles = position_m / period_m
    offset_m = np.abs(cycles - np.rint(cycles)) * period_m
    width_m = np.maximum(pixel_m, np.float32(0.012))
    return 1 - np.clip(1 - offset_m / width_m, 0, 1) * np.float32(0.45 * 0.012) / width_m


def paint_lines(canvas: Canvas, ground: Ground, road: Road, marks: Iterable[Mark]) -> None:
    """Lane lines and marks, worn; sets labels where paint is seen."""
    rows = np.flatnonzero((ground.depth_m < _PAINT_FADES_M[1]).any(axis=1))
    if rows.size == 0:
        return
    first = int(rows[0])
    s_m, t_m = ground.s_m[first:], ground.t_m[first:]
    coverage = np.zeros_like(s_m)
    yellow = np.zeros_like(s_m)
    for line in road.lines:
        one = paint.line_coverage(line, s_m, t_m, ground.pixel_s_m[first:], ground.pixel_t_m[first:])
        target = yellow if line.yellow else coverage
        np.maximum(target, one, out=target)
    for mark in marks:
        _stamp(coverage, ground, first, mark)
    is_yellow = yellow > coverage
    np.maximum(coverage, yellow, out=coverage)
    if not coverage.any():
        return
    coverage *= _fade(ground.depth_m[first:], *_PAINT_FADES_M)
    texture_s_m, texture_t_m = s_m + np.float32(road.texture_offset_m[0]), t_m + np.float32(road.texture_offset_m[1])
    wear = _layer(textures.cloud(2), texture_s_m, texture_t_m, 0.008)
    coverage *= np.clip((np.float32(2.6 - 2.9 * road.paint_wear) - wear) * np.float32(4) + np.float32(0.5), 0, 1)
    label = canvas.label[first:]
    label[(coverage > 0.5) & (label == ROAD)] = LANE_MARKING
    coverage *= _opacity(road, texture_s_m, texture_t_m, ground.pixel_t_m[first:])
    rgb = np.full((*coverage.shape, 3), np.float32(0.7))
    if is_yellow.any():
        rgb[is_yellow] = (0.68, 0.44, 0.07)
    blend(canvas.rgb[first:], rgb, coverage)


def _opacity(road: Road, s_m: F32, t_m: F32, footprint_m: F32) -> F32:
    """How well paint hides the road: aggregate that shows through makes it rough and thin; it is still paint."""
    opacity = np.full_like(s_m, np.float32(0.95 - 0.35 * road.paint_wear))
    near = _resolved(footprint_m, 0.01)
    rows = np.flatnonzero((near > _FAINT).any(axis=1))
    if rows.size:
        first = int(rows[0])
        chips = _layer(textures.speckle(1), s_m[first:], t_m[first:], 0.004)
        opacity[first:] -= np.float32(0.16) * np.abs(chips) * near[first:]
    return np.maximum(opacity, np.float32(0.4))


def _stamp(coverage: F32, ground: Ground, first: int, mark: Mark) -> None:
    region = ground.region(mark.s_m, mark.t_m, mark.length_m / 2, mark.width_m / 2)
    if region is None or region[0].stop <= first:
        return
    rows, columns = slice(max(region[0].start, first), region[0].stop), region[1]
    image = paint.stencil(mark)
    u = (ground.t_m[rows, columns] - np.float32(mark.t_m - mark.width_m / 2)) / np.float32(paint.STENCIL_PX_M) - 0.5
    v = (np.float32(mark.s_m + mark.length_m / 2) - ground.s_m[rows, columns]) / np.float32(paint.STENCIL_PX_M) - 0.5
    one = textures.sample_mask(image, u, v)
    target = coverage[rows.start - first : rows.stop - first, columns]
    np.maximum(target, one, out=target)


def _fade(depth_m: F32, near_m: float, far_m: float) -> F32:
    return np.clip((np.float32(far_m) - depth_m) / np.float32(far_m - near_m), 0, 1)


def paint_stain(canvas: Canvas, ground: Ground, stain: Stain) -> None:
    """Something flat and dark. No stain changes labels or depth; wet ones make depth fail."""
    reach_m = math.hypot(stain.length_m, stain.width_m) / 2
    region = ground.region(stain.s_m, stain.t_m, reach_m, reach_m)
    if region is None:
        return
    ds, dt = ground.s_m[region] - np.float32(stain.s_m), ground.t_m[region] - np.float32(stain.t_m)
    cos_y, sin_y = np.float32(math.cos(stain.yaw_rad)), np.float32(math.sin(stain.yaw_rad))
    u = (cos_y * ds + sin_y * dt) / np.float32(stain.length_m / 2)
    v = (cos_y * dt - sin_y * ds) / np.float32(stain.width_m / 2)
    strength = np.float32(stain.strength)
    if stain.kind == "manhole":
        radius = np.sqrt(u * u + v * v)
        studs = np.float32(0.12) * np.sign(np.sin(u * 30) * np.sin(v * 30))
        metal = np.float32(0.75) + studs - np.float32(0.4) * (np.abs(radius - 0.93) < 0.05)
        canvas.rgb[region] *= np.where(radius < 1, metal, 1)[..., None]
        return
    if stain.kind == "patch":
        edge = np.maximum(np.abs(u), np.abs(v))
        amount = np.clip((1 - edge) / 0.04, 0, 1) * strength
        canvas.rgb[region] *= (1 - np.float32(0.4) * amount)[..., None]
        return
    tile = textures.foliage_shadow(stain.shape) if stain.kind == "foliage" else textures.blob(stain.shape)
    amount = textures.sample_mask(tile, (u + 1) * 128, (v + 1) * 128) * strength
    if stain.kind in ("shadow", "foliage"):
        canvas.sun[region] *= 1 - amount
    elif stain.kind == "oil":
        canvas.rgb[region] *= (1 - np.float32(0.55) * amount)[..., None]
    else:
        canvas.rgb[region] *= (1 - np.float32(0.6) * amount)[..., None]
        np.maximum(canvas.gloss[region], amount, out=canvas.gloss[region])
        np.maximum(canvas.hole_chance[region], amount, out=canvas.hole_chance[region])


def paint_defect(canvas: Canvas, ground: Ground, view: View, road: Road, defect: Defect) -> None:
    """A pothole or crack, with the parallax of its depth: the near rim hides, the far wall shows."""
    region = ground.region(defect.s_m, defect.t_m, defect.reach_m, defect.reach_m)
    if region is None:
        return
    fade = _fade(ground.depth_m[region], *_DEFECTS_FADE_M[defect.kind])
    if not fade.any():
        return
    patch = build_patch(defect, road.light, road.asphalt_rgb)
    per_m = np.float32(1 / defect.resolution_m)
    centre = np.float32(patch.depth_m.shape[0] / 2 - 0.5)
    u = (ground.t_m[region] - np.float32(defect.t_m)) * per_m + centre
    v = (ground.s_m[region] - np.float32(defect.s_m)) * per_m + centre
    open_here = textures.sample_mask(patch.opening, u, v) > 0.5
    # Per metre below the road, a ray goes this far on, in texels.
    height_m = np.float32(view.pose.height_m)
    run_u = (ground.x_m[region] - np.float32(view.pose.x_m)) / height_m * per_m
    run_v = (ground.s_m[region] - np.float32(view.pose.y_m)) / height_m * per_m
    below_m = _march(patch.depth_m, u, v, run_u, run_v)
    below_m *= open_here
    hit_u, hit_v = u + below_m * run_u, v + below_m * run_v
    cover = textures.sample_mask(patch.cover, u, v) * fade
    cover = np.where(open_here, fade, np.minimum(cover, np.float32(0.75)))
    blend(canvas.rgb[region], textures.sample(patch.rgb, hit_u, hit_v, wrap=False), cover)
    canvas.depth_m[region] *= 1 + below_m * fade / height_m
    canvas.label[region][open_here & (fade > 0.5) & (canvas.label[region] != 0)] = NEGATIVE_OBSTACLE


def _march(depth_m: F32, u: F32, v: F32, run_u: F32, run_v: F32) -> F32:
    """How far below the road each ray meets the hollow's surface; (h, w), metres."""
    deepest_m = float(depth_m.max())
    below_m = np.full(u.shape, np.float32(deepest_m))
    found = np.zeros(u.shape, bool)
    previous_gap_m = textures.sample(depth_m, u, v, wrap=False)
    step_m = np.float32(deepest_m / _PARALLAX_STEPS)
    for i in range(1, _PARALLAX_STEPS + 1):
        level_m = step_m * i
        gap_m = textures.sample(depth_m, u + level_m * run_u, v + level_m * run_v, wrap=False) - level_m
        crosses = (gap_m <= 0) & ~found
        share = previous_gap_m / np.maximum(previous_gap_m - gap_m, np.float32(1e-6))
        below_m = np.where(crosses, level_m - step_m * (1 - np.clip(share, 0, 1)), below_m)
        found |= crosses
        previous_gap_m = gap_m
    return below_m


def light_ground(canvas: Canvas, ground: Ground, view: View, road: Road) -> None:
    """Turn albedo into light: sun where it reaches, sky everywhere, and the sky's mirror image on wet road."""
    light = road.light
    sky = np.array(light.sky, np.float32)
    sun = np.array(light.sun, np.float32) * np.float32(light.to_sun[2])
    canvas.rgb *= cv2.merge([canvas.sun * b + a for a, b in zip(sky, sun, strict=True)])
    if canvas.gloss.any():
        glossy = canvas.gloss > 0
        sine = np.float32(view.pose.height_m) / (ground.depth_m[glossy] + np.float32(view.pose.height_m))
        mirrored = canvas.gloss[glossy] * (0.03 + 0.55 * (1 - sine) ** 4)
        reflected = np.array(_between(light.horizon, light.zenith), np.float32)
        canvas.rgb[glossy] += (reflected - canvas.rgb[glossy]) * mirrored[..., None]


def _between(a: Rgb, b: Rgb) -> Rgb:
    return (a[0] + b[0]) / 2, (a[1] + b[1]) / 2, (a[2] + b[2]) / 2
