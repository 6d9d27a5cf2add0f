# SPDX-License-Identifier: Apache-2.0
"""A run and its scores as plain data: what report.json holds. What was not measured is None, never 0."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from road_kd_seg.bags.reader import BagReader
from road_kd_seg.bundle import WEIGHTS, Bundle
from road_kd_seg.environment import describe_environment
from road_kd_seg.errors import printable
from road_kd_seg.metrics import Counts, f1, frequency_weighted_iou, iou, mean_iou, precision, recall
from road_kd_seg.metrics.boundary import boundary_f1, mean_boundary_f1
from road_kd_seg.metrics.calibration import bin_centers, expected_calibration_error, precision_recall
from road_kd_seg.replay.calibrate import promise_outcome
from road_kd_seg.replay.compare import Contender, compare, own_intervals, pixels_of
from road_kd_seg.replay.gates import Gate
from road_kd_seg.replay.health import data_health
from road_kd_seg.replay.labels import LabelStore
from road_kd_seg.replay.obstacles import ObstacleScores
from road_kd_seg.replay.results import ReplayRun, Scores, summarize_latency
from road_kd_seg.replay.verdict import give_verdict
from road_kd_seg.taxonomy import Role
from road_kd_seg.thresholds import read_thresholds

CDF_STEPS = 50
"""Parts of equal share that a distribution is told in: 0 %, 2 %, … 100 %."""
SCHEMA_VERSION = 2
"""Rises when a key of report.json changes its meaning or goes away."""


@dataclass(frozen=True)
class Replay:
    """Everything that a report tells of."""

    bundle: Bundle
    run: ReplayRun
    scores: Scores
    ground_truth: LabelStore
    """By stamp; empty if nobody knows it."""
    ground_truth_source: str
    """Where it came from."""
    obstacles: ObstacleScores | None = None
    """None without labeled frames."""
    findings: tuple[Mapping[str, Any], ...] = ()
    """Of the bag doctor."""
    gates: tuple[Gate, ...] = ()
    """What is required of the run."""
    load_before: float | None = None
    """One-minute load average before the run began; None where the system does not tell."""
    baselines: tuple[Contender, ...] = ()
    """What to compare with."""
    unpromised: Mapping[str, str] = field(default_factory=dict)
    """By obstacle class that calibration gave no threshold: why."""

    def as_contender(self, report: Mapping[str, Any]) -> Contender:
        """This result, to compare another with."""
        names = tuple(self.bundle.taxonomy.names)
        return Contender(report, pixels_of(self.scores), names, self.run.labels)


def build_report(reader: BagReader, replay: Replay) -> dict[str, Any]:
    """The content of report.json.

    Args:
        reader: the bag, open.
        replay: what came of it.
    """
    run, bundle, scores = replay.run, replay.bundle, replay.scores
    counts = run.counts
    environment = describe_environment()
    report: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "mode": run.mode,
        "model": bundle.name,
        "model_info": {
            "network": bundle.network,
            "parameters": count_parameters(bundle),
            "weights_sha256": bundle.weights_sha256,
            "input_size": list(bundle.input.size),
            "depth": bundle.input.depth.kind if bundle.input.depth else None,
        },
        "device": run.device,
        "bag": {
            "name": printable(reader.path.resolve().name, 200),
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
        "metrics": build_metrics(scores, replay.obstacles, bundle.taxonomy.names),
        "metrics_note": _metrics_note(scores, replay.ground_truth_source),
        "period_ms": run.period_ms,
        "latency_ms": describe_latency(list(run.latency_ms.values()), run.latency_definition),
        "stages_ms": {name: _percentiles(times_ms) for name, times_ms in run.stages_ms.items()},
        "wall_s": run.wall_s,
        "notes": [*reader.notes, *run.notes],
        "load": {"before": replay.load_before, "cores": environment["cores"]},
        "environment": environment,
    }
    ours = replay.as_contender(report)
    if report["metrics"] is not None:
        report["metrics"]["intervals"] = own_intervals(ours)
    report["calibration"] = build_calibration(replay)
    report["promise"] = build_promise(replay, report["bag"]["name"])
    report["doctor"] = [dict(finding) for finding in replay.findings]
    report["data_health"] = data_health(reader.index, reader.names)
    report["comparison"] = [compare(ours, other) for other in replay.baselines]
    gates = [gate.check(report) for gate in replay.gates]
    report["gates"] = [{"gate": gate.gate, "value": gate.value, "met": gate.met} for gate in gates]
    report["verdict"] = give_verdict(report, gates)
    return report


def build_metrics(scores: Scores, obstacles: ObstacleScores | None, names: Sequence[str]) -> dict[str, Any] | None:
    """Accuracy by class and over all; None if no labeled pixel was scored."""
    if not scores.counts.any():
        return None
    per_class = {"iou": iou, "precision": precision, "recall": recall, "f1": f1}
    return {
        "miou": number(mean_iou(scores.counts)),
        "fwiou": number(frequency_weighted_iou(scores.counts)),
        "mean_boundary_f1": number(mean_boundary_f1(scores.boundary)),
        **{key: _by_name(names, measure(scores.counts)) for key, measure in per_class.items()},
        "boundary_f1": _by_name(names, boundary_f1(scores.boundary)),
        "confusion_matrix": scores.counts.tolist(),
        **_obstacle_metrics(obstacles, names),
    }


def _obstacle_metrics(obstacles: ObstacleScores | None, names: Sequence[str]) -> dict[str, Any]:
    if obstacles is None:
        return {"object_recall": dict.fromkeys(names), "by_distance": [], "steadiness": None}
    return {
        "object_recall": _by_name(names, _share(obstacles.all_objects)),
        "by_distance": [
            {
                "band_m": list(band_m),
                "recall": _by_name(names, _share(pixels)),
                "objects": dict(zip(names, objects[:, 1].tolist(), strict=True)),
                "object_recall": _by_name(names, _share(objects)),
            }
            for band_m, pixels, objects in zip(obstacles.bands_m, obstacles.pixels, obstacles.objects, strict=True)
        ],
        "steadiness": {
            "minutes": obstacles.minutes,
            "false_alarms": obstacles.false_alarms,
            "false_alarms_per_minute": obstacles.false_alarms / obstacles.minutes if obstacles.minutes else None,
            "objects_lasting": obstacles.lasting,
            "objects_lost": obstacles.lost,
            "flicker": number(obstacles.flicker),
        },
    }


def _share(counts: Counts) -> NDArray[np.float64]:
    """(..., 2) of found and all → (...) share; NaN where there is none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        share: NDArray[np.float64] = np.where(counts[..., 1] > 0, counts[..., 0] / counts[..., 1], np.nan)
    return share


