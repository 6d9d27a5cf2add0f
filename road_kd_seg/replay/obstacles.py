# SPDX-License-Identifier: Apache-2.0
"""Obstacles over a whole drive: by distance, as objects, and from frame to frame. K classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg.frame import RgbdFrame
from road_kd_seg.metrics import Counts
from road_kd_seg.metrics.objects import LabeledObject, counts_by_distance, false_alarms, labeled_objects
from road_kd_seg.metrics.steadiness import flicker_share
from road_kd_seg.replay.labels import Label, LabelStore
from road_kd_seg.taxonomy import Role, Taxonomy

BANDS_M = ((0.0, 5.0), (5.0, 10.0), (10.0, 20.0))
SAME_ALARM_PX = 15
"""An alarm this near to one of the frame before is the same alarm."""
MAX_PERIODS = 2.0
"""Frames further apart than this many camera periods are no neighbors."""

Band = tuple[float, float]


@dataclass(frozen=True)
class ObstacleScores:
    """What pixels summed over all frames do not tell."""

    bands_m: tuple[Band, ...]
    pixels: Counts
    """(bands, K, 2): found and all labeled pixels with valid depth."""
    objects: Counts
    """(bands, K, 2): found and all objects with valid depth."""
    all_objects: Counts
    """(K, 2): found and all objects, with depth or without."""
    false_alarms: int
    """An alarm that lasts for several frames counts once."""
    minutes: float
    """Time that the scored frames span."""
    lasting: int
    """Objects that were found in one frame and are still there in the next."""
    lost: int
    """Those of them that the next frame does not find."""
    flicker: float
    """Mean share of pixels whose prediction changes and whose label does not; NaN for fewer than two frames."""


def score_obstacles(
    frames: Iterable[RgbdFrame],
    ground_truth: LabelStore,
    predictions: LabelStore,
    taxonomy: Taxonomy,
    period_ns: float,
    bands_m: Sequence[Band] = BANDS_M,
) -> ObstacleScores:
    """Compare frame after frame.

    Args:
        frames: those with a label and a prediction, in order of time.
        ground_truth: labels by stamp.
        predictions: by stamp.
        taxonomy: which classes are obstacles.
        period_ns: of the camera.
        bands_m: ranges of distance, near end included.
    """
    obstacle_ids = [c.id for c in taxonomy.classes if c.role is Role.OBSTACLE]
    pixels = np.zeros((len(bands_m), len(taxonomy), 2), np.int64)
    objects, all_objects = np.zeros_like(pixels), np.zeros_like(pixels[0])
    num_alarms = lasting = lost = span_ns = 0
    flicker: list[float] = []
    before: _Moment | None = None
    for frame in frames:
        now = _Moment.look(frame, ground_truth.get(frame.stamp_ns), predictions.get(frame.stamp_ns), obstacle_ids)
        if frame.depth_m is not None:
            pixels += counts_by_distance(now.label, now.prediction, frame.depth_m, bands_m, len(taxonomy))
        for thing in now.objects:
            all_objects[thing.class_id] += (thing.found, 1)
            for band, (near_m, far_m) in enumerate(bands_m):
                if thing.distance_m is not None and near_m <= thing.distance_m < far_m:
                    objects[band, thing.class_id] += (thing.found, 1)
        if before is None or not 0 < now.stamp_ns - before.stamp_ns <= MAX_PERIODS * period_ns:
            num_alarms += len(now.alarms)
        else:
            span_ns += now.stamp_ns - before.stamp_ns
            num_alarms += now.new_alarms(before)
            flicker.append(flicker_share(before.label, now.label, before.prediction, now.prediction))
            stays = [thing for thing in now.objects if before.found(thing)]
            lasting, lost = lasting + len(stays), lost + sum(not thing.found for thing in stays)
        before = now
    return ObstacleScores(
        bands_m=tuple(bands_m),
        pixels=pixels,
        objects=objects,
        all_objects=all_objects,
        false_alarms=num_alarms,
        minutes=span_ns / 60e9,
        lasting=lasting,
        lost=lost,
        flicker=float(np.nanmean(flicker)) if np.isfinite(flicker).any() else float("nan"),
    )


@dataclass(frozen=True)
class _Moment:
    """One frame's obstacles."""

    stamp_ns: int
    label: Label
    prediction: Label
    objects: tuple[LabeledObject, ...]
    alarms: tuple[NDArray[np.bool_], ...]

    @staticmethod
    def look(frame: RgbdFrame, label: Label, prediction: Label, obstacle_ids: Sequence[int]) -> _Moment:
        things = tuple(labeled_objects(label, prediction, frame.depth_m, obstacle_ids))
        return _Moment(frame.stamp_ns, label, prediction, things, tuple(false_alarms(label, prediction, obstacle_ids)))

    def found(self, thing: LabeledObject) -> bool:
        """Whether an object of the next frame was here, and was found."""
        return any(
            thing.class_id == mine.class_id and mine.found and bool((thing.mask & mine.mask).any())
            for mine in self.objects
        )

    def new_alarms(self, before: _Moment) -> int:
        """How many alarms are not those of the frame before."""
        if not before.alarms or not self.alarms:
            return len(self.alarms)
        old = np.logical_or.reduce(before.alarms).astype(np.uint8)
        near = cv2.dilate(old, np.ones((2 * SAME_ALARM_PX + 1,) * 2, np.uint8)).astype(bool)
        return sum(not near[mask].any() for mask in self.alarms)
