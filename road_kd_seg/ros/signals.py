"""SIGINT and SIGTERM as a question that a loop asks: no exception in the middle of anything, exit code 0."""

from __future__ import annotations

import signal
from types import FrameType

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

_WAKE_S = 0.1
"""How long a signal may go unnoticed while no message comes."""


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


def spin(node: Node, stop: StopSignal) -> None:
    """Run a node's callbacks on this thread until a signal comes or the context is shut down."""
    # Never the multi-threaded executor: it re-submits queued tasks and reached 2 Hz where this one reaches 30.
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while rclpy.ok() and not stop.received:
            executor.spin_once(timeout_sec=_WAKE_S)
    except ExternalShutdownException:
        pass
    finally:
        executor.shutdown()
