# SPDX-License-Identifier: Apache-2.0
"""Every color image that comes in leaves a trace: received = published + Σ dropped, once nothing is in flight."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import Enum


class FrameOutcome(str, Enum):
    """How a received color image ended; the values are the keys in diagnostics and in the shutdown log."""

    PUBLISHED = "published"
    SUPERSEDED = "dropped.superseded"
    """A newer frame came before the worker was free."""
    UNSYNCHRONIZED = "dropped.unsynchronized"
    """No depth image with its stamp came."""
    STALE = "dropped.stale"
    """The node was deactivated or disabled, or time jumped back, while the frame waited or was being segmented."""
    INVALID = "dropped.invalid"
    """It could not be segmented: encoding, size, frame id, short buffer."""


@dataclass(frozen=True, slots=True)
class FrameCounts:
    """A consistent reading of the counters."""

    received: int
    recorded: dict[FrameOutcome, int]

    @property
    def in_flight(self) -> int:
        """Waiting for depth, waiting for the worker, or being segmented."""
        return self.received - sum(self.recorded.values())

    def as_dict(self) -> dict[str, int]:
        """received, published, dropped.*, in_flight."""
        counts = {outcome.value: self.recorded[outcome] for outcome in FrameOutcome}
        return {"received": self.received, **counts, "in_flight": self.in_flight}

    def __str__(self) -> str:
        return "frame counters: " + " ".join(f"{key}={count}" for key, count in self.as_dict().items())


class FrameCounters:
    """Thread-safe counters of what came in and how it ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received = 0
        self._recorded = dict.fromkeys(FrameOutcome, 0)

    def receive(self) -> None:
        """A color image arrived."""
        with self._lock:
            self._received += 1

    def record(self, outcome: FrameOutcome, count: int = 1) -> None:
        """`count` received images ended like this."""
        with self._lock:
            self._recorded[outcome] += count

    def read(self) -> FrameCounts:
        """The counts at one moment."""
        with self._lock:
            return FrameCounts(self._received, dict(self._recorded))
