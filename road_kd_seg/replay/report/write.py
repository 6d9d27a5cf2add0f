# SPDX-License-Identifier: Apache-2.0
"""Write a report: report.json, per_frame.csv and a report.html that needs no other file."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

from road_kd_seg.bags.reader import BagReader
from road_kd_seg.files import write_file
from road_kd_seg.replay.compare import PIXELS, pixels_of
from road_kd_seg.replay.report.build import Replay, build_report
from road_kd_seg.replay.report.gallery import make_gallery
from road_kd_seg.replay.report.html import render_html
from road_kd_seg.replay.results import FrameScore


def write_report(folder: Path, reader: BagReader, replay: Replay) -> dict[str, Any]:
    """Write report.json, per_frame.csv and report.html.

    Args:
        folder: made if need be; older reports in it are replaced.
        reader: the bag, open; the pictures come from it.
        replay: what came of it.

    Returns:
        What report.json holds.
    """
    report = build_report(reader, replay)
    write_file(folder / "report.json", (json.dumps(report, indent=2, allow_nan=False) + "\n").encode())
    _write_per_frame(folder / "per_frame.csv", replay)
    pictures = make_gallery(reader, replay)
    depth_after_ms = reader.index.depth_after_ns / 1e6
    page = render_html(report, replay.run, replay.scores, replay.bundle.taxonomy, pictures, depth_after_ms)
    write_file(folder / "report.html", page.encode(errors="backslashreplace"))
    return report


def _write_per_frame(path: Path, replay: Replay) -> None:
    """One row per color image of the bag."""
    names, run = replay.bundle.taxonomy.names, replay.run
    by_stamp: dict[int, FrameScore] = {frame.stamp_ns: frame for frame in replay.scores.frames}
    pixels = pixels_of(replay.scores)
    nothing = [""] * (1 + len(names) * (1 + len(PIXELS)))
    text = io.StringIO(newline="")
    table = csv.writer(text)
    columns = [f"{kind}_px_{name}" for name in names for kind in PIXELS]
    table.writerow(["stamp_ns", "published", "latency_ms", "miou", *(f"iou_{name}" for name in names), *columns])
    for stamp_ns in run.stamps_ns:
        latency_ms, score = run.latency_ms.get(stamp_ns), by_stamp.get(stamp_ns)
        accuracy = nothing
        if score is not None:
            shares = (f"{v:.4f}" if math.isfinite(v) else "" for v in (score.miou, *score.iou.tolist()))
            accuracy = [*shares, *map(str, pixels[stamp_ns].ravel().tolist())]
        latency = "" if latency_ms is None else f"{latency_ms:.3f}"
        table.writerow([stamp_ns, int(stamp_ns in run.labels), latency, *accuracy])
    write_file(path, text.getvalue().encode(errors="backslashreplace"))
