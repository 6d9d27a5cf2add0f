# SPDX-License-Identifier: Apache-2.0
"""The bag doctor: is this recording what the model was trained on? Needs no label. H W size.

A few frames of the bag are measured; each finding has the range of the synthetic drives that the shipped students are
trained on, and says *as trained* or *outside*.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from road_kd_seg.frame import Intrinsics, RgbdFrame
from road_kd_seg.preprocess.road_plane import fit_road_plane

MAX_FRAMES = 40
"""Measured, evenly over the bag."""
WIDTH_PX = 512
"""Width that frames are measured at, so that no measurement depends on the camera's resolution."""
REACH_PX = 40
"""Largest shift of depth that is looked for."""
JUMP = 0.3
"""Of the logarithm of depth: the outline of what stands before something else, more than noise or the road's slope."""
MIN_FIT = 0.4
"""Least excess of color's gradient along depth's edges that says anything; chance reaches 0.3."""

Gray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Measure:
    """One measurement of the recording, and where it lies on the drives that the models are trained on."""

    key: str
    title: str
    unit: str
    trained: tuple[float, float]
    """2nd to 98th percentile over synthetic training scenes, a little rounded."""
    hint: str
    """What to do, or to expect, outside of it."""


MEASURES = (
    Measure("brightness", "brightness", "of 255", (75, 180), "expose differently, or expect lower accuracy"),
    Measure("sharpness", "sharpness", "", (100, 2500), "blurred if low, noisy if high: check focus and exposure"),
    Measure("depth_valid", "pixels with depth", "%", (50, 100), "glare, a wet road, a short range: obstacles get lost"),
    Measure("depth_median_m", "median distance", "m", (0.9, 5), "depth in another unit (mm for m), or another view"),
    Measure("plane_found", "frames with a road plane", "%", (95, 100), "no road in view, or depth that is too poor"),
    Measure("height_m", "camera height", "m", (0.65, 1.65), "mount it as the models know it, or train on yours"),
    Measure("pitch_deg", "camera pitch, down", "degrees", (9, 56), "tilt it as the models know it, or train on yours"),
    Measure("roll_deg", "camera roll", "degrees", (-4, 4), "level the camera"),
    Measure("shift_px", "depth beside color", "px of 512", (0, 6), "align depth to color in the driver"),
    Measure("mirrored", "depth fits color mirrored", "times", (0, 1), "one of both is flipped: undo it"),
)


def examine(frames: Iterable[RgbdFrame]) -> list[dict[str, Any]]:
    """Findings over a few frames of a bag.

    Returns:
        For each of MEASURES its key, title, unit, trained range, hint, the median `value` over the frames (None where
        it cannot be told, such as height without depth or intrinsics), and `finding`: as trained, outside or unknown.
    """
    seen = [_measure(frame) for frame in frames]
    values: dict[str, float] = {}
    for key in ("brightness", "sharpness", "depth_valid", "depth_median_m", "height_m", "pitch_deg", "roll_deg"):
        known = [m[key] for m in seen if key in m]
        if known:
            values[key] = float(np.median(known))
    planes = [m["plane_found"] for m in seen if "plane_found" in m]
    if planes:
        values["plane_found"] = 100 * float(np.mean(planes))
    edges = [m["edges"] for m in seen if "edges" in m]
    if edges:
        shift_px, mirrored = alignment(edges)
        values |= {key: v for key, v in (("shift_px", shift_px), ("mirrored", mirrored)) if v is not None}
    return [_finding(measure, values.get(measure.key)) for measure in MEASURES]


