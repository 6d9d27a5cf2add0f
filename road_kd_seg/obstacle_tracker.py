# SPDX-License-Identifier: Apache-2.0
"""The same obstacle in frame after frame: footprints on the road that overlap, once the vehicle's motion is taken off.

Obstacles are taken to stand still, so that all of them share one motion. N obstacles of a frame, M tracks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.obstacles import Obstacle

_MAX_GAP_S = 1.0
"""An obstacle that was not seen for this long is another one; so are all after a break of the recording."""
_MAX_SPEED_M_S = np.array([3.0, 15.0])
"""Until the motion is known, footprints may have moved by this, to the sides and along: vehicles drive ahead, and even
in a turn little moves sideways."""
_MARGIN_M = 0.25
"""By which footprints are widened on all sides: masks breathe, and the motion is not exact."""
_STEADINESS = 0.7
"""Share of the former motion in the new one."""


@dataclass(slots=True)
class _Track:
    number: int
    class_id: int
    footprint_m: NDArray[np.float64]
    stamp_ns: int


@dataclass(frozen=True, slots=True)
class _Pair:
    """An obstacle and a track that may be one."""

    distance_m: float
    """Between where it is and where it is expected."""
    index: int
    track: _Track
    age_s: float
    """Since the track was last seen."""
    is_inside: bool
    """Whether it lies where the track is expected, at least in part."""


class ObstacleTracker:
    """Numbers obstacles so that one keeps its number from frame to frame."""

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._motion_m_s: NDArray[np.float64] | None = None
        """Of what stands still as the camera sees it, to the right and ahead, (2,); None: unknown."""
        self._stamp_ns = 0
        self._next = 1

    def update(self, obstacles: Sequence[Obstacle], stamp_ns: int) -> list[int]:
        """The numbers, from 1, of a frame's obstacles; parts of one that fell apart share theirs."""
        if not 0 <= stamp_ns - self._stamp_ns <= _MAX_GAP_S * 1e9:
            self._tracks, self._motion_m_s = [], None
        self._stamp_ns = stamp_ns
        self._tracks = [track for track in self._tracks if stamp_ns - track.stamp_ns <= _MAX_GAP_S * 1e9]
        footprints = [obstacle.footprint_m for obstacle in obstacles]
        pairs = sorted(self._pairs(obstacles, footprints), key=lambda pair: pair.distance_m)
        found: dict[int, _Track] = {}
        moved: list[NDArray[np.float64]] = []
        for pair in pairs:
            if pair.index in found or any(pair.track is track for track in found.values()):
                continue
            found[pair.index] = pair.track
            if pair.age_s > 0:
                moved.append((footprints[pair.index] - pair.track.footprint_m).mean(axis=0) / pair.age_s)
        for index, track in found.items():
            track.footprint_m, track.stamp_ns = footprints[index], stamp_ns
        for pair in pairs:  # parts of one that fell apart
            if pair.is_inside:
                found.setdefault(pair.index, pair.track)
        self._learn(moved)
        for index, obstacle in enumerate(obstacles):
            if index not in found:
                found[index] = _Track(self._next, obstacle.class_id, footprints[index], stamp_ns)
                self._next += 1
                self._tracks.append(found[index])
        return [found[index].number for index in range(len(obstacles))]

    def _pairs(self, obstacles: Sequence[Obstacle], footprints: Sequence[NDArray[np.float64]]) -> list[_Pair]:
        """All that may be one."""
        pairs = []
        for track in self._tracks:
            age_s = (self._stamp_ns - track.stamp_ns) / 1e9
            expected_m, margin_m = track.footprint_m, np.full(2, _MARGIN_M)
            if self._motion_m_s is None:
                margin_m += _MAX_SPEED_M_S * age_s
            else:
                expected_m = expected_m + self._motion_m_s * age_s
            for index, (obstacle, footprint_m) in enumerate(zip(obstacles, footprints, strict=True)):
                if obstacle.class_id == track.class_id and _overlap(footprint_m, expected_m, margin_m):
                    distance_m = float(np.linalg.norm((footprint_m - expected_m).mean(axis=0)))
                    is_inside = self._motion_m_s is not None and _overlap(footprint_m, expected_m, np.zeros(2))
                    pairs.append(_Pair(distance_m, index, track, age_s, is_inside))
        return pairs

    def _learn(self, moved: list[NDArray[np.float64]]) -> None:
        if not moved:
            return
        motion_m_s = np.median(moved, axis=0)
        if self._motion_m_s is not None:
            motion_m_s = _STEADINESS * self._motion_m_s + (1 - _STEADINESS) * motion_m_s
        self._motion_m_s = motion_m_s


def _overlap(one: NDArray[np.float64], other: NDArray[np.float64], margin_m: NDArray[np.float64]) -> bool:
    """Whether two rectangles (2, 2), one of them widened by a margin (2,), overlap."""
    return bool((one[0] <= other[1] + margin_m).all() and (other[0] <= one[1] + margin_m).all())
