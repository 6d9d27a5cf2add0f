# SPDX-License-Identifier: Apache-2.0
"""Console script `seg_view`: the node's rates and its overlay, on a machine without RViz and other ROS tools."""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from road_kd_seg.errors import FrameError, RoadKdError, printable, run_tool
from road_kd_seg.fastdds import parse_beside_ros, use_shared_memory_profile
from road_kd_seg.node_interface import NODE_NAME

OVERLAY_TOPIC = f"/{NODE_NAME}/overlay"
PERIOD_S = 1.0
"""Between two lines, and between two pictures."""


def main() -> int:
    """Run until Ctrl-C or for `--seconds`; 0, or 1 after one line on stderr."""
    return run_tool(_main)


def _main() -> int:
    return _view(parse_beside_ros(_parser()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "seg_view", description="Print a node's rates once a second, and save or show its overlay."
    )
    parser.add_argument("--topic", default=OVERLAY_TOPIC, help=f"sensor_msgs/Image to watch; default: {OVERLAY_TOPIC}")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep the newest image here (.jpg or .png)")
    parser.add_argument("--show", action="store_true", help="open a window; needs an OpenCV with windows and a display")
    parser.add_argument("--seconds", type=float, default=0.0, help="stop after this time; default: at Ctrl-C")
    return parser


def _view(options: argparse.Namespace) -> int:
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from rclpy.signals import SignalHandlerOptions
    from sensor_msgs.msg import Image

    from road_kd_seg.files import check_target
    from road_kd_seg.signals import StopSignal

    if options.save is not None and options.save.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        raise RoadKdError(f"--save {options.save}: expected a file that ends in .jpg or .png")
    if options.save is not None:
        check_target(options.save)
    stop = StopSignal()
    use_shared_memory_profile()
    rclpy.init(args=sys.argv, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("seg_view", start_parameter_services=False)
    images: list[Any] = []
    status: dict[str, str] = {}

    def on_diagnostics(array: DiagnosticArray) -> None:
        for each in array.status:
            if NODE_NAME in each.name:
                status.update({item.key: item.value for item in each.values}, message=each.message)

    newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    node.create_subscription(Image, options.topic, images.append, newest)
    node.create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, 10)
    saved = False
    begun = since = time.monotonic()
    try:
        while not stop.received and not 0 < options.seconds <= time.monotonic() - begun:
            rclpy.spin_once(node, timeout_sec=0.1)
            now = time.monotonic()
            if now - since >= PERIOD_S:
                print(describe(len(images) / (now - since), status), flush=True)
                if images:
                    saved = _picture(images[-1], options) or saved
                images.clear()
                since = now
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    print(f"next: {next_step(status, options.save if saved else None)}", flush=True)
    return 0


def describe(image_rate_hz: float, status: dict[str, str]) -> str:
    """One line: images seen here, and what the node says of itself; the latter is missing where nobody reports.

    Anybody may publish diagnostics: values that are missing or no numbers are shown as they are, in printable text.
    """
    text = f"overlay {image_rate_hz:.1f} Hz"
    if not status:
        return f"{text} · no seg_node on /diagnostics"
    said = defaultdict(lambda: "?", {key: printable(value, 200) for key, value in status.items()})
    dropped = sum(int(value) for key, value in said.items() if key.startswith("dropped.") and value.isdecimal())
    return (
        f"{text} · color {said['color_rate_hz']} Hz · published {said['published_rate_hz']} Hz"
        f" · latency p50 {said['latency_p50_ms']} ms, p95 {said['latency_p95_ms']} ms"
        f" · {said['published']} published, {dropped} dropped · {said['message']}"
    )


def next_step(status: dict[str, str], saved: Path | None) -> str:
    """What to do after what was seen."""
    if not status:
        return "start the node: seg_node --ros-args -p model:=road_student"
    if saved is None:
        return "--save FILE keeps the overlay, --show opens a window"
    return f"open {printable(saved)}"


def _picture(msg: Any, options: argparse.Namespace) -> bool:
    """Save and show an image, and tell whether it was saved; one that cannot be decoded is said and passed over."""
    import cv2
    import numpy as np

    from road_kd_seg.files import write_file
    from road_kd_seg.image_codec import decode_color

    if options.save is None and not options.show:
        return False
    data = np.frombuffer(msg.data, np.uint8)
    try:
        rgb = decode_color(msg.encoding, msg.height, msg.width, msg.step, msg.is_bigendian, data)
    except FrameError as error:
        print(f"{options.topic}: {error}", file=sys.stderr)
        return False
    bgr = np.ascontiguousarray(rgb[:, :, ::-1])
    if options.save is not None:
        write_file(options.save, cv2.imencode(options.save.suffix.lower(), bgr)[1].tobytes())
    if options.show:
        try:
            cv2.imshow("seg_view", bgr)
            cv2.waitKey(1)
        except cv2.error as error:
            raise RoadKdError(
                "--show: this OpenCV has no windows, or there is no display: use --save FILE"
                " (an image viewer that follows a file shows it live)"
            ) from error
    return options.save is not None


if __name__ == "__main__":
    sys.exit(main())
