# SPDX-License-Identifier: Apache-2.0
"""One thread, one slot: the newest item is processed next, older ones are superseded, nothing queues."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class NewestOnlyWorker(Generic[Item, Result]):
    """Runs `compute` and then `deliver` on its own thread, for the newest item offered.

    Every item offered ends in exactly one of four ways: delivered, `on_superseded`, `on_discarded` or `on_error`.
    """

    def __init__(
        self,
        compute: Callable[[Item], Result],
        deliver: Callable[[Item, Result], None],
        *,
        on_superseded: Callable[[Item], None],
        on_discarded: Callable[[Item], None],
        on_error: Callable[[Item, Exception], None],
    ) -> None:
        self._compute = compute
        self._deliver = deliver
        self._on_superseded = on_superseded
        self._on_discarded = on_discarded
        self._on_error = on_error
        self._changed = threading.Condition()
        self._waiting: Item | None = None
        self._current: Item | None = None
        self._current_discarded = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="segmentation", daemon=True)
        self._thread.start()

    def offer(self, item: Item) -> None:
        """Make `item` the next one; what waited is superseded."""
        with self._changed:
            superseded, self._waiting = self._waiting, item
            self._changed.notify_all()
        if superseded is not None:
            self._on_superseded(superseded)

    def discard(self, unwanted: Callable[[Item], bool]) -> None:
        """Forget the waiting item, and the result of the one in progress, if `unwanted` says so."""
        with self._changed:
            dropped = self._waiting if self._waiting is not None and unwanted(self._waiting) else None
            if dropped is not None:
                self._waiting = None
            if self._current is not None and unwanted(self._current):
                self._current_discarded = True
        if dropped is not None:
            self._on_discarded(dropped)

    def wait_until_idle(self) -> None:
        """Return once nothing waits and nothing is in progress; call it when nothing more is offered."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is None and self._current is None)

    def stop(self) -> None:
        """Discard everything and end the thread."""
        self.discard(lambda _: True)
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while (item := self._take()) is not None:
            try:
                result = self._compute(item)
                if self._is_discarded():
                    self._on_discarded(item)
                else:
                    self._deliver(item, result)
            except Exception as error:  # whatever it is, the thread must live on for the next frame
                self._on_error(item, error)
            with self._changed:
                self._current = None
                self._changed.notify_all()

    def _take(self) -> Item | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or self._stopping)
            self._current, self._waiting = self._waiting, None
            self._current_discarded = False
            return self._current

    def _is_discarded(self) -> bool:
        with self._changed:
            return self._current_discarded
