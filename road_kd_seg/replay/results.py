# SPDX-License-Identifier: Apache-2.0
"""What a replay yields, as plain data: what became of every frame, how fast, how well. K classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.errors import RoadKdError
from road_kd_seg.metrics import Counts, PerClass, iou, mean_iou
from road_kd_seg.replay.labels import LabelStore

DROP_REASONS = ("superseded", "unsynchronized", "stale", "invalid")


@dataclass(frozen=True, slots=True)
class ReplayCounts:
    """What became of the color images of a bag.

    Raises:
        RoadKdError: received is not published + Σ dropped, or more was received than sent.
    """

    sent: int
    """Color images in the bag."""
    received: int
    """Those that reached the model's process."""
    published: int
    """Those that were segmented and published."""
    dropped: Mapping[str, int]
    """The others that were received, by DROP_REASONS."""

    def __post_init__(self) -> None:
        if set(self.dropped) != set(DROP_REASONS):
            raise RoadKdError(f"frame counters: dropped has {sorted(self.dropped)}, expected {sorted(DROP_REASONS)}")
        if self.received != self.published + sum(self.dropped.values()):
            dropped = " + ".join(f"{count} {reason}" for reason, count in self.dropped.items())
            raise RoadKdError(
                f"frame counters: received {self.received}, but published {self.published} + dropped {dropped}"
                f" = {self.published + sum(self.dropped.values())}: frames went missing in the node, which is a defect"
            )
        if self.received > self.sent:
            raise RoadKdError(
                f"frame counters: received {self.received} color images of a bag that holds {self.sent}:"
                " somebody else publishes on the same topics; choose another --domain-id"
            )

    @property
    def not_received(self) -> int:
        """Lost in transport, or overwritten in the input queue of depth one before the process took them."""
        return self.sent - self.received

    @staticmethod
    def from_counters(sent: int, counters: Mapping[str, int]) -> ReplayCounts:
        """From the node's keys: received, published, dropped.<reason>.

        Raises:
            RoadKdError: a key is missing, or the numbers do not add up.
        """
        try:
            dropped = {reason: counters[f"dropped.{reason}"] for reason in DROP_REASONS}
            return ReplayCounts(sent, counters["received"], counters["published"], dropped)
        except KeyError as error:
            raise RoadKdError(f"frame counters: the node reported {sorted(counters)}, but not {error}") from error


@dataclass(frozen=True)
class ReplayRun:
    """A model's predictions on a bag."""

    mode: str
    """`offline` (frame by frame, no ROS) or `live` (node and player as processes)."""
    stamps_ns: tuple[int, ...]
    """Every color image of the bag."""
    labels: LabelStore
    """The predicted labels, by the color image's stamp."""
    latency_ms: Mapping[int, float]
    """By the color image's stamp; what it spans is in `latency_definition`."""
    latency_definition: str
    counts: ReplayCounts
    device: str
    wall_s: float
    notes: tuple[str, ...] = ()
    """What a reader of the numbers has to know, in sentences."""
    stages_ms: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Time of each stage, frame by frame, where it was measured."""
    confidence: Counts | None = None
    """(K, B, 2) of `metrics.calibration.confidence_counts`; None without labels, or where only labels were recorded."""
    confidence_labeled: Counts | None = None
    """(K,) labeled pixels of the frames that `confidence` is of."""

    @cached_property
    def period_ms(self) -> float | None:
        """Of the camera: median distance of the color images; None for fewer than two moments."""
        distances = np.diff(np.unique(np.array(self.stamps_ns, np.int64)))
        return float(np.median(distances)) / 1e6 if distances.size else None


@dataclass(frozen=True)
class FrameScore:
    """One frame against its ground truth."""

    stamp_ns: int
    counts: Counts
    """(K, K), rows are the ground truth."""
    boundary: Counts
    """(K, 4) of `metrics.boundary.boundary_counts`."""

    @property
    def miou(self) -> float:
        """Mean over the classes in its ground truth; NaN if that is all ignored."""
        return mean_iou(self.counts)

    @property
    def iou(self) -> PerClass:
        """(K,), NaN where the class is neither in the ground truth nor predicted."""
        return iou(self.counts)


@dataclass(frozen=True)
class Scores:
    """A run against the ground truth."""

    num_classes: int
    frames: tuple[FrameScore, ...] = ()
    """The frames with ground truth and prediction."""
    num_labeled: int = 0
    """Frames with ground truth, segmented or not."""

    @cached_property
    def counts(self) -> Counts:
        """(K, K), rows are the ground truth, summed over the scored frames."""
        return sum((frame.counts for frame in self.frames), np.zeros((self.num_classes, self.num_classes), np.int64))

    @cached_property
    def boundary(self) -> Counts:
        """(K, 4), summed over the scored frames."""
        return sum((frame.boundary for frame in self.frames), np.zeros((self.num_classes, 4), np.int64))


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Percentiles in milliseconds; None where there are too few samples to say."""

    samples: int
    mean: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None
    notes: tuple[str, ...] = field(default=())


PERCENTILES = {"p50": (50, 1), "p95": (95, 20), "p99": (99, 100)}
"""Percentile and the minimum of samples it is given for: below 100 a p99 is the maximum under another name."""


def summarize_latency(latency_ms: NDArray[np.float64]) -> LatencySummary:
    """Percentiles of (N,) latencies."""
    if latency_ms.size == 0:
        return LatencySummary(0, notes=("no frame was published, so there is no latency",))
    values, notes = {}, []
    for name, (percent, min_samples) in PERCENTILES.items():
        if latency_ms.size >= min_samples:
            values[name] = float(np.percentile(latency_ms, percent))
        else:
            notes.append(f"{name} needs {min_samples} samples, there are {latency_ms.size}")
    mean_ms, max_ms = float(latency_ms.mean()), float(latency_ms.max())
    return LatencySummary(latency_ms.size, mean=mean_ms, max=max_ms, notes=tuple(notes), **values)
