"""A run and its scores → report.json, per_frame.csv and a report.html that needs no other file."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.bags.reader import BagReader
from road_kd_seg.bundle import Bundle
from road_kd_seg.environment import describe_environment
from road_kd_seg.metrics import f1, iou, mean_iou, precision, recall
from road_kd_seg.replay.labels import LabelStore
from road_kd_seg.replay.report.gallery import make_gallery
from road_kd_seg.replay.report.html import render_html
from road_kd_seg.replay.results import FrameScore, ReplayRun, Scores, summarize_latency

SCHEMA_VERSION = 2
"""Rises when a key of report.json changes its meaning or goes away."""


@dataclass(frozen=True)
class Replay:
    """Everything that a report tells of."""

    bundle: Bundle
    run: ReplayRun
    scores: Scores
    ground_truth: LabelStore
    """Empty if nobody knows it."""
    ground_truth_source: str
    """Where it came from."""


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


def build_report(reader: BagReader, replay: Replay) -> dict[str, Any]:
    """The report as plain data; what was not measured is None, never 0."""
    run, bundle, scores = replay.run, replay.bundle, replay.scores
    counts = run.counts
    latency = summarize_latency(np.array(list(run.latency_ms.values())))
    return {
        "schema_version": SCHEMA_VERSION,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "mode": run.mode,
        "model": bundle.name,
        "model_info": {
            "path": str(bundle.path),
            "network": bundle.network,
            "weights_sha256": bundle.weights_sha256,
            "input_size": list(bundle.input.size),
            "depth": bundle.input.depth.kind if bundle.input.depth else None,
        },
        "device": run.device,
        "bag": {
            "path": str(reader.path),
            "duration_s": reader.duration_ns / 1e9,
            "color": counts.sent,
            "color_with_depth": reader.index.num_with_depth,
            "topics": dict(sorted(reader.message_counts.items())),
        },
        "frames": {
            "sent": counts.sent,
            "received": counts.received,
            "published": counts.published,
            "dropped": dict(counts.dropped),
            "not_received": counts.not_received,
            "labeled": scores.num_labeled,
            "scored": len(scores.frames),
        },
        "metrics": _metrics(scores, bundle.taxonomy.names),
        "metrics_note": _metrics_note(scores, replay.ground_truth_source),
        "latency_ms": {
            "p50": latency.p50,
            "p95": latency.p95,
            "p99": latency.p99,
            "mean": latency.mean,
            "max": latency.max,
            "samples": latency.samples,
            "definition": run.latency_definition,
            "notes": list(latency.notes),
        },
        "wall_s": run.wall_s,
        "notes": list(run.notes),
        "environment": describe_environment(),
    }


def _metrics(scores: Scores, names: list[str]) -> dict[str, Any] | None:
    if not scores.counts.any():
        return None
    per_class = {"iou": iou, "precision": precision, "recall": recall, "f1": f1}
    metrics: dict[str, Any] = {key: _by_name(names, measure(scores.counts)) for key, measure in per_class.items()}
    return {"miou": _number(mean_iou(scores.counts)), **metrics, "confusion_matrix": scores.counts.tolist()}


def _metrics_note(scores: Scores, ground_truth_source: str) -> str:
    if not scores.num_labeled:
        return "n/a (0 labeled frames)"
    if not scores.counts.any():
        return f"n/a (none of the {scores.num_labeled} labeled frames was published, or all is ignored)"
    return (
        f"{len(scores.frames)} of {scores.num_labeled} labeled frames were published and scored"
        f" against {ground_truth_source}; pixels are summed over frames,"
        " the mean is over the classes that occur in the ground truth"
    )


def _by_name(names: list[str], values: NDArray[np.float64]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in zip(names, values.tolist(), strict=True)}


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None


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