def count_parameters(bundle: Bundle) -> int:
    """Trained numbers in its weights; statistics of batch norm are none."""
    with safe_open(bundle.path / WEIGHTS, framework="numpy") as tensors:
        return sum(
            math.prod(tensors.get_slice(name).get_shape())
            for name in tensors.keys()  # noqa: SIM118, no mapping
            if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
        )


def number(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return float(value) if math.isfinite(value) else None


def build_calibration(replay: Replay) -> dict[str, Any] | None:
    """How far confidences can be trusted, and what a higher `min_confidence` buys; None where nobody recorded them."""
    counts, labeled, scores = replay.run.confidence, replay.run.confidence_labeled, replay.scores
    if counts is None or labeled is None or not scores.counts.any():
        return None
    precision, recall = precision_recall(counts, labeled)
    total, right = counts.sum(0).T
    with np.errstate(invalid="ignore", divide="ignore"):
        accuracy = right / total
    obstacles = [c for c in replay.bundle.taxonomy.classes if c.role is Role.OBSTACLE]
    return {
        "expected_calibration_error": number(expected_calibration_error(counts)),
        "confidence": bin_centers().tolist(),
        "accuracy": [number(value) for value in accuracy],
        "share": (total / total.sum()).tolist(),
        "precision_recall": {
            c.name: {
                "precision": [number(value) for value in precision[c.id]],
                "recall": [number(value) for value in recall[c.id]],
            }
            for c in obstacles
        },
    }


def build_promise(replay: Replay, bag_name: str) -> dict[str, Any] | None:
    """What the bundle's thresholds promise and what became of it here; None for a bundle without, never calibrated."""
    thresholds = read_thresholds(replay.bundle)
    if thresholds is None:
        return {"classes": {}, "problems": dict(replay.unpromised)} if replay.unpromised else None
    promised = {key: getattr(thresholds, key) for key in ("max_missed", "share", "block_s", "precision", "recording")}
    outcome = promise_outcome(thresholds, replay.ground_truth, replay.run.labels, replay.bundle.taxonomy)
    same = thresholds.recording == bag_name
    return {**promised, "same_recording": same, **outcome, "problems": dict(replay.unpromised)}


def _percentiles(times_ms: Sequence[float]) -> dict[str, Any]:
    summary = summarize_latency(np.array(times_ms, np.float64))
    return {
        "p50": summary.p50,
        "p95": summary.p95,
        "p99": summary.p99,
        "samples": summary.samples,
        "cdf": [float(value) for value in np.percentile(times_ms, np.linspace(0, 100, CDF_STEPS + 1))]
        if len(times_ms)
        else [],
    }


def describe_latency(latency_ms: Sequence[float], definition: str) -> dict[str, Any]:
    """Percentiles of latencies, None where there are too few, and what they span."""
    latency = summarize_latency(np.array(latency_ms))
    return {
        "p50": latency.p50,
        "p95": latency.p95,
        "p99": latency.p99,
        "mean": latency.mean,
        "max": latency.max,
        "samples": latency.samples,
        "definition": definition,
        "notes": list(latency.notes),
    }


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


def _by_name(names: Sequence[str], values: NDArray[np.float64]) -> dict[str, float | None]:
    return {name: number(value) for name, value in zip(names, values.tolist(), strict=True)}
