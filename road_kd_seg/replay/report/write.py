"""Write a report: report.json, per_frame.csv and a report.html that needs no other file."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

from road_kd_seg.bags.reader import BagReader
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
    folder.mkdir(parents=True, exist_ok=True)
    report = build_report(reader, replay)
    (folder / "report.json").write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    _write_per_frame(folder / "per_frame.csv", replay)
    pictures = make_gallery(reader, replay.run, replay.scores, replay.ground_truth, replay.bundle.taxonomy)
    page = render_html(report, replay.run, replay.scores, replay.bundle.taxonomy, pictures)
    (folder / "report.html").write_text(page, encoding="utf-8")
    return report


def _write_per_frame(path: Path, replay: Replay) -> None:
    """One row per color image of the bag."""
    names, run = replay.bundle.taxonomy.names, replay.run
    by_stamp: dict[int, FrameScore] = {frame.stamp_ns: frame for frame in replay.scores.frames}
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["stamp_ns", "published", "latency_ms", "miou", *(f"iou_{name}" for name in names)])
        for stamp_ns in run.stamps_ns:
            latency_ms, score = run.latency_ms.get(stamp_ns), by_stamp.get(stamp_ns)
            accuracy = [math.nan] * (1 + len(names)) if score is None else [score.miou, *score.iou.tolist()]
            latency = "" if latency_ms is None else f"{latency_ms:.3f}"
            published = int(stamp_ns in run.labels)
            table.writerow([stamp_ns, published, latency, *(f"{v:.4f}" if math.isfinite(v) else "" for v in accuracy)])