def alignment(edges: Sequence[tuple[Gray, Gray]]) -> tuple[float | None, float | None]:
    """How far depth lies off sideways, and how much better it fits the mirrored image.

    Args:
        edges: `color_edges` and `depth_edges` of several frames, (H, W) each; one shift is sought for all.

    Returns:
        Shift in pixels, and the best fit with mirrored color over that with color as it is; None where neither fits
        well enough to tell, as where nothing stands out of the road.
    """
    count = max(1.0, float(sum(depth.sum() for _, depth in edges)))
    straight = np.sum([_correlation(color, depth) for color, depth in edges], axis=0) / count
    mirrored = np.sum([_correlation(color[:, ::-1], depth) for color, depth in edges], axis=0) / count
    best = float(straight.max()), float(mirrored.max())
    if max(best) < MIN_FIT:
        return None, None
    column = int(np.argmax(straight.max(0)))
    return float(abs(column - straight.shape[1] // 2)), best[1] / max(best[0], 1e-6)


def camera_pose(plane: NDArray[np.float64], camera: Intrinsics) -> tuple[float, float, float]:
    """Height (m), pitch down and roll (degrees) of a camera above its road.

    Args:
        plane: (a, b, c) of `fit_road_plane`: 1/z = a·u + b·v + c with u and v in [-1, 1] over the image.
        camera: of that image.
    """
    a, b, c = plane
    per_u, per_v = 2 * a / (camera.width - 1), 2 * b / (camera.height - 1)
    at_center = c + a * (2 * camera.cx / (camera.width - 1) - 1) + b * (2 * camera.cy / (camera.height - 1) - 1)
    # n·X = h for points X = z·ray of the road: 1/z = n·ray / h, linear in the pixel.
    normal = np.array([per_u * camera.fx, per_v * camera.fy, at_center])
    height_m = 1 / max(float(np.linalg.norm(normal)), 1e-9)
    x, y, z = normal * height_m
    return height_m, math.degrees(math.atan2(z, y)), math.degrees(math.atan2(x, y))


def _measure(frame: RgbdFrame) -> dict[str, Any]:
    height, width = frame.size
    size = (WIDTH_PX, max(8, round(height * WIDTH_PX / width)))
    rgb = cv2.resize(frame.rgb, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    sharpness = float(cv2.Laplacian(gray, cv2.CV_32F).var())
    found: dict[str, Any] = {"brightness": float(gray.mean()), "sharpness": sharpness}
    if frame.depth_m is None:
        return found
    depth_m = cv2.resize(frame.depth_m, size, interpolation=cv2.INTER_NEAREST).astype(np.float32, copy=False)
    valid = depth_m > 0
    found["depth_valid"] = 100 * float(valid.mean())
    if not valid.any():
        return found
    found["depth_median_m"] = float(np.median(depth_m[valid]))
    inverse = np.divide(1, depth_m, out=np.zeros_like(depth_m), where=valid)
    plane, plane_found = fit_road_plane(torch.from_numpy(inverse)[None])
    found["plane_found"] = bool(plane_found[0])
    if found["plane_found"] and frame.intrinsics is not None:
        pose = camera_pose(plane[0].double().numpy(), frame.intrinsics.scaled(*size))
        found["height_m"], found["pitch_deg"], found["roll_deg"] = pose
    found["edges"] = color_edges(rgb), depth_edges(depth_m)
    return found


def color_edges(rgb: NDArray[np.uint8]) -> Gray:
    """Gradient over that of its surroundings, less one, (H, W): texture is 0 on average, an outline is above."""
    smooth = cv2.GaussianBlur(rgb.astype(np.float32), (0, 0), 1.5)
    gradient = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    strength = np.linalg.norm(gradient, axis=2).astype(np.float32)
    edges: Gray = np.minimum(strength / (cv2.blur(strength, (65, 65)) + 1e-3), 4) - 1
    return edges


def depth_edges(depth_m: Gray) -> Gray:
    """1 where depth jumps by more than JUMP within five pixels, all of them valid; (H, W)."""
    valid = depth_m > 0
    around = np.ones((5, 5), np.uint8)
    log_m = cv2.medianBlur(np.log(np.where(valid, depth_m, 1)).astype(np.float32), 5)
    jump = cv2.dilate(log_m, around) - cv2.erode(log_m, around)
    edges: Gray = ((jump > JUMP) & (cv2.erode(valid.astype(np.uint8), around) > 0)).astype(np.float32)
    return edges


def _correlation(color: Gray, depth: Gray) -> Gray:
    """Circular cross-correlation by shift, up to REACH_PX each way, no shift in the middle."""
    spectra = [np.fft.rfft2(image) for image in (color, depth)]
    correlation = np.fft.irfft2(spectra[0] * np.conj(spectra[1]), s=color.shape).astype(np.float32)
    reach = min(REACH_PX, (min(correlation.shape) - 1) // 2)
    near: Gray = np.roll(correlation, (reach, reach), (0, 1))[: 2 * reach + 1, : 2 * reach + 1]
    return near


def _finding(measure: Measure, value: float | None) -> dict[str, Any]:
    low, high = measure.trained
    finding = "unknown" if value is None else "as trained" if low <= value <= high else "outside"
    return {
        "key": measure.key,
        "title": measure.title,
        "unit": measure.unit,
        "value": value,
        "trained": [low, high],
        "finding": finding,
        "hint": measure.hint,
    }
