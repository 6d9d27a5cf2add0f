# SPDX-License-Identifier: Apache-2.0
"""What every storage file offers, and the order in which messages of several chunks or files are read."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

MessageBytes: TypeAlias = bytes | memoryview
"""A serialized message; of a large one perhaps a view of what was read with it."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the recorder described it."""

    name: str
    msgtype: str
    """`package/msg/Name`; empty where the recorder gave none."""
    encoding: str = "cdr"
    """How its messages are serialized: `cdr`, `ros1`, or what some other program used (`json`, `protobuf`)."""
    qos: str = ""
    """QoS profiles that its publishers offered, as YAML; empty where unknown."""


class StoredMessage(NamedTuple):
    """A message as it lies in the file."""

    topic: str
    log_time_ns: int
    data: MessageBytes


class StorageFile(Protocol):
    """One file of a recording, open for reading."""

    topics: dict[str, Topic]
    counts: dict[str, int]
    """Messages by topic that the file holds."""
    promised: dict[str, int]
    """Messages by topic that its own index or statistics name; empty where it has none."""
    start_ns: int
    """Log time of the first message; meaningless without messages."""
    end_ns: int
    """Log time of the last message."""
    open_bytes: int
    """Memory that reading its messages takes at most."""
    notes: list[str]
    """What is damaged or missing, in sentences; reading may add to them."""

    def messages(
        self, topics: Collection[str] | None, start_ns: int | None, stop_ns: int | None
    ) -> Iterator[StoredMessage]:
        """Messages by log time; of all topics or of those named; from `start_ns` on and before `stop_ns`."""

    def close(self) -> None:
        """Release the file; closing twice does no harm."""


class Source(NamedTuple):
    """Messages in the order of time that begin at `start_ns`; opened when their time comes."""

    start_ns: int
    open: Callable[[], Iterable[StoredMessage]]
    size: int
    """Bytes of memory that it takes while it is open."""


MAX_OPEN_BYTES = 1 << 30
"""Of sources that are open at once."""


def merge_by_time(sources: Iterable[Source]) -> Iterator[StoredMessage]:
    """The messages of all sources by log time, equal ones in the order of the sources.

    Only sources whose times overlap are open at once, and only as many as MAX_OPEN_BYTES hold: a recording whose
    gigabytes all claim one time comes in the order of its sources.
    """
    waiting = deque(sorted(sources, key=lambda source: source.start_ns))
    heap: list[tuple[int, int, StoredMessage, int, Iterator[StoredMessage]]] = []
    opened = held = 0
    while heap or waiting:
        while waiting and (
            not heap or (waiting[0].start_ns <= heap[0][0] and held + waiting[0].size <= MAX_OPEN_BYTES)
        ):
            source = waiting.popleft()
            held += _push(heap, opened, source.size, iter(source.open()))
            opened += 1
        if heap:
            _, number, message, size, messages = heapq.heappop(heap)
            yield message
            held += _push(heap, number, size, messages) - size


def _push(
    heap: list[tuple[int, int, StoredMessage, int, Iterator[StoredMessage]]],
    number: int,
    size: int,
    messages: Iterator[StoredMessage],
) -> int:
    """Queue the next message of a source; returns its size, or 0 at its end."""
    message = next(messages, None)
    if message is None:
        return 0
    heapq.heappush(heap, (message.log_time_ns, number, message, size, messages))
    return size
