# SPDX-License-Identifier: Apache-2.0
"""`road-kd pseudo-label`: labels for frames that have none, made by a network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from jsonargparse import Namespace
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from road_kd_seg.files import write_file
from road_kd_seg.segmenter import Segmenter
from road_kd_training.commands.options import chosen_dataset
from road_kd_training.datasets.common.output import check_new_folder, new_folder
from road_kd_training.errors import DatasetError
from road_kd_training.label_sheets import write_sheets
from road_kd_training.provenance import describe_training
from road_kd_training.pseudo_label import PseudoLabels, write_pseudo_labels
from road_kd_training.terminal import plain_console

REPORT = "pseudo_labels.json"
MOSTLY = 0.5
"""A class of which less is above the confidence threshold deserves a warning."""


def run(options: Namespace) -> None:
    """Label, report, and draw the frames that a person should look at first.

    Raises:
        BundleError: the bundle is missing or damaged.
        DatasetError: bad options, nothing to label, or a folder that holds something or cannot be written.
    """
    if not 0 <= options.min_confidence <= 1 or options.sheets < 0:
        raise DatasetError(
            f"min_confidence is {options.min_confidence} and sheets {options.sheets}: expected a share from 0 to 1,"
            " and a number of pages that is not negative"
        )
    check_new_folder(Path(options.out).expanduser())
    console = plain_console()
    segmenter = Segmenter.from_bundle(options.model, device=options.device)
    dataset = chosen_dataset(options)
    out = new_folder(Path(options.out).expanduser())
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("labeling", total=len(dataset))
        result = write_pseudo_labels(
            segmenter,
            dataset,
            out,
            min_confidence=options.min_confidence,
            flip=options.flip,
            with_frames=options.with_frames,
            on_frame=lambda: progress.advance(task),
        )
    pages = write_sheets(out, dataset, segmenter, result, options.sheets)
    bundle = segmenter.bundle
    report = {
        "model": {"name": bundle.name, "weights_sha256": bundle.weights_sha256},
        "dataset": {"name": options.dataset, "options": options.options},
        "min_confidence": options.min_confidence,
        "flip": options.flip,
        **result.to_dict(segmenter.taxonomy),
        "environment": describe_training(),
    }
    # Last, so that its presence means that the labels are complete.
    write_file(out / REPORT, (json.dumps(report, indent=2) + "\n").encode(), error=DatasetError)
    _print(console, result, segmenter, out, pages)


def _print(console: Console, result: PseudoLabels, segmenter: Segmenter, out: Path, pages: int) -> None:
    names, kept = segmenter.taxonomy.names, result.kept()
    shares = np.mean([frame.shares for frame in result.frames], axis=0)
    ignored = float(np.mean([frame.ignored for frame in result.frames]))
    confidence = float(np.mean([frame.confidence for frame in result.frames]))
    table = Table(title=f"pseudo-labels of {segmenter.bundle.name}, mean confidence {confidence:.3f}")
    table.add_column("class", no_wrap=True)
    table.add_column("share of pixels", justify="right")
    table.add_column("above the threshold", justify="right")
    for name, share, sure in zip(names, shares, kept, strict=True):
        table.add_row(name, f"{share:.1%}", "never seen" if np.isnan(sure) else f"{sure:.1%}")
    table.add_section()
    table.add_row("ignored", f"{ignored:.1%}", "")
    console.print(table)
    lines = [f"labeled {len(result.frames)} frames; {result.labeled_already} have a label of their own"]
    if result.skipped:
        first = next(iter(result.skipped.items()))
        lines.append(f"{len(result.skipped)} cannot be segmented; the first, {first[0]}: {first[1]}")
    mostly = [name for name, sure in zip(names, kept, strict=True) if sure < MOSTLY]
    if mostly:
        lines.append(
            f"most of what the network takes for {', '.join(mostly)} is ignored: a model that is trained on the rest"
            " sees too little of it; lower --min-confidence"
        )
    if pages:
        lines.append(f"look at {out / 'contact_sheet.png'} ({pages} pages) and delete the labels that are wrong")
    lines.append(f"next: train on them with the dataset option labels={out / 'label'} part=labeled")
    console.print("\n".join(lines), soft_wrap=True)
