"""A few frames as pictures: what the camera saw, what was there, what the model said."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg.bags.reader import BagReader
from road_kd_seg.postprocess import colorize, overlay
from road_kd_seg.replay.labels import LabelStore
from road_kd_seg.replay.results import FrameScore, ReplayRun, Scores
from road_kd_seg.taxonomy import Taxonomy

PICTURE_WIDTH = 480
"""Pixels; five of them fill a wide screen, and six rows stay below three megabytes."""
OVERLAY_ALPHA = 0.55
WORST_FRAMES = 2
NEIGHBOR_NS = 1_000_000_000
"""Two worst frames within a second of each other show the same thing."""

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class GalleryRow:
    """One row of the gallery; pictures are data URIs."""

    why: str
    stamp_ns: int
    seek_s: float
    """From the bag's first color image."""
    miou: float | None
    latency_ms: float | None
    rgb: str
    depth: str | None
    ground_truth: str | None
    prediction: str
    overlay: str


@dataclass(frozen=True, slots=True)
class Gallery:
    """The rows, and what the depth colors span."""

    rows: tuple[GalleryRow, ...]
    depth_range_m: tuple[float, float]


def pick_frames(stamps_ns: Sequence[int], scores: Sequence[FrameScore], most: int = 6) -> dict[int, str]:
    """Which of the published frames to show, and why: the worst by mIoU, then evenly over time.

    Args:
        stamps_ns: published frames.
        scores: of those that have ground truth.
        most: how many at most.

    Returns:
        Reason by stamp, in the order in which they are to be shown.
    """
    chosen: dict[int, str] = {}
    for frame in sorted((f for f in scores if np.isfinite(f.miou)), key=lambda f: f.miou):
        if len(chosen) == min(WORST_FRAMES, most):
            break
        if all(abs(frame.stamp_ns - other) >= NEIGHBOR_NS for other in chosen):
            chosen[frame.stamp_ns] = "worst frame by mIoU" if not chosen else "next worst, at least 1 s away"
    rest = sorted(set(stamps_ns) - chosen.keys())
    count = min(most - len(chosen), len(rest))
    # Centers of equal parts of the drive: neither its first nor its last frame, which are seldom typical.
    for i in range(count):
        chosen[rest[(2 * i + 1) * len(rest) // (2 * count)]] = "evenly over time"
    return chosen


def make_gallery(
    reader: BagReader, run: ReplayRun, scores: Scores, ground_truth: LabelStore, taxonomy: Taxonomy
) -> Gallery:
    """Read the picked frames from the bag and paint them."""
    reasons = pick_frames(run.labels.stamps_ns, scores.frames)
    frames = {f.frame.stamp_ns: f for f in reader.frames(stamps_ns=reasons.keys())} if reasons else {}
    depth_range_m = _depth_range_m([f.frame.depth_m for f in frames.values() if f.frame.depth_m is not None])
    miou = {frame.stamp_ns: frame.miou for frame in scores.frames}
    rows = []
    for stamp_ns, why in reasons.items():
        frame, label = frames[stamp_ns].frame, run.labels.get(stamp_ns)
        known = ground_truth.get(stamp_ns) if stamp_ns in ground_truth else None
        rows.append(
            GalleryRow(
                why=why,
                stamp_ns=stamp_ns,
                seek_s=(stamp_ns - min(run.stamps_ns)) / 1e9,
                miou=miou.get(stamp_ns),
                latency_ms=run.latency_ms.get(stamp_ns),
                rgb=jpeg_uri(frame.rgb),
                depth=None if frame.depth_m is None else jpeg_uri(paint_depth(frame.depth_m, depth_range_m)),
                ground_truth=None if known is None else png_uri(colorize(known, taxonomy)),
                prediction=png_uri(colorize(label, taxonomy)),
                overlay=jpeg_uri(overlay(frame.rgb, label, taxonomy, OVERLAY_ALPHA)),
            )
        )
    return Gallery(tuple(rows), depth_range_m)


def paint_depth(depth_m: NDArray[np.float32], range_m: tuple[float, float]) -> Image:
    """Jet colors from near (red) to far (blue), black where invalid; (H, W, 3) RGB."""
    near_m, far_m = range_m
    nearness = np.clip((far_m - depth_m) / (far_m - near_m), 0, 1)
    painted = cv2.applyColorMap((nearness * 255).astype(np.uint8), cv2.COLORMAP_JET)[:, :, ::-1]
    return np.where((depth_m > 0)[..., None], painted, 0).astype(np.uint8)


def jpeg_uri(rgb: Image) -> str:
    """A photograph as a data URI."""
    small = _shrink(rgb, cv2.INTER_AREA)
    return _uri("jpeg", cv2.imencode(".jpg", small[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1])


def png_uri(rgb: Image) -> str:
    """Flat colors as a data URI, without JPEG's halos."""
    return _uri("png", cv2.imencode(".png", _shrink(rgb, cv2.INTER_NEAREST)[:, :, ::-1])[1])


def _shrink(image: Image, interpolation: int) -> Image:
    height, width = image.shape[:2]
    if width <= PICTURE_WIDTH:
        return image
    size = (PICTURE_WIDTH, max(1, round(height * PICTURE_WIDTH / width)))
    return cv2.resize(image, size, interpolation=interpolation).astype(np.uint8, copy=False)


def _uri(kind: str, encoded: Image) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(encoded.tobytes()).decode('ascii')}"


def _depth_range_m(depths_m: Sequence[NDArray[np.float32]]) -> tuple[float, float]:
    """A range that most valid pixels of all pictures lie in, so that a color means the same in every row."""
    valid = np.concatenate([depth_m[depth_m > 0] for depth_m in depths_m]) if depths_m else np.empty(0)
    if valid.size == 0:
        return 0.0, 1.0
    near_m, far_m = np.percentile(valid, (1, 95))
    return float(np.floor(near_m)), float(max(np.ceil(far_m), np.floor(near_m) + 1))
