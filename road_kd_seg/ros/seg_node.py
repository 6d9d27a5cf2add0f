# SPDX-License-Identifier: Apache-2.0
"""Console script `seg_node`: the node in its own process."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from road_kd_seg.errors import RoadKdError, run_tool
from road_kd_seg.signals import StopSignal  # the other imports wait until signals are caught

_USAGE = """\
usage: seg_node [--help] [--ros-args [-p PARAMETER:=VALUE] [-r TOPIC:=TOPIC] [--params-file FILE] ...]

Segments road scenes from synchronized color and depth images, until Ctrl-C. docs/NODE.md describes its topics.

example:
  seg_node --ros-args -p model:=road_student -r color/image_raw:=/camera/camera/color/image_raw \\
    -r aligned_depth_to_color/image_raw:=/camera/camera/aligned_depth_to_color/image_raw

parameter file:
"""


def main() -> NoReturn:
    """Run the node until SIGINT, SIGTERM or the end of the context; exits with 0 then, 1 if it cannot even start."""
    stop = StopSignal()  # before anything slow, so that an early Ctrl-C is as clean as a late one
    from road_kd_seg.host import share_machine

    share_machine()
    code = run_tool(lambda: _run(sys.argv, stop))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # all is closed; taking down PyTorch's modules would take another 1 to 4 s on busy cores


def _run(argv: list[str], stop: StopSignal) -> int:
    from road_kd_seg.fastdds import check_middleware
    from road_kd_seg.share import share_file

    left_over = without_ros_arguments(argv)[1:]
    if "--help" in left_over or "-h" in left_over:
        print(_USAGE + share_file("config/seg.yaml").read_text(encoding="utf-8"))
        return 0
    if left_over:
        raise RoadKdError(
            f"arguments {' '.join(left_over)}: expected none before --ros-args; parameters are given as"
            " --ros-args -p NAME:=VALUE, and seg_node --help lists them"
        )
    check_middleware()
    try:
        from road_kd_seg.ros.process import run_node
    except ModuleNotFoundError as error:
        raise RoadKdError(
            f"Python package '{error.name}' is missing: source ROS 2 (source /opt/ros/DISTRO/setup.bash), or, without"
            " ROS, pip install 'road_kd_seg[ros]'"
        ) from error
    return run_node(argv, stop)


def without_ros_arguments(argv: list[str]) -> list[str]:
    """The arguments outside `--ros-args ... --`; rclpy, which has the same function, may not be installed."""
    rest, is_ros = [], False
    for argument in argv:
        if argument == "--ros-args":
            is_ros = True
        elif is_ros and argument == "--":
            is_ros = False
        elif not is_ros:
            rest.append(argument)
    return rest


if __name__ == "__main__":
    main()
