"""Every colour image that comes in leaves a trace: received = published + Σ dropped, once nothing is in flight."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import Enum


class Outcome(str, Enum):
    """How a received colour image ended; the values are the keys in diagnostics and in the shutdown log."""

    PUBLISHED = "published"
    SUPERSEDED = "dropped.superseded"
    """A newer frame came before the worker was free."""
    UNSYNCHRONISED = "dropped.unsynchronised"
    """No depth image with its stamp came."""
    STALE = "dropped.stale"
    """The node was deactivated or disabled, or time jumped back, while the frame waited or was being segmented."""
    INVALID = "dropped.invalid"
    """It could not be segmented: encoding, size, frame id, short buffer."""


@dataclass(frozen=True, slots=True)
class Accounts:
    """A consistent reading of the ledger."""

    received: int
    settled: dict[Outcome, int]

    @property
    def in_flight(self) -> int:
        """Waiting for depth, waiting for the worker, or being segmented."""
        return self.received - sum(self.settled.values())

    def as_dict(self) -> dict[str, int]:
        """received, published, dropped.*, in_flight."""
        counts = {outcome.value: self.settled[outcome] for outcome in Outcome}
        return {"received": self.received, **counts, "in_flight": self.in_flight}

    def __str__(self) -> str:
        return "accounting: " + " ".join(f"{key}={count}" for key, count in self.as_dict().items())


class Ledger:
    """Thread-safe counters of what came in and how it ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received = 0
        self._settled = dict.fromkeys(Outcome, 0)

    def receive(self) -> None:
        """A colour image arrived."""
        with self._lock:
            self._received += 1

    def settle(self, outcome: Outcome, count: int = 1) -> None:
        """`count` received images ended like this."""
        with self._lock:
            self._settled[outcome] += count

    def read(self) -> Accounts:
        """The counts at one moment."""
        with self._lock:
            return Accounts(self._received, dict(self._settled))
