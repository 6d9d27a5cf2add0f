# SPDX-License-Identifier: Apache-2.0
"""Lanes as polylines, compared as the CULane benchmark does (Pan et al., AAAI 2018). K classes, H W size, N points."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import permutations

import cv2
import numpy as np
from numpy.typing import NDArray

Lane = NDArray[np.float32]
"""(N, 2) points x, y in px."""

WIDTH_PX = 30
IOU_THRESHOLD = 0.5
POINTS_PER_SEGMENT = 50

ROWS, ROW_STEP_PX = 18, 20
SMOOTHING_PX = 15
MIN_PROBABILITY = 0.3
MIN_EXISTENCE = 0.5


def lanes_from_probabilities(probabilities: NDArray[np.float32]) -> list[Lane]:
    """Read one lane off each class's map: the column of the highest probability, every 20 rows from the bottom.

    As in the public evaluation, maps are smoothed by a box (9x9 px of the 976x208 network output there, the same 15x15
    px of the camera's image here), a row counts if it exceeds 0.3, and a lane needs two such rows. There a separate
    head also says whether a lane exists (above 0.5); networks here have none, so a lane exists if its smoothed map
    exceeds 0.5 in one of these rows.

    Args:
        probabilities: (K, H, W), class 0 is background.

    Returns:
        At most K - 1 lanes, from the bottom up.
    """
    height = probabilities.shape[1]
    rows = np.arange(height - 1, -1, -ROW_STEP_PX)[:ROWS]
    lanes = []
    for score in probabilities[1:]:
        smooth = cv2.blur(score, (SMOOTHING_PX, SMOOTHING_PX))[rows]
        columns, best = smooth.argmax(1), smooth.max(1)
        found = best > MIN_PROBABILITY
        if found.sum() >= 2 and best.max() > MIN_EXISTENCE:
            lanes.append(np.stack([columns[found], rows[found]], 1).astype(np.float32))
    return lanes


def match_lanes(target: Sequence[Lane], prediction: Sequence[Lane], size: tuple[int, int]) -> tuple[int, int, int]:
    """True positives, false positives and false negatives of one image.

    Lanes are assigned one to one so that the sum of their IoUs is greatest; a pair counts above an IoU of 0.5. (The
    public evaluator stops its search within 0.01 of the greatest sum; here it is exact.)
    """
    overlap = lane_ious(target, prediction, size)
    hits = int((overlap[assign(overlap)] > IOU_THRESHOLD).sum())
    return hits, len(prediction) - hits, len(target) - hits


def lane_ious(target: Sequence[Lane], prediction: Sequence[Lane], size: tuple[int, int]) -> NDArray[np.float64]:
    """IoU of every true with every predicted lane, each drawn 30 px wide in an image of `size` (H, W)."""
    if not target or not prediction:
        return np.zeros((len(target), len(prediction)))
    true, predicted = (np.stack([draw(lane, size).ravel() for lane in lanes]) for lanes in (target, prediction))
    # Counts of pixels stay below 2**24, so that float32 holds them exactly.
    shared = true.astype(np.float32) @ predicted.astype(np.float32).T
    union = true.sum(1, dtype=np.int64)[:, None] + predicted.sum(1, dtype=np.int64) - shared
    overlap: NDArray[np.float64] = np.divide(shared, union, out=np.zeros(shared.shape), where=union > 0)
    return overlap


def draw(lane: Lane, size: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W), 1 on the lane; a lane of fewer than two points is nowhere."""
    canvas = np.zeros(size, np.uint8)
    points = np.rint(natural_spline(lane)).astype(np.int32)
    if len(points) >= 2:
        moved = np.any(np.diff(points, axis=0), axis=1)
        cv2.polylines(canvas, [points[np.concatenate([[True], moved])]], False, 1, WIDTH_PX)
    return canvas


def natural_spline(lane: Lane) -> NDArray[np.float64]:
    """Points of the natural cubic spline through a lane, 50 per segment, over chord length.

    Two points stay a straight line, repeated points are left out, fewer than two give nothing.
    """
    points = np.asarray(lane, np.float64).reshape(-1, 2)
    if len(points) > 1:
        points = points[np.concatenate([[True], np.any(np.diff(points, axis=0), axis=1)])]
    if len(points) < 3:
        return points if len(points) == 2 else points[:0]
    steps = np.diff(points, axis=0)
    length = np.hypot(*steps.T)[:, None]
    slope = steps / length
    system = np.diag(2 * (length[:-1] + length[1:])[:, 0])
    inner = np.arange(len(points) - 3)
    system[inner, inner + 1] = system[inner + 1, inner] = length[1:-1, 0]
    bend = np.zeros_like(points)  # second derivatives, 0 at both ends
    bend[1:-1] = np.linalg.solve(system, 6 * np.diff(slope, axis=0))
    linear = slope - length * (2 * bend[:-1] + bend[1:]) / 6
    cubic = (bend[1:] - bend[:-1]) / (6 * length)
    t = np.arange(POINTS_PER_SEGMENT)[:, None, None] / POINTS_PER_SEGMENT * length
    curve = points[:-1] + t * (linear + t * (bend[:-1] / 2 + t * cubic))
    return np.concatenate([curve.swapaxes(0, 1).reshape(-1, 2), points[-1:]])


def assign(weights: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the one-to-one assignment with the greatest sum, by trying all: for a handful of lanes."""
    rows, columns = weights.shape
    if rows > columns:
        column, row = assign(weights.T)
        return row, column
    every = np.arange(rows)
    candidates = _arrangements(columns, rows)
    return every, candidates[weights[every, candidates].sum(1).argmax()]


@lru_cache(maxsize=64)
def _arrangements(count: int, taken: int) -> NDArray[np.int64]:
    return np.array(list(permutations(range(count), taken)), np.int64)
