# SPDX-License-Identifier: Apache-2.0
"""Console script `replay_eval`: a bag and a model in, a report out."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from road_kd_seg.bags.topics import TopicNames
from road_kd_seg.errors import run_tool
from road_kd_seg.host import share_machine


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool; 0, or 1 after one line on stderr or a line for each requirement that is not met."""
    options = _parser().parse_args(arguments)

    def evaluate() -> int:
        share_machine()
        # Decoding beside the model holds Python's lock in short turns; 5 ms, the default, is half a frame's time.
        sys.setswitchinterval(1e-4)
        # After parsing: with PyTorch, --help would take seconds.
        from road_kd_seg.replay.dispatch import run

        return run(options)

    return run_tool(evaluate)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("replay_eval", description="Score a model on a bag and write a report.")
    parser.add_argument(
        "bag", type=Path, nargs="+", help="rosbag2 folder, .mcap, .db3 or .bag file; several give a pooled report too"
    )
    parser.add_argument("--model", default="road_student", help="model bundle: a folder, or the name of a shipped one")
    parser.add_argument("--out", type=Path, required=True, help="folder for report.html, report.json, per_frame.csv")
    parser.add_argument("--live", action="store_true", help="run seg_node and bag_player on ROS 2 instead of the model")
    parser.add_argument(
        "--labels", type=Path, help="folder of <header stamp in ns>.png; default: the bag's label topic"
    )
    parser.add_argument(
        "--label-map", metavar="VALUE=CLASS,…", help="what the values of --labels mean, such as 255=negative_obstacle"
    )
    parser.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="GATE",
        help="exit 1 unless it holds, such as 'iou/negative_obstacle>=0.6', 'recall/negative_obstacle@0-5m>=0.9'"
        " or 'latency_ms/p99<=50'; may be repeated",
    )
    parser.add_argument(
        "--baseline",
        action="append",
        default=[],
        metavar="MODEL_OR_REPORT",
        help="compare with another model on the same frames, or with an earlier run's report.json; may be repeated",
    )
    parser.add_argument(
        "--calibrate",
        metavar="miss=P",
        help="before the run, pick thresholds on the labeled bag so that at most this share of an obstacle's pixels is"
        " missed (in 9 of 10 blocks of 5 s), and write them into the bundle, which the node then uses",
    )
    parser.add_argument("--workers", type=_workers, default=1, help="evaluate this many of several bags at a time")
    parser.add_argument(
        "--ray", metavar="ADDRESS", help="with several bags: on a Ray cluster ('local': one on this machine) instead"
    )
    parser.add_argument(
        "--overlay", action="store_true", help="write OUT/overlay/overlay.mcap: predictions for RViz and Foxglove"
    )
    parser.add_argument("--rerun", action="store_true", help="write OUT/replay.rrd for the Rerun viewer (extra: rerun)")
    parser.add_argument(
        "--obstacles",
        action="store_true",
        help="write OUT/obstacles.csv and .geojson, every obstacle once, with depth, area and volume of potholes;"
        " and obstacles.json, frame by frame",
    )
    parser.add_argument("--save-predictions", action="store_true", help="keep the predicted labels in OUT/predictions")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--precision", default="auto", help="auto, fp32, fp16 or bf16")
    parser.add_argument("--backend", default="auto", help="inference engine: auto, torch, onnx or openvino")
    parser.add_argument(
        "--slop-s", type=_not_negative, help="stamp difference of color and depth; default: half a frame"
    )
    parser.add_argument(
        "--require-same-frame",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="refuse depth of another frame id than color's, which is not aligned",
    )
    parser.add_argument("--rate", type=_positive, default=1.0, help="with --live: play this many times as fast")
    parser.add_argument(
        "--domain-id",
        type=_domain_id,
        metavar="0..101",
        help="with --live: ROS domain; default: one of its own",
    )
    defaults = TopicNames()
    for name in ("color", "depth", "camera_info", "label"):
        default = getattr(defaults, name)
        parser.add_argument(f"--{name.replace('_', '-')}-topic", default=default, help=f"default: {default}")
    return parser


def _domain_id(text: str) -> int:
    if not text.isdecimal() or int(text) > 101:
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number from 0 to 101")
    return int(text)


def _workers(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no positive whole number")
    return int(text)


def _positive(text: str) -> float:
    if (value := _not_negative(text)) == 0:
        raise argparse.ArgumentTypeError("it must be above 0")
    return value


def _not_negative(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no positive number")
    return value


if __name__ == "__main__":
    sys.exit(main())
