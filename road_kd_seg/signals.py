# SPDX-License-Identifier: Apache-2.0
"""SIGINT, SIGTERM and SIGHUP as a question that a loop asks: no exception in the middle of anything, exit code 0."""

from __future__ import annotations

import signal
from types import FrameType


class StopSignal:
    """Notes the first SIGINT, SIGTERM or SIGHUP (a terminal was closed); a second one ends the process at once."""

    def __init__(self) -> None:
        self.received = False
        self._numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup asks
            self._numbers.append(signal.SIGHUP)
        for number in self._numbers:
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        for again in self._numbers:
            signal.signal(again, signal.SIG_DFL)
