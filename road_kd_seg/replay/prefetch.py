# SPDX-License-Identifier: Apache-2.0
"""Work that is done beside other work, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")
_AHEAD = 2
"""Items that may wait: more would only take memory."""
_END: Any = object()


def prefetch(items: Iterable[T]) -> Iterator[T]:
    """The items in their order, each made in another thread while those before it are used."""
    iterator = iter(items)
    with ThreadPoolExecutor(1, "prefetch") as executor:
        waiting = deque(executor.submit(next, iterator, _END) for _ in range(_AHEAD))
        while (item := waiting.popleft().result()) is not _END:
            waiting.append(executor.submit(next, iterator, _END))
            yield item


class Afterwork:
    """Calls that are made in another thread, in their order; a context manager that ends with the last of them."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "afterwork")
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> Afterwork:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown()
        if error is None:
            self._settle(0)

    def call(self, function: Callable[[], None]) -> None:
        """Make a call later; waits while others still wait.

        Raises:
            Exception: whatever an earlier call raised.
        """
        self._settle(_AHEAD - 1)
        self._waiting.append(self._executor.submit(function))

    def _settle(self, most: int) -> None:
        """Wait until no more than this many calls are left."""
        while len(self._waiting) > most:
            self._waiting.popleft().result()
