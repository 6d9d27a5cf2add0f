"""`road-kd evaluate`: a bundle's score on a dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.table import Table

from road_kd_seg.metrics import iou
from road_kd_seg.segmenter import Segmenter
from road_kd_training.commands.options import add_dataset, chosen_dataset
from road_kd_training.datasets import BASELINES
from road_kd_training.evaluate import score_dataset

HELP = "score a bundle on a dataset"


def build_parser() -> ArgumentParser:
    """A dataset, a bundle, a device and where to write."""
    parser = ArgumentParser(description="Score a bundle on a dataset, at the camera's resolution.")
    add_dataset(parser)
    parser.add_argument("--model", default="road_student", help="a bundle's folder, or the name of a shipped one")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--json", default=None, help="also write the score to this file")
    return parser


def run(options: Namespace) -> None:
    """Print the score, and what needs no network beside it."""
    console = Console()
    segmenter = Segmenter.from_bundle(options.model, device=options.device)
    dataset = chosen_dataset(options)
    score = score_dataset(segmenter, dataset)
    table = Table("class", "IoU", title=f"{segmenter.bundle.name} on {options.dataset}, {score.frames} frames")
    for item, value in zip(segmenter.taxonomy.classes, iou(score.counts), strict=True):
        if score.counts[item.id].any():
            table.add_row(item.name, f"{value:.4f}")
    table.add_row("mean over these", f"{score.miou:.4f}")
    console.print(table)
    report: dict[str, Any] = {"model": segmenter.bundle.name, **score.to_dict(segmenter.taxonomy)}
    if options.dataset in BASELINES:
        baseline = BASELINES[options.dataset](dataset)
        console.print(baseline["description"])
        report["baseline"] = baseline
    if options.json is not None:
        Path(options.json).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
