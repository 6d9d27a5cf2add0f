# SPDX-License-Identifier: Apache-2.0
"""`replay_eval --calibrate miss=P`: thresholds of the obstacle classes with a promise, and what became of the promise.

Blocks of frames are what is drawn: neighboring frames show the same obstacles. C obstacle classes, T thresholds.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.bags.reader import BagReader
from road_kd_seg.bundle import Bundle, add_attachment
from road_kd_seg.errors import FrameError, RoadKdError, printable
from road_kd_seg.frame import IGNORE_INDEX
from road_kd_seg.metrics.risk_control import control_risk, min_blocks
from road_kd_seg.replay.labels import Label, LabelStore
from road_kd_seg.segmenter import Segmenter
from road_kd_seg.taxonomy import Role, Taxonomy
from road_kd_seg.thresholds import KEY, ClassThreshold, Thresholds

BLOCK_S = 5.0
"""Seconds: an obstacle stays in view for about as long, so that blocks share little."""
SHARE = 0.9
"""Of other blocks that the promise is to hold for."""
MIN_PIXELS = 64
"""A block with fewer labeled pixels of a class does not show it."""
GRID = (np.arange(1, 1000) / 1000).astype(np.float32)
"""The T thresholds that are tried."""

_PATTERN = re.compile(r"miss\s*=\s*([\d.eE+-]+)")


def parse_target(text: str) -> float:
    """The bound of `miss=P`.

    Raises:
        RoadKdError: it is none between 0 and 1.
    """
    match = _PATTERN.fullmatch(text.strip())
    try:
        max_missed = float(match[1]) if match else float("nan")
    except ValueError:
        max_missed = float("nan")
    if not 0 < max_missed < 1:
        raise RoadKdError(f"--calibrate '{text}': expected miss=P with P between 0 and 1, such as miss=0.05")
    return max_missed


@dataclass(frozen=True)
class Calibration:
    """What a labeled drive allows to promise."""

    thresholds: Thresholds
    problems: Mapping[str, str] = field(default_factory=dict)
    """By class that gets no threshold: why."""


def calibrate(
    reader: BagReader,
    segmenter: Segmenter,
    ground_truth: LabelStore,
    max_missed: float,
    on_frame: Callable[[], None] = lambda: None,
) -> Calibration:
    """Pick each obstacle class's threshold on a labeled drive.

    Args:
        reader: the bag, open.
        segmenter: thresholds that it has already do not matter.
        ground_truth: labels by stamp.
        max_missed: share of a class's pixels in a block that may be labeled as no obstacle.
        on_frame: called after each labeled frame.

    Raises:
        RoadKdError: no frame is labeled.
    """
    obstacles = [c for c in segmenter.taxonomy.classes if c.role is Role.OBSTACLE]
    blocks = {c.name: defaultdict[int, NDArray[np.int64]](lambda: np.zeros(len(GRID) + 1, np.int64)) for c in obstacles}
    stamps_ns = set(ground_truth.stamps_ns)
    start_ns = min(stamps_ns, default=0)
    count = 0
    for frame, _ in reader.frames(stamps_ns=stamps_ns, on_invalid=lambda error: None):
        label = ground_truth.get(frame.stamp_ns)
        if (segmenter.needs_depth and frame.depth_m is None) or label.shape != frame.size:
            continue
        try:
            scores = segmenter.obstacle_scores(frame)
        except FrameError:
            continue
        for c in obstacles:
            blocks[c.name][block_of(frame.stamp_ns, start_ns)] += reached_counts(scores[c.id][label == c.id])
        count += 1
        on_frame()
    if not count:
        raise RoadKdError(
            f"--calibrate: bag {reader.path} has no labeled frame that can be segmented: give --labels, or another bag"
        )
    classes: dict[str, ClassThreshold] = {}
    problems: dict[str, str] = {}
    for name, by_block in blocks.items():
        held = [counts for counts in by_block.values() if counts.sum() >= MIN_PIXELS]
        index = control_risk(missed_shares(held), max_missed, SHARE)
        if index is not None:
            classes[name] = ClassThreshold(float(GRID[index]), len(held))
        elif len(held) < min_blocks(SHARE):
            problems[name] = (
                f"{len(held)} blocks of {BLOCK_S:g} s show it, {min_blocks(SHARE)} are needed: label a longer drive"
            )
        else:
            problems[name] = (
                f"even the lowest threshold ({GRID[0]:g}) misses more than {max_missed:g} in too many of the"
                f" {len(held)} blocks of {BLOCK_S:g} s that show it: allow more, or train a better model"
            )
    recording = printable(reader.path.resolve().name, 200) or "a bag"
    precision = segmenter.backend.precision
    return Calibration(Thresholds(max_missed, SHARE, BLOCK_S, precision, recording, classes), problems)


def reached_counts(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """(T + 1,): how many of N pixels reach how many thresholds, from their `Segmenter.obstacle_scores` (N,)."""
    return np.bincount(np.searchsorted(GRID, scores, "right"), minlength=len(GRID) + 1)


def missed_shares(counts: Iterable[NDArray[np.int64]]) -> NDArray[np.float64]:
    """(n, T): of each block's pixels the share that is missed at each threshold.

    Args:
        counts: by block, `reached_counts`.
    """
    rows = [np.cumsum(block)[:-1] / block.sum() for block in counts]
    return np.stack(rows) if rows else np.empty((0, len(GRID)))


def block_of(stamp_ns: int, start_ns: int, block_s: float = BLOCK_S) -> int:
    """Number of the block that a stamp lies in."""
    return int((stamp_ns - start_ns) // round(block_s * 1e9))


def save_thresholds(bundle: Bundle, calibration: Calibration) -> None:
    """Write them beside the bundle's weights, if there is any; its signature, if it has one, no longer fits.

    Raises:
        BundleError: its folder cannot be written.
    """
    if calibration.thresholds.classes:
        add_attachment(bundle.path, KEY, calibration.thresholds.to_yaml(), min_agreement=None)


def promise_outcome(
    thresholds: Thresholds, ground_truth: LabelStore, predictions: LabelStore, taxonomy: Taxonomy
) -> dict[str, Any]:
    """What became of a promise on a labeled drive.

    Returns:
        By class with a threshold: `threshold`, `blocks` it was picked on, `missed` (share of all its labeled pixels),
        `blocks_here` that show it and `blocks_kept` of these; and `false_share`, the share of the labeled pixels of no
        obstacle that are predicted as one. None where nothing was there to count.
    """
    obstacle = taxonomy.role_table(Role.OBSTACLE) > 0
    start_ns = min(ground_truth.stamps_ns, default=0)
    seen = {name: defaultdict[int, NDArray[np.int64]](lambda: np.zeros(2, np.int64)) for name in thresholds.classes}
    free = np.zeros(2, np.int64)
    for stamp_ns, label in ground_truth.items():
        if stamp_ns not in predictions or (prediction := predictions.get(stamp_ns)).shape != label.shape:
            continue
        said = obstacle[prediction]
        block = block_of(stamp_ns, start_ns, thresholds.block_s)
        for c in taxonomy.classes:
            if c.name in seen:
                seen[c.name][block] += _counts(~said, label == c.id)
        free += _counts(said, ~obstacle[label] & (label != IGNORE_INDEX))
    return {
        "false_share": _share(free),
        "classes": {
            name: _class_outcome(thresholds, name, [c for c in by_block.values() if c[1]])
            for name, by_block in seen.items()
        },
    }


def _class_outcome(thresholds: Thresholds, name: str, blocks: list[NDArray[np.int64]]) -> dict[str, Any]:
    shown = [block for block in blocks if block[1] >= MIN_PIXELS]
    return {
        "threshold": thresholds.classes[name].probability,
        "blocks": thresholds.classes[name].blocks,
        "missed": _share(sum(blocks, np.zeros(2, np.int64))),
        "blocks_here": len(shown),
        "blocks_kept": sum(bool(block[0] <= thresholds.max_missed * block[1]) for block in shown),
    }


def _counts(which: Label | NDArray[np.bool_], among: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(2,): how many, of how many."""
    return np.array([np.count_nonzero(which & among), np.count_nonzero(among)], np.int64)


def _share(counts: NDArray[np.int64]) -> float | None:
    return float(counts[0] / counts[1]) if counts[1] else None
