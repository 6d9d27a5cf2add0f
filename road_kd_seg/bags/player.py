# SPDX-License-Identifier: Apache-2.0
"""Console script `bag_player`: publishes a bag as it was recorded, where there is no `ros2 bag play`."""

from __future__ import annotations

import argparse
import sys

from road_kd_seg.errors import run_tool
from road_kd_seg.fastdds import parse_beside_ros


def main() -> int:
    """Play a bag: 0 at its end and on Ctrl-C, 1 for a bag that cannot be played."""
    return run_tool(_main)


def _main() -> int:
    arguments = parse_beside_ros(_parser())
    from road_kd_seg.bags.playback import play

    return play(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bag_player",
        description="Publish a rosbag2 in its original timing. ROS arguments (--ros-args -r a:=b) work.",
    )
    parser.add_argument("bag", help="rosbag2 folder, or an .mcap or .db3 file")
    parser.add_argument("--rate", type=_positive, default=1.0, help="speed; 0.5 plays at half the original one")
    parser.add_argument("--loop", action="store_true", help="start again at the end, until Ctrl-C")
    parser.add_argument("--clock", action="store_true", help="publish the bag's time on /clock, for use_sim_time nodes")
    parser.add_argument("--topics", nargs="+", metavar="TOPIC", help="play these topics only")
    parser.add_argument(
        "--wait-for-subscribers",
        type=_positive,
        metavar="SECONDS",
        help="do not start before somebody has subscribed; give up (exit code 1) after this time",
    )
    parser.add_argument(
        "--subscribers",
        type=int,
        default=1,
        metavar="N",
        help="with --wait-for-subscribers: wait for this many subscriptions over all topics",
    )
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
