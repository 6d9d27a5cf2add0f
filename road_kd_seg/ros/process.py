# SPDX-License-Identifier: Apache-2.0
"""The process around the node: ROS context, command line, signals, end."""

from __future__ import annotations

import os
import re
import warnings
from typing import TYPE_CHECKING

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.logging import LoggingSeverity, get_logger, set_logger_level
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from road_kd_seg.errors import RoadKdError, printable, shown
from road_kd_seg.fastdds import remove_orphaned_segments, use_shared_memory_profile
from road_kd_seg.node_interface import NODE_NAME
from road_kd_seg.signals import StopSignal

if TYPE_CHECKING:
    from road_kd_seg.ros.node import RoadSegNode

_WAKE_S = 0.1
"""How long a signal may go unnoticed while no message comes."""

_THROTTLE_S = 5.0

_NEXT = "next: record the camera with ros2 bag record; replay_eval BAG --live tells where frames and time went"

_MAX_DOMAIN_ID = 232
"""Above, the ports that DDS computes do not exist, and Fast DDS ends the process."""

_SWITCHES = ("RCUTILS_COLORIZED_OUTPUT", "RCUTILS_LOGGING_BUFFERED_STREAM", "RCUTILS_LOGGING_USE_STDOUT")
"""With another value than 0 and 1 the log stays silent, after hundreds of lines of complaint."""


def run_node(argv: list[str], stop: StopSignal) -> int:
    """Run the node until `stop` or the end of the context; returns 0.

    Args:
        argv: command line with `--ros-args`.
        stop: asked between any two steps.

    Raises:
        RoadKdError: ROS or the node refuses the command line, the parameters or the environment.
    """
    try:
        node = _start(argv, stop)
        if node is None:
            return 0
        if not stop.received:
            node.autostart()
        _spin(node, stop)
        node.stop()
        node.get_logger().info(_NEXT)
        node.destroy_node()
    finally:
        rclpy.try_shutdown()
    return 0


def _start(argv: list[str], stop: StopSignal) -> RoadSegNode | None:
    """The node, unconfigured, on a new default context; None after a signal."""
    _check_environment()
    warning = use_shared_memory_profile()
    orphaned = remove_orphaned_segments()
    try:
        _check_arguments(argv)
        rclpy.init(args=argv, signal_handler_options=SignalHandlerOptions.NO)
        if warning:
            get_logger(NODE_NAME).warning(warning)
        if stop.received:
            return None
        # Only here, as it imports PyTorch: what is wrong with the command line is said at once.
        from road_kd_seg.ros import parameters
        from road_kd_seg.ros.node import RoadSegNode

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # rclpy's, of half a node whose error comes next
            node = RoadSegNode()
        parameters.refuse_unknown(node, argv)
        if orphaned:
            node.get_logger().info(f"removed {orphaned} shared-memory segments of processes that were killed")
    except ParameterException as error:
        raise RoadKdError(f"parameters: {error}: correct the parameter file or the -p arguments") from error
    except RuntimeError as error:  # RCLError and UnknownROSArgsError are such
        raise RoadKdError(f"ROS 2 does not start: {_explain(error)}") from error
    return node


def _check_environment() -> None:
    """Refuse variables that ROS or the middleware misread, complain of by the page, or end the process for."""
    domain_id = os.environ.get("ROS_DOMAIN_ID", "").strip()
    if domain_id and not (re.fullmatch("[0-9]{1,9}", domain_id) and int(domain_id) <= _MAX_DOMAIN_ID):
        raise RoadKdError(
            f"ROS_DOMAIN_ID is {shown(domain_id)}, expected a number from 0 to {_MAX_DOMAIN_ID}:"
            " export another one, or unset it"
        )
    if not any(os.environ.get(name) for name in ("HOME", "ROS_HOME", "ROS_LOG_DIR")):
        raise RoadKdError("HOME is not set, so there is no log folder: set ROS_LOG_DIR to a folder that can be written")
    for name in _SWITCHES:
        if (value := os.environ.get(name, "")) not in ("", "0", "1"):
            raise RoadKdError(f"{name} is {shown(value)}, expected 0 or 1: export one of them, or unset it")


def _check_arguments(argv: list[str]) -> None:
    """Parse the arguments as init does, which would log in addition to raising."""
    for argument in argv:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise RoadKdError(f"argument {shown(argument)} is no UTF-8 text: write it in this locale again") from error
    set_logger_level("rcl", LoggingSeverity.FATAL)
    try:
        remove_ros_args(argv)
    finally:
        set_logger_level("rcl", LoggingSeverity.UNSET)


def _explain(error: RuntimeError) -> str:
    """What rcl said, without the places in its source, and what to do about it."""
    if type(error).__name__ == "UnknownROSArgsError":
        return f"unknown ROS arguments {error}: expected -p, -r, --params-file, --log-level, … after --ros-args"
    text = " ".join(re.sub(r"(,? at \S+\.\w+:\d+)|( Error: )?error not set", "", str(error)).split()).rstrip(" :.")
    if "resolve peer" in text:
        return f"{text}: correct ROS_STATIC_PEERS, addresses or host names with ; between them"
    if "log" in text and "directory" in text:
        return f"{text}: set ROS_LOG_DIR to a folder that can be written"
    if "security libraries" in text:
        return (
            f"{text}: it is of a package that was built without SROS 2, as PyPI's wheels are: take the distribution's,"
            " or unset ROS_SECURITY_ENABLE"
        )
    if os.environ.get("ROS_SECURITY_ENABLE") == "true":
        keystore = os.environ.get("ROS_SECURITY_KEYSTORE", "")
        return (
            f"{text}: SROS 2 is on (ROS_SECURITY_ENABLE) and ROS_SECURITY_KEYSTORE is '{keystore}': set it to one"
            " that holds this node's enclave, or unset ROS_SECURITY_ENABLE"
        )
    return f"{text}: correct what stands after --ros-args (seg_node --help shows an example)"


def _spin(node: Node, stop: StopSignal) -> None:
    """Run a node's callbacks on this thread until a signal comes or the context is shut down."""
    # Never the multi-threaded executor: it re-submits queued tasks and reached 2 Hz where this one reaches 30.
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while rclpy.ok() and not stop.received:
            try:
                executor.spin_once(timeout_sec=_WAKE_S)
            except ExternalShutdownException:
                raise
            except Exception as error:  # of a callback that rclpy made: /clock with a negative time ends in one
                text = printable(f"a message or a request was dropped: {type(error).__name__}: {error}")
                node.get_logger().error(text, throttle_duration_sec=_THROTTLE_S)
    except ExternalShutdownException:
        pass
    finally:
        executor.shutdown()
