# SPDX-License-Identifier: Apache-2.0
"""The real node at a camera's rate: seg_node, bag_player and a recorder as three processes on one machine."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from road_kd_seg.bundle import load_bundle
from road_kd_seg.errors import RoadKdError
from road_kd_seg.frame import LabeledFrame
from road_kd_seg.synthetic.drive import DriveConfig, render_drive

DRIVE_SEED = 2_000_001
NUM_RENDERED = 20
SECONDS = 10
_MASKS = ("/road_seg/obstacle_mask", "/road_seg/lane_mask")


def time_node(model: str, rate_hz: float, device: str = "auto") -> dict[str, Any]:
    """Play `SECONDS` of color and depth of 576x1024 to a node, with its label and both masks subscribed.

    Returns:
        A row of the report. Latency is from the player's publication of the color image to the node's of its label.

    Raises:
        RoadKdError: rclpy or rosbags is not installed, or a process failed.
    """
    try:
        from road_kd_seg.bags.reader import BagReader
        from road_kd_seg.bags.writer import write_bag
        from road_kd_seg.replay.live import LiveOptions, replay_live
    except ModuleNotFoundError as error:
        raise RoadKdError(
            f"--node needs '{error.name}': source ROS 2, or pip install 'road_kd_seg[ros,replay]', or leave it out"
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        write_bag(Path(folder) / "bag", _frames(rate_hz), with_labels=False)
        options = LiveOptions(device=device, also_subscribe=_MASKS)
        with BagReader(Path(folder) / "bag") as reader:
            run = replay_live(reader, load_bundle(model), Path(folder) / "run", options, lambda *_: None)
    counts, latencies_ms = run.counts, list(run.latency_ms.values())
    p50_ms, p95_ms = np.percentile(latencies_ms, (50, 95)) if latencies_ms else (np.nan, np.nan)
    return {
        "rate_hz": rate_hz,
        "device": run.device,
        "sent": counts.sent,
        "received": counts.received,
        "published": counts.published,
        "dropped": dict(counts.dropped),
        "latency_p50_ms": round(float(p50_ms), 2),
        "latency_p95_ms": round(float(p95_ms), 2),
    }


def _frames(rate_hz: float) -> Iterator[LabeledFrame]:
    """A drive that is rendered once and repeated, with rising stamps."""
    drive = list(render_drive(DriveConfig(DRIVE_SEED, NUM_RENDERED, rate_hz)))
    first_ns = drive[0].frame.stamp_ns
    for number, item in zip(range(round(SECONDS * rate_hz)), itertools.cycle(drive), strict=False):
        stamp_ns = first_ns + round(number * 1e9 / rate_hz)
        yield LabeledFrame(dataclasses.replace(item.frame, stamp_ns=stamp_ns), None)
