# SPDX-License-Identifier: Apache-2.0
"""One of our nodes in a process of its own, with its log in a file."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from road_kd_seg.errors import RoadKdError

_LOG_PREFIX = re.compile(r"^\[\w+\] \[[\d.]+\] \[[^\]]*\]: ")
_RUN_MODULE = (
    "import sys; sys.path.pop(0); import runpy; runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)
"""`python -m` that imports nothing from the working directory, as with `-P` from Python 3.11 on: where a bag lies, an
rclpy.py may lie as well."""
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class ChildProcess:
    """`python -m module arguments`, stopped with SIGINT at the end of the `with` block at the latest."""

    def __init__(self, module: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.name = module.rpartition(".")[2]
        self.log = log
        command = [sys.executable, "-c", _RUN_MODULE, module, *arguments]
        with log.open("w", encoding="utf-8") as stream:
            # A session of its own: Ctrl-C reaches the parent only, which then stops its children in order.
            self._process = subprocess.Popen(
                command, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL, env=environment, start_new_session=True
            )

    def __enter__(self) -> ChildProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(timeout_s=5.0)

    @property
    def return_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def lines(self) -> list[str]:
        """What it has logged so far, without the time stamps and colors of ROS."""
        text = _ANSI.sub("", self.log.read_text(encoding="utf-8", errors="replace"))
        return [_LOG_PREFIX.sub("", line) for line in text.splitlines() if line.strip()]

    def failure(self, what: str) -> RoadKdError:
        """An error that ends with the last thing the process said."""
        last = (self.lines() or ["it said nothing"])[-1]
        return RoadKdError(f"{self.name} {what}; its last line: {last.removeprefix('error: ')} (all of it: {self.log})")

    def check_alive(self) -> None:
        """Raise if it has ended.

        Raises:
            RoadKdError: with its exit code and last line.
        """
        if self.return_code is not None:
            raise self.failure(f"ended with exit code {self.return_code}")

    def interrupt(self) -> None:
        """Ask it to stop, as Ctrl-C does."""
        if self.return_code is None:
            self._process.send_signal(signal.SIGINT)

    def stop(self, timeout_s: float) -> None:
        """Ask it to stop, and kill it if it has not within the time."""
        self.interrupt()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
