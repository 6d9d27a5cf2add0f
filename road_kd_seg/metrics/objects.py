# SPDX-License-Identifier: Apache-2.0
"""Obstacles as objects: which were found, which alarms were false, how far away. H W size, K classes.

Pixels say little about a robot's risk: a pothole ten meters ahead is a thousandth of the image.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg.frame import IGNORE_INDEX
from road_kd_seg.metrics.confusion import Counts

MIN_AREA_PX = 64
"""Smaller connected areas are neither objects nor alarms: nobody annotates them, and no robot brakes for them."""
FOUND_SHARE = 0.5
"""An object is found if at least this share of its pixels is predicted as its class."""

Label = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class LabeledObject:
    """One connected area of an obstacle class in the label."""

    class_id: int
    area_px: int
    distance_m: float | None
    """Median of its valid depth; None if it has none."""
    found: bool
    mask: NDArray[np.bool_]
    """(H, W)."""


def labeled_objects(
    ground_truth: Label, prediction: Label, depth_m: NDArray[np.float32] | None, class_ids: Collection[int]
) -> Iterator[LabeledObject]:
    """Connected areas (8 neighbors) of each class in a label, and whether the prediction has them."""
    for class_id in class_ids:
        for mask, area_px in _components(ground_truth == class_id):
            valid_m = np.empty(0) if depth_m is None else depth_m[mask & (depth_m > 0)]
            distance_m = float(np.median(valid_m)) if valid_m.size else None
            found = bool((prediction[mask] == class_id).mean() >= FOUND_SHARE)
            yield LabeledObject(class_id, area_px, distance_m, found, mask)


def false_alarms(ground_truth: Label, prediction: Label, class_ids: Sequence[int]) -> list[NDArray[np.bool_]]:
    """(H, W) masks of the connected areas predicted as an obstacle that touch no obstacle and no ignored pixel."""
    obstacle = np.isin(ground_truth, class_ids) | (ground_truth == IGNORE_INDEX)
    alarms = _components(np.isin(prediction, class_ids))
    return [mask for mask, _ in alarms if not obstacle[mask].any()]


def counts_by_distance(
    ground_truth: Label,
    prediction: Label,
    depth_m: NDArray[np.float32],
    bands_m: Sequence[tuple[float, float]],
    num_classes: int,
) -> Counts:
    """Pixels of each class by distance: (bands, K, 2), found and all, of the labeled pixels with valid depth."""
    counts = np.zeros((len(bands_m), num_classes, 2), np.int64)
    scored = (ground_truth != IGNORE_INDEX) & (depth_m > 0)
    true, hit, distance_m = ground_truth[scored], (ground_truth == prediction)[scored], depth_m[scored]
    for band, (near_m, far_m) in enumerate(bands_m):
        inside = (distance_m >= near_m) & (distance_m < far_m)
        counts[band, :, 0] = np.bincount(true[inside & hit], minlength=num_classes)
        counts[band, :, 1] = np.bincount(true[inside], minlength=num_classes)
    return counts


def _components(mask: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.bool_], int]]:
    """Connected areas of at least MIN_AREA_PX and their size."""
    if not mask.any():
        return
    count, ids, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    for i in range(1, count):
        area_px = int(stats[i, cv2.CC_STAT_AREA])
        if area_px >= MIN_AREA_PX:
            yield ids == i, area_px
