"""Console script `seg_node`: the node in its own process."""

from __future__ import annotations

import os
import sys

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.logging import get_logger
from rclpy.signals import SignalHandlerOptions

from road_kd_seg.errors import RoadKdError, run_tool
from road_kd_seg.ros.signals import StopSignal, spin
from road_kd_seg.ros.transport import use_shared_memory_profile


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
            get_logger("road_seg").warning(warning)
        node = RoadSegNode()
        node.autostart()
        spin(node, stop)
        node.stop()
        node.destroy_node()
    except ParameterException as error:
        raise RoadKdError(f"parameters: {error}: correct the parameter file or the -p arguments") from error
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
