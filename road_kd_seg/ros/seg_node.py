"""Console script `seg_node`: the node in its own process."""

from __future__ import annotations

import os
import sys

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from road_kd_seg.errors import RoadKdError, run_tool
from road_kd_seg.fastdds import use_shared_memory_profile
from road_kd_seg.node_interface import NODE_NAME
from road_kd_seg.signals import StopSignal

_WAKE_S = 0.1
"""How long a signal may go unnoticed while no message comes."""


def main() -> int:
    """Run the node until SIGINT, SIGTERM or the end of the context; 0 then, 1 if it cannot even start."""
    return run_tool(_run)


def _run() -> int:
    # The cores are shared with the camera driver: OpenMP threads that spin while they wait would take them from it.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    stop = StopSignal()  # before the slow imports, so that an early Ctrl-C is as clean as a late one
    from road_kd_seg.ros.node import RoadSegNode

    warning = use_shared_memory_profile()
    rclpy.init(args=sys.argv, signal_handler_options=SignalHandlerOptions.NO)
    try:
        if warning:
            get_logger(NODE_NAME).warning(warning)
        node = RoadSegNode()
        node.autostart()
        _spin(node, stop)
        node.stop()
        node.destroy_node()
    except ParameterException as error:
        raise RoadKdError(f"parameters: {error}: correct the parameter file or the -p arguments") from error
    finally:
        rclpy.try_shutdown()
    return 0


def _spin(node: Node, stop: StopSignal) -> None:
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


if __name__ == "__main__":
    sys.exit(main())
