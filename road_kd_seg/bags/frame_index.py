# SPDX-License-Identifier: Apache-2.0
"""Which messages of a recording make a frame. N color images, M images of another topic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.bags.pairing import half_period_ns, match_stamps


class Stamps(NamedTuple):
    """Of the messages of a topic, in the order of recording."""

    header_ns: NDArray[np.int64]
    """(N,) what the camera's driver wrote."""
    log_ns: NDArray[np.int64]
    """(N,) when the recorder received them."""


@dataclass(frozen=True)
class FrameIndex:
    """The frames of a recording; N color images."""

    stamps_ns: NDArray[np.int64]
    """(N,) names of the frames in the order of recording, each only once: the color image's header stamp; where several
    images bear one stamp, the later ones are named by the next free nanoseconds."""
    depth: NDArray[np.int64]
    """(N,) which message of the depth topic belongs to each, -1 for none."""
    label: NDArray[np.int64]
    """(N,) which message of the label topic belongs to each, -1 for none."""
    slop_ns: int
    """What a synchronizer has to allow to find the same pairs; 0 where all stamps are equal."""
    log_times_ns: Mapping[str, NDArray[np.int64]]
    """By topic (color, depth, label, camera_info): when each of its messages was recorded, in the order of reading."""
    depth_after_ns: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """Stamp of depth minus stamp of color, of every pair in the order of recording."""
    by_stamp: bool = True
    """Whether header stamps alone tell the pairs, so that a node finds the same ones."""
    notes: tuple[str, ...] = ()
    """What is odd about the stamps, in sentences."""

    def __len__(self) -> int:
        return len(self.stamps_ns)

    @property
    def num_with_depth(self) -> int:
        """Color images that have a depth image."""
        return int((self.depth >= 0).sum())

    @property
    def num_labeled(self) -> int:
        """Color images that have a label image."""
        return int((self.label >= 0).sum())


def build_index(
    color: Stamps,
    depth: Stamps,
    label: Stamps,
    slop_ns: int | None,
    log_times_ns: Mapping[str, NDArray[np.int64]],
) -> FrameIndex:
    """Pair the images of a recording.

    By header stamp, as a node does. Images that share a stamp with others, and depth whose stamps are of another clock,
    are paired by the time of recording, which is said.

    Args:
        color, depth, label: stamps of their messages.
        slop_ns: a depth image may differ by this much from its color image's stamp; None: half a frame period.
            Labels must carry the very stamp of their image: the ground truth of its neighbor is not its own.
        log_times_ns: kept as it is.
    """
    notes: list[str] = []
    names_ns, repeated = _unique(color.header_ns)
    if repeated.any():
        notes.append(
            f"{int(repeated.sum())} of {color.header_ns.size} color images share their stamp with another:"
            " these are paired with depth and labels by the time of recording"
        )
    slop = half_period_ns(color.header_ns) if slop_ns is None else slop_ns
    depth_of = _pair(color, depth, repeated, slop)
    by_stamp = not repeated.any()
    if (
        slop_ns is None
        and depth.header_ns.size
        and (depth_of >= 0).sum() * 2 < min(color.log_ns.size, depth.log_ns.size)
    ):
        by_log = match_stamps(color.log_ns, depth.log_ns, half_period_ns(color.log_ns))
        if (by_log >= 0).sum() > 2 * (depth_of >= 0).sum():
            depth_of, by_stamp = by_log, False
            notes.append(
                "depth and color are stamped by different clocks (they differ by"
                f" {_seconds(_differences(color, depth, depth_of))} s): they are paired by the time of recording"
            )
    if by_stamp:
        notes += _doubts(color, depth, depth_of)
    exact = by_stamp and np.array_equal(depth_of, _pair(color, depth, repeated, 0))
    return FrameIndex(
        stamps_ns=names_ns,
        depth=depth_of,
        label=_pair(color, label, repeated, 0),
        slop_ns=0 if exact else slop,
        log_times_ns=log_times_ns,
        depth_after_ns=_differences(color, depth, depth_of),
        by_stamp=by_stamp,
        notes=tuple(notes),
    )


def _pair(color: Stamps, other: Stamps, repeated: NDArray[np.bool_], slop_ns: int) -> NDArray[np.int64]:
    """(N,) index of each color image's partner, -1 for none."""
    partner = np.full(color.header_ns.shape, -1, np.int64)
    alone = np.flatnonzero(~repeated)
    shared = np.isin(other.header_ns, color.header_ns[repeated])
    free = np.flatnonzero(~shared)
    found = match_stamps(color.header_ns[alone], other.header_ns[free], slop_ns)
    partner[alone[found >= 0]] = free[found[found >= 0]]
    twins, candidates = np.flatnonzero(repeated), np.flatnonzero(shared)
    found = match_stamps(color.log_ns[twins], other.log_ns[candidates], half_period_ns(color.log_ns))
    partner[twins[found >= 0]] = candidates[found[found >= 0]]
    return partner


def _unique(stamps_ns: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Stamps with the second and later of equal ones moved to the next free nanoseconds, and which ones are equal."""
    values, inverse, counts = np.unique(stamps_ns, return_inverse=True, return_counts=True)
    repeated: NDArray[np.bool_] = counts[inverse] > 1
    if not repeated.any():
        return stamps_ns, repeated
    taken = set(values.tolist())
    seen: set[int] = set()
    names = []
    for stamp in stamps_ns.tolist():
        name = stamp
        if stamp in seen:
            while name in taken:
                name += 1
            taken.add(name)
        seen.add(stamp)
        names.append(name)
    return np.array(names, np.int64), repeated


def _doubts(color: Stamps, depth: Stamps, depth_of: NDArray[np.int64]) -> list[str]:
    """A note if depth is so far from its color image that it may be the neighbor's."""
    differences = np.abs(_differences(color, depth, depth_of))
    period_ns = 2 * half_period_ns(color.header_ns)
    if differences.size == 0 or np.median(differences) <= period_ns / 10:
        return []
    return [
        f"color and depth of a frame differ by {np.median(differences) / 1e6:.1f} ms on the median, at a frame period"
        f" of {period_ns / 1e6:.1f} ms: depth may be of another moment, or of the neighboring frame"
        " (RealSense: enable_sync:=true)"
    ]


def _differences(color: Stamps, depth: Stamps, depth_of: NDArray[np.int64]) -> NDArray[np.int64]:
    paired = np.flatnonzero(depth_of >= 0)
    differences: NDArray[np.int64] = depth.header_ns[depth_of[paired]] - color.header_ns[paired]
    return differences


def _seconds(differences_ns: NDArray[np.int64]) -> str:
    return f"{float(np.median(differences_ns)) / 1e9:.3f}"
