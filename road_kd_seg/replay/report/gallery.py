# SPDX-License-Identifier: Apache-2.0
"""A few frames as pictures: what the camera saw, what was there, what the model said, where it is wrong."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg.bags.reader import BagReader
from road_kd_seg.frame import RgbdFrame
from road_kd_seg.postprocess import colorize
from road_kd_seg.replay.labels import LabelStore
from road_kd_seg.replay.report.build import Replay
from road_kd_seg.replay.report.clip import CLIP_FRAMES, make_clip
from road_kd_seg.replay.report.pictures import (
    crop_around,
    error_masks,
    jpeg_uri,
    paint_depth,
    paint_errors,
    paint_prediction,
    png_uri,
)
from road_kd_seg.replay.results import FrameScore
from road_kd_seg.taxonomy import Taxonomy

WORST_FRAMES = 2
NEIGHBOR_NS = 1_000_000_000
"""Two worst frames within a second of each other show the same thing."""
WORST_REGIONS = 6
MIN_REGION_PX = 64


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
    errors: str | None


@dataclass(frozen=True, slots=True)
class Region:
    """A place where an obstacle was missed or invented."""

    stamp_ns: int
    what: str
    area_px: int
    box: tuple[int, int, int, int]
    """Left, top, width, height in pixels."""


@dataclass(frozen=True, slots=True)
class RegionPicture:
    """A region as a data URI."""

    seek_s: float
    what: str
    area_px: int
    picture: str


@dataclass(frozen=True, slots=True)
class Gallery:
    """Everything that the page shows as a picture."""

    rows: tuple[GalleryRow, ...]
    depth_range_m: tuple[float, float]
    """What the depth colors span."""
    regions: tuple[RegionPicture, ...] = ()
    clip: str | None = None
    clip_note: str = ""


def pick_frames(
    stamps_ns: Sequence[int], scores: Sequence[FrameScore], class_names: Sequence[str] = (), most: int = 8
) -> dict[int, str]:
    """Which of the published frames to show, and why: the worst by mIoU, the worst of each class, evenly over time.

    Args:
        stamps_ns: published frames.
        scores: of those that have ground truth.
        class_names: for each the frame with the lowest IoU among those that hold the class.
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
    for class_id, name in enumerate(class_names):
        holding = [frame for frame in scores if frame.counts[class_id].sum()]
        if holding and len(chosen) < most - 1:
            worst = min(holding, key=lambda frame: frame.iou[class_id])
            reason = f"worst of {name}, IoU {worst.iou[class_id]:.3f}"
            chosen[worst.stamp_ns] = f"{chosen[worst.stamp_ns]}; {reason}" if worst.stamp_ns in chosen else reason
    rest = sorted(set(stamps_ns) - chosen.keys())
    count = min(most - len(chosen), len(rest))
    # Centers of equal parts of the drive: neither its first nor its last frame, which are seldom typical.
    for i in range(count):
        chosen[rest[(2 * i + 1) * len(rest) // (2 * count)]] = "evenly over time"
    return chosen


def worst_regions(
    stamps_ns: Sequence[int], ground_truth: LabelStore, predictions: LabelStore, taxonomy: Taxonomy
) -> list[Region]:
    """The largest areas where an obstacle was missed or invented, one a second at most, the largest first."""
    found = []
    for stamp_ns in stamps_ns:
        missed, false, _ = error_masks(ground_truth.get(stamp_ns), predictions.get(stamp_ns), taxonomy)
        for what, mask in (("missed", missed), ("false", false)):
            stats = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)[2][1:]
            if len(stats):
                *box, area_px = stats[stats[:, cv2.CC_STAT_AREA].argmax()].tolist()
                if area_px >= MIN_REGION_PX:
                    found.append(Region(stamp_ns, what, area_px, (box[0], box[1], box[2], box[3])))
    chosen: list[Region] = []
    for region in sorted(found, key=lambda r: -r.area_px):
        if all(abs(region.stamp_ns - r.stamp_ns) >= NEIGHBOR_NS or region.what != r.what for r in chosen):
            chosen.append(region)
    return chosen[:WORST_REGIONS]


def make_gallery(reader: BagReader, replay: Replay) -> Gallery:
    """Read the picked frames from the bag and paint them."""
    run, taxonomy, ground_truth = replay.run, replay.bundle.taxonomy, replay.ground_truth
    reasons = pick_frames(run.labels.stamps_ns, replay.scores.frames, taxonomy.names)
    scored = [frame.stamp_ns for frame in replay.scores.frames]
    regions = worst_regions(scored, ground_truth, run.labels, taxonomy)
    wanted = reasons.keys() | {region.stamp_ns for region in regions}
    frames = {frame.stamp_ns: frame for frame in _frames(reader, wanted)}
    start_ns = min(run.stamps_ns, default=0)
    depth_range_m = _depth_range_m([f.depth_m for f in frames.values() if f.depth_m is not None])
    miou = {frame.stamp_ns: frame.miou for frame in replay.scores.frames}
    rows = []
    for stamp_ns, why in ((s, w) for s, w in reasons.items() if s in frames):
        frame, label = frames[stamp_ns], run.labels.get(stamp_ns)
        known = ground_truth.get(stamp_ns) if stamp_ns in ground_truth else None
        rows.append(
            GalleryRow(
                why=why,
                stamp_ns=stamp_ns,
                seek_s=(stamp_ns - start_ns) / 1e9,
                miou=miou.get(stamp_ns),
                latency_ms=run.latency_ms.get(stamp_ns),
                rgb=jpeg_uri(frame.rgb),
                depth=None if frame.depth_m is None else jpeg_uri(paint_depth(frame.depth_m, depth_range_m)),
                ground_truth=None if known is None else png_uri(colorize(known, taxonomy)),
                prediction=png_uri(colorize(label, taxonomy)),
                overlay=jpeg_uri(paint_prediction(frame.rgb, label, taxonomy)),
                errors=None if known is None else png_uri(paint_errors(frame.rgb, known, label, taxonomy)),
            )
        )
    stamps_ns = run.labels.stamps_ns
    every = max(1, -(-len(stamps_ns) // CLIP_FRAMES))
    clip = make_clip(_frames(reader, set(stamps_ns[::every])), run.labels, taxonomy)
    return Gallery(
        rows=tuple(rows),
        depth_range_m=depth_range_m,
        regions=tuple(_picture(r, frames[r.stamp_ns], replay, start_ns) for r in regions if r.stamp_ns in frames),
        clip=clip,
        clip_note="every frame" if every == 1 else f"every {every}th frame",
    )


def _frames(reader: BagReader, stamps_ns: Collection[int]) -> Iterator[RgbdFrame]:
    if stamps_ns:
        yield from (f for f, _ in reader.frames(stamps_ns=stamps_ns, on_invalid=lambda error: None))


def _picture(region: Region, frame: RgbdFrame, replay: Replay, start_ns: int) -> RegionPicture:
    painted = paint_prediction(frame.rgb, replay.run.labels.get(region.stamp_ns), replay.bundle.taxonomy)
    truth = paint_prediction(frame.rgb, replay.ground_truth.get(region.stamp_ns), replay.bundle.taxonomy)
    both = np.concatenate([crop_around(image, region.box) for image in (truth, painted)], axis=1)
    return RegionPicture((region.stamp_ns - start_ns) / 1e9, region.what, region.area_px, jpeg_uri(both))


def _depth_range_m(depths_m: Sequence[NDArray[np.float32]]) -> tuple[float, float]:
    """A range that most valid pixels of all pictures lie in, so that a color means the same in every row."""
    valid = np.concatenate([depth_m[depth_m > 0] for depth_m in depths_m]) if depths_m else np.empty(0)
    if valid.size == 0:
        return 0.0, 1.0
    near_m, far_m = np.percentile(valid, (1, 95))
    return float(np.floor(near_m)), float(max(np.ceil(far_m), np.floor(near_m) + 1))
