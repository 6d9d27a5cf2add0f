# SPDX-License-Identifier: Apache-2.0
"""Drives of noise whose labels are what the tiny model predicts, as messages that are stored in any way."""

from typing import NamedTuple

import numpy as np

from recorders import ROS2, header, image, record
from road_kd_seg.bags.topics import CAMERA_INFO_TOPIC, COLOR_TOPIC, DEPTH_TOPIC, LABEL_TOPIC
from road_kd_seg.frame import Intrinsics

START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000
COUNT, HEIGHT, WIDTH = 5, 48, 80
CAMERA = Intrinsics(70.0, 70.0, 40.0, 24.0, WIDTH, HEIGHT)


class Moment(NamedTuple):
    rgb: np.ndarray
    depth_mm: np.ndarray
    label: np.ndarray


def raw_color(rgb, stamp_ns):
    return image(rgb, "rgb8", stamp_ns)


def raw_depth(depth_mm, stamp_ns):
    return image(depth_mm, "16UC1", stamp_ns)


def camera_info(stamp_ns, camera=CAMERA, frame_id="camera"):
    k = np.array([camera.fx, 0, camera.cx, 0, camera.fy, camera.cy, 0, 0, 1.0])
    region = ROS2.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    p, r = np.insert(k, [3, 6, 9], 0.0), np.eye(3).ravel()
    kind = ROS2.types["sensor_msgs/msg/CameraInfo"]
    head = header(stamp_ns, frame_id)
    return kind(head, camera.height, camera.width, "plumb_bob", np.zeros(5), k, r, p, 0, 0, region)


def records(
    drive,
    *,
    color=raw_color,
    depth=raw_depth,
    topics=(COLOR_TOPIC, DEPTH_TOPIC),
    stamp_ns=lambda n: START_NS + n * PERIOD_NS,
    info=None,
    labels=True,
):
    """Messages of a drive; what differs from a good recording is said by name."""
    for number, moment in enumerate(drive):
        log_ns, stamp = START_NS + number * PERIOD_NS, stamp_ns(number)
        yield record(topics[0], color(moment.rgb, stamp), log_ns)
        yield record(topics[1], depth(moment.depth_mm, stamp), log_ns + 1)
        if labels:
            yield record(LABEL_TOPIC, image(moment.label, "mono8", stamp), log_ns + 2)
        if info is not None:
            yield record(CAMERA_INFO_TOPIC, info(stamp), log_ns + 3)


def check_right(report, scored=COUNT):
    assert report["frames"]["published"] == COUNT
    assert report["frames"]["scored"] == scored
    assert report["metrics"]["miou"] == 1.0
