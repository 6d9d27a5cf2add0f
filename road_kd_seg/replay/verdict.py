# SPDX-License-Identifier: Apache-2.0
"""The report's first sentence: is it accurate, is it fast enough for this camera, does it do every frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from road_kd_seg.replay.gates import GateResult

FEW_FRAMES = 30
"""Below this many scored frames the warning says so: neighbors are alike, so they are worth fewer still."""
UNLABELED_SHARE = 0.2
"""Of the scored pixels that may be predicted as classes that no label holds; more are hardly mistakes."""
BUSY_SHARE = 0.5
"""One-minute load over cores, before the run, from which the machine counts as loaded."""


def give_verdict(report: dict[str, Any], gates: Sequence[GateResult]) -> dict[str, Any]:
    """Sentence, pass or fail, and what to mistrust.

    Args:
        report: metrics, latency_ms, frames, period_ms and load are read.
        gates: results of the requirements, if any were made.

    Returns:
        `sentence`, `passed` (None without requirements), `warnings`.
    """
    parts = [_accuracy(report), _speed(report), _share(report)]
    passed = all(gate.met for gate in gates) if gates else None
    if gates:
        met = sum(gate.met for gate in gates)
        parts.append(
            f"{'all' if passed else met} of {len(gates)} requirements met"
            if len(gates) > 1
            else f"the requirement {gates[0].gate} is {'met' if passed else 'not met'}"
        )
    sentence = "; ".join(part for part in parts if part)
    return {
        "sentence": f"{sentence}.",
        "passed": passed,
        "warnings": _warnings(report),
    }


def _accuracy(report: dict[str, Any]) -> str:
    metrics = report["metrics"]
    if metrics is None:
        return "Accuracy is unknown, because no labeled frame was scored"
    present = {name: value for name, value in metrics["iou"].items() if value is not None}
    worst = min(present, key=lambda name: present[name])
    return f"mIoU {metrics['miou']:.3f}, worst class {worst} at {present[worst]:.3f}"


def _speed(report: dict[str, Any]) -> str:
    latency, period_ms = report["latency_ms"], report["period_ms"]
    if latency["p50"] is None:
        return "no latency was measured"
    name = "p95" if latency["p95"] is not None else "p50"
    text = f"latency {latency['p50']:.0f} ms at the median"
    if name == "p95":
        text += f" and {latency['p95']:.0f} ms at p95"
    if period_ms is None:
        return text
    fits = latency[name] <= period_ms
    return f"{text}, {'within' if fits else 'above'} the camera's period of {period_ms:.0f} ms"


def _share(report: dict[str, Any]) -> str:
    frames = report["frames"]
    if not frames["sent"]:
        return "the bag holds no color image"
    return f"{100 * frames['published'] / frames['sent']:.0f} % of the frames predicted"


def _warnings(report: dict[str, Any]) -> list[str]:
    warnings = []
    scored, load, cores = report["frames"]["scored"], report["load"]["before"], report["load"]["cores"]
    if 0 < scored < FEW_FRAMES:
        warnings.append(f"few frames: {scored} were scored, so another drive may give another result")
    if missing := _unlabeled_classes(report["metrics"]):
        warnings.append(missing)
    if load is not None and load > BUSY_SHARE * cores:
        warnings.append(
            f"the machine was busy: load {load:.1f} on {cores} cores before the run, so its milliseconds are too high"
        )
    return warnings


def _unlabeled_classes(metrics: dict[str, Any] | None) -> str:
    """What to mistrust where labels are masks of some classes, and the others were not annotated; empty if nothing."""
    if metrics is None:
        return ""
    matrix = metrics["confusion_matrix"]
    predicted = {name: sum(column) for name, column in zip(metrics["iou"], zip(*matrix, strict=True), strict=True)}
    total = sum(predicted.values())
    unlabeled = [name for name, row in zip(metrics["iou"], matrix, strict=True) if predicted[name] and not sum(row)]
    share = sum(predicted[name] for name in unlabeled) / total
    if share <= UNLABELED_SHARE:
        return ""
    return (
        f"{100 * share:.0f} % of the labeled pixels are predicted as classes that no label holds"
        f" ({', '.join(unlabeled)}): if these were not annotated, mIoU says nothing; read the classes that were"
    )
