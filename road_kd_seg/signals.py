# SPDX-License-Identifier: Apache-2.0
"""SIGINT and SIGTERM as a question that a loop asks: no exception in the middle of anything, exit code 0."""

from __future__ import annotations

import signal
from types import FrameType


class StopSignal:
    """Notes the first SIGINT or SIGTERM; a second one ends the process at once."""

    def __init__(self) -> None:
        self.received = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        for again in (signal.SIGINT, signal.SIGTERM):
            signal.signal(again, signal.SIG_DFL)
