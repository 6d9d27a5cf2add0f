# SPDX-License-Identifier: Apache-2.0
"""Fallback for `message_filters` (contract of Jazzy): filters that are fed by hand, exact and approximate pairing.

As in the original, callbacks run under the synchronizer's lock, and the queues are public. Unlike it, an exception in
a callback does not leave the lock held.
"""

# The names are those of the original.
# ruff: noqa: N802

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any

Queue = dict[int, Any]
"""Messages by stamp in nanoseconds."""


class SimpleFilter:
    """Calls what was registered with each message it is given."""

    def __init__(self) -> None:
        self.callbacks: dict[int, tuple[Callable[..., object], tuple[Any, ...]]] = {}

    def registerCallback(self, callback: Callable[..., object], *args: Any) -> int:
        """Have `callback(*messages, *args)` called; returns an id."""
        identifier = len(self.callbacks)
        self.callbacks[identifier] = (callback, args)
        return identifier

    def signalMessage(self, *messages: Any) -> None:
        """Hand messages on, in the order of registration."""
        for callback, args in list(self.callbacks.values()):
            callback(*messages, *args)


class TimeSynchronizer(SimpleFilter):
    """Fires with one message of each input once their stamps are equal.

    Args:
        fs: inputs.
        queue_size: messages kept per input; the smallest stamp goes first, be it the newest message.
    """

    def __init__(self, fs: Sequence[SimpleFilter], queue_size: int) -> None:
        super().__init__()
        self.queue_size = queue_size
        self.lock = threading.Lock()
        self.queues: list[Queue] = [{} for _ in fs]
        for index, (source, queue) in enumerate(zip(fs, self.queues, strict=True)):
            source.registerCallback(self.add, queue, index)

    def add(self, message: Any, queue: Queue, index: int) -> None:
        """Take a message of input `index` and fire if it completes a set."""
        with self.lock:
            stamp_ns = _stamp_ns(message)
            self._keep(queue, stamp_ns, message)
            self._match(index, stamp_ns)

    def _keep(self, queue: Queue, stamp_ns: int, message: Any) -> None:
        queue[stamp_ns] = message
        while len(queue) > self.queue_size:
            del queue[min(queue)]

    def _match(self, index: int, stamp_ns: int) -> None:
        if all(stamp_ns in queue for queue in self.queues):
            self._fire([stamp_ns] * len(self.queues))

    def _fire(self, stamps_ns: Sequence[int]) -> None:
        messages = [queue.pop(stamp_ns) for queue, stamp_ns in zip(self.queues, stamps_ns, strict=True)]
        self.signalMessage(*messages)


class ApproximateTimeSynchronizer(TimeSynchronizer):
    """Fires with one message of each input once their stamps lie less than `slop` apart, the closest first.

    Args:
        fs: inputs.
        queue_size: messages kept per input.
        slop: seconds; a spread of exactly `slop` does not fire, so 0 never does.
    """

    def __init__(self, fs: Sequence[SimpleFilter], queue_size: int, slop: float) -> None:
        super().__init__(fs, queue_size)
        self._slop_ns = int(slop * 1e9)

    def _match(self, index: int, stamp_ns: int) -> None:
        candidates = [
            [stamp_ns]
            if i == index
            else sorted((s for s in queue if self._near(s, stamp_ns)), key=lambda s: abs(s - stamp_ns))
            for i, queue in enumerate(self.queues)
        ]
        for stamps_ns in itertools.product(*candidates):
            complete = all(s in queue for s, queue in zip(stamps_ns, self.queues, strict=True))
            if complete and max(stamps_ns) - min(stamps_ns) < self._slop_ns:
                self._fire(stamps_ns)
                return

    def _near(self, a_ns: int, b_ns: int) -> bool:
        return abs(a_ns - b_ns) <= self._slop_ns


def _stamp_ns(message: Any) -> int:
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
