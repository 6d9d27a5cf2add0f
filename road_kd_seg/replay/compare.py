# SPDX-License-Identifier: Apache-2.0
"""One model against others on the same frames: differences with intervals. N frames, K classes, Q quantities.

What is compared is what per_frame.csv holds, so an earlier report serves as well as a model that runs now.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.errors import RoadKdError
from road_kd_seg.files import read_file
from road_kd_seg.metrics import Counts
from road_kd_seg.metrics.bootstrap import block_bootstrap, block_length
from road_kd_seg.plain_data import parse_json
from road_kd_seg.replay.labels import LabelStore, read_label_folder
from road_kd_seg.replay.results import Scores

QUANTITIES = ("iou", "precision", "recall")
PREDICTIONS = "predictions"
"""Folder of kept label images beside a report."""
_MAX_REPORT_BYTES = 1 << 26
PIXELS = ("correct", "labeled", "predicted")
"""What a class's quantities follow from; columns of per_frame.csv, as `correct_px_CLASS`."""


@dataclass(frozen=True)
class Contender:
    """A model's result on a bag."""

    report: Mapping[str, Any]
    """What its report.json holds; model, model_info, metrics, latency_ms, frames and device are read."""
    pixels: Mapping[int, Counts]
    """By stamp, (K, 3): PIXELS of each class."""
    class_names: tuple[str, ...]
    predictions: LabelStore = field(default_factory=LabelStore)
    """By stamp; empty if they were not kept."""


def pixels_of(scores: Scores) -> dict[int, Counts]:
    """By stamp, (K, 3): pixels of each class that are correct, labeled and predicted as it."""
    return {
        frame.stamp_ns: np.stack([np.diag(frame.counts), frame.counts.sum(1), frame.counts.sum(0)], -1)
        for frame in scores.frames
    }


def read_contender(path: Path) -> Contender:
    """An earlier result: its report.json, the per_frame.csv beside it, and its predictions if they were kept.

    Raises:
        RoadKdError: one of them is missing, no such file, or from another version.
    """
    table = path.with_name("per_frame.csv")
    try:
        report = parse_json(read_file(path, _MAX_REPORT_BYTES), "it", _MAX_REPORT_BYTES)
        names = tuple((report["metrics"] or {"iou": {}})["iou"])
        rows = csv.DictReader(io.StringIO(read_file(table, _MAX_REPORT_BYTES).decode(), newline=""))
        pixels = {
            int(row["stamp_ns"]): np.array(
                [[int(row[f"{kind}_px_{name}"]) for kind in PIXELS] for name in names], np.int64
            )
            for row in rows
            if names and row[f"{PIXELS[0]}_px_{names[0]}"]
        }
        for key in ("model", "model_info", "latency_ms", "frames", "device"):
            report[key]
    except (RoadKdError, ValueError, KeyError, TypeError, AttributeError, OverflowError, csv.Error) as error:
        raise RoadKdError(
            f"--baseline {path}: {type(error).__name__}: {error}: expected the report.json of an earlier"
            f" replay_eval of this version, with {table.name} beside it"
        ) from error
    kept = path.with_name(PREDICTIONS)
    predictions = LabelStore.of(read_label_folder(kept)) if kept.is_dir() else LabelStore()
    # Named by its file: two reports may be of one model.
    return Contender({**report, "model": f"{report['model']} ({path})"}, pixels, names, predictions)


def compare(model: Contender, baseline: Contender) -> dict[str, Any]:
    """A model minus a baseline, over the frames that both scored.

    Returns:
        `model`, `device`, `metrics`, `latency_ms`, … of the other; `frames` in common; `delta` with `miou` and, by
        class, QUANTITIES: value, low and high of the 95 % interval (None where there is none); a `note`; and
        `agreement` of the predictions themselves, for which nobody needs labels.

    Raises:
        RoadKdError: the classes differ.
    """
    other = {key: baseline.report[key] for key in ("model", "model_info", "device", "latency_ms", "frames", "metrics")}
    other["agreement"] = _agreement(model.predictions, baseline.predictions)
    stamps_ns = sorted(model.pixels.keys() & baseline.pixels.keys())
    if not stamps_ns:
        return {**other, "common": 0, "delta": None, "note": "no frame was scored by both"}
    if model.class_names != baseline.class_names:
        raise RoadKdError(
            f"--baseline {other['model']}: its classes are {', '.join(baseline.class_names)},"
            f" expected {', '.join(model.class_names)}: models are compared class by class"
        )
    pairs = np.stack([[model.pixels[s], baseline.pixels[s]] for s in stamps_ns])  # (N, 2, K, 3)
    intervals = block_bootstrap(pairs, lambda sums: _quantities(sums[..., 0, :, :]) - _quantities(sums[..., 1, :, :]))
    cells = [
        {"value": _number(value), "low": _number(low), "high": _number(high)}
        for value, low, high in zip(intervals.value, intervals.low, intervals.high, strict=True)
    ]
    count = len(model.class_names)
    delta: dict[str, Any] = {"miou": cells[0]}
    for i, quantity in enumerate(QUANTITIES):
        delta[quantity] = dict(zip(model.class_names, cells[1 + i * count :], strict=False))
    return {**other, "common": len(stamps_ns), "delta": delta, "note": interval_note(stamps_ns)}


def _agreement(model: LabelStore, baseline: LabelStore) -> dict[str, Any] | None:
    """Share of equal pixels over the frames that both segmented at one size; None if there is none."""
    shares = [
        float((model.get(stamp_ns) == label).mean())
        for stamp_ns, label in baseline.items()
        if stamp_ns in model and model.get(stamp_ns).shape == label.shape
    ]
    return {"frames": len(shares), "pixels": float(np.mean(shares)), "worst": min(shares)} if shares else None


def own_intervals(contender: Contender) -> dict[str, Any]:
    """95 % intervals of a model's own mIoU and QUANTITIES, [low, high] each; None where there are too few frames."""
    stamps_ns = sorted(contender.pixels)
    intervals = block_bootstrap(np.stack([contender.pixels[s] for s in stamps_ns]), _quantities)
    ends = [
        None if not np.isfinite(low) else [float(low), float(high)]
        for low, high in zip(intervals.low, intervals.high, strict=True)
    ]
    count = len(contender.class_names)
    by_class = {
        quantity: dict(zip(contender.class_names, ends[1 + i * count :], strict=False))
        for i, quantity in enumerate(QUANTITIES)
    }
    return {"miou": ends[0], **by_class, "note": interval_note(stamps_ns)}


def interval_note(stamps_ns: Sequence[int]) -> str:
    """How the intervals were made, and when not to trust them."""
    length = block_length(len(stamps_ns))
    seconds = length * (max(stamps_ns) - min(stamps_ns)) / max(1, len(stamps_ns) - 1) / 1e9
    note = f"95 % intervals by bootstrap over blocks of {length} frames ({seconds:.1f} s)"
    if seconds < 1:
        note += "; neighbors within a second are alike, so blocks this short make intervals too narrow"
    return note


def _quantities(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., K, 3) summed pixels → (..., 1 + 3K): mIoU over the classes in the labels, then QUANTITIES by class."""
    correct, labeled, predicted = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        union = labeled + predicted - correct
        iou = np.where(union > 0, correct / union, np.nan)
        precision = np.where(predicted > 0, correct / predicted, np.nan)
        recall = np.where(labeled > 0, correct / labeled, np.nan)
        present = labeled > 0
        miou = np.where(present, iou, 0).sum(-1, keepdims=True) / present.sum(-1, keepdims=True)
    return np.concatenate([miou, iou, precision, recall], -1)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
