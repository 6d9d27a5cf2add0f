# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C between two steps: amid one it would leave half an update, and Python may drop it in a destructor."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], None]]:
    """Keep the first Ctrl-C until it is asked for; a second one acts at once.

    Outside the main thread, where Python allows no signal handlers, nothing is kept.

    Yields:
        A function that raises the KeyboardInterrupt that was kept, if any.
    """
    kept = False

    def keep(signum: int, frame: FrameType | None) -> None:
        nonlocal kept
        if kept:
            raise KeyboardInterrupt
        kept = True

    def raise_kept() -> None:
        if kept:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield raise_kept
        return
    before = signal.signal(signal.SIGINT, keep)
    try:
        yield raise_kept
    finally:
        signal.signal(signal.SIGINT, before)
