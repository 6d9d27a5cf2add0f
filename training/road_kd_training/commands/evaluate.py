# SPDX-License-Identifier: Apache-2.0
"""`road-kd evaluate`: a bundle's score on a dataset."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from rich.table import Table

from road_kd_seg import metrics
from road_kd_seg.files import check_target, write_file
from road_kd_seg.metrics import boundary
from road_kd_seg.segmenter import Segmenter
from road_kd_seg.taxonomy import Taxonomy
from road_kd_training.commands.options import chosen_dataset
from road_kd_training.corruptions import Corrupted
from road_kd_training.datasets import BASELINES, DATASET_METRICS
from road_kd_training.errors import DatasetError
from road_kd_training.evaluate import BANDS_M, PER_CLASS, SUMMARIES, Score, check_classes, rounded, score_dataset
from road_kd_training.terminal import plain_console


def run(options: Namespace) -> None:
    """Print the score, the dataset's own metrics, and what needs no network beside it."""
    if options.boundary_px < 0:
        raise DatasetError(f"--boundary-px is {options.boundary_px}, expected 0 or more")
    if options.json is not None:
        check_target(Path(options.json), error=DatasetError)
    console = plain_console()
    segmenter = Segmenter.from_bundle(options.model, device=options.device)
    dataset = chosen_dataset(options)
    scored = Corrupted(dataset, options.corruption) if options.corruption else dataset
    check_classes(segmenter, dataset, options.dataset)
    dataset_metric = DATASET_METRICS[options.dataset]() if options.dataset in DATASET_METRICS else None
    score = score_dataset(
        segmenter,
        scored,
        dataset_metric=dataset_metric,
        boundary_px=options.boundary_px,
        show_progress=console.is_terminal,
    )
    under = f" under {options.corruption}" if options.corruption else ""
    console.print(score_table(score, segmenter.taxonomy, f"{segmenter.bundle.name} on {options.dataset}{under}"))
    if score.band_counts is not None:
        console.print(distance_table(score, segmenter.taxonomy))
    if score.dataset_metrics:
        console.print(dataset_metrics_table(score, options.dataset))
    report: dict[str, Any] = {
        "model": segmenter.bundle.name,
        "corruption": options.corruption,
        **score.to_dict(segmenter.taxonomy),
    }
    if options.dataset in BASELINES:
        baseline = BASELINES[options.dataset](dataset)
        console.print(baseline["description"])
        report["baseline"] = baseline
    if options.json is not None:
        text = json.dumps(report, indent=2, allow_nan=False) + "\n"
        write_file(Path(options.json), text.encode(), error=DatasetError)
    console.print(
        f"next: a drive instead of a dataset: replay_eval BAG --model {options.model} --out REPORT", soft_wrap=True
    )


def score_table(score: Score, taxonomy: Taxonomy, title: str) -> Table:
    """Classes that occur in the ground truth, then the means."""
    table = Table(title=f"{title}, {score.frames} frames")
    table.add_column("class", no_wrap=True)
    for column in ("IoU", "F1", "precision", "recall", f"boundary F1\n({score.boundary_px} px)"):
        table.add_column(column, justify="right")
    boundary_counts = score.boundary_counts
    values = [of(score.counts) for of in PER_CLASS.values()]
    values += [] if boundary_counts is None else [boundary.boundary_f1(boundary_counts)]
    for item in taxonomy.classes:
        if score.counts[item.id].any():
            table.add_row(item.name, *cells([of[item.id] for of in values]))
    table.add_section()
    means = [SUMMARIES[name](score.counts) for name in ("miou", "mean_f1", "mean_precision", "mean_recall")]
    means += [] if boundary_counts is None else [boundary.mean_boundary_f1(boundary_counts)]
    table.add_row("mean over these", *cells(means))
    weighted = [metrics.frequency_weighted_iou(score.counts), metrics.frequency_weighted_f1(score.counts)]
    table.add_row("weighted by pixels", *cells(weighted))
    return table


def distance_table(score: Score, taxonomy: Taxonomy) -> Table:
    """IoU of each class that occurs, by distance."""
    table = Table(title="IoU by distance along the optical axis")
    table.add_column("class", no_wrap=True)
    for near, far in BANDS_M:
        table.add_column(f"{near:g}-{far:g} m" if math.isfinite(far) else f"beyond {near:g} m", justify="right")
    bands = [] if score.band_counts is None else [metrics.iou(counts) for counts in score.band_counts]
    for item in taxonomy.classes:
        if score.counts[item.id].any():
            table.add_row(item.name, *cells([values[item.id] for values in bands]))
    return table


def dataset_metrics_table(score: Score, dataset: str) -> Table:
    """The dataset's own metrics."""
    table = Table(title=f"as the {dataset} benchmark scores")
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name, value in score.dataset_metrics.items():
        table.add_row(name, *cells([value]))
    return table


def cells(values: Sequence[float]) -> list[str]:
    """Four digits each; n/a where there was nothing to score."""
    return ["n/a" if rounded(value) is None else f"{value:.4f}" for value in values]
