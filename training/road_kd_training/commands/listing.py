# SPDX-License-Identifier: Apache-2.0
"""`road-kd list`: what there is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace
from rich.table import Column, Table

from road_kd_seg.networks.common.summary import summarize_networks
from road_kd_training.summaries import summarize_datasets, summarize_experiments, summarize_methods
from road_kd_training.terminal import plain_console

NEXT = {
    "networks": "in a recipe, network: {name: NAME}",
    "distillers": "in a recipe, distillers: [{method: NAME}]",
    "datasets": "road-kd evaluate NAME root=FOLDER, or in a recipe, train: [{dataset: NAME}]",
    "experiments": "road-kd reproduce ID --dry-run",
}


def run(options: Namespace) -> None:
    """Print one table."""
    listings = {"networks": _networks, "distillers": _distillers, "datasets": _datasets, "experiments": _experiments}
    listings[options.what](Path(options.data_root))
    if plain_console().is_terminal:  # pipes get rows alone
        print(f"next: {NEXT[options.what]}")


def _networks(data_root: Path) -> None:
    table = Table(
        Column("name", no_wrap=True),
        "paper",
        "parameters",
        "GFLOPs at 576x1024",
        "modalities",
        "taps (channels, stride)",
    )
    for row in summarize_networks():
        taps = ", ".join(f"{name} ({tap.channels}, {tap.stride})" for name, tap in row.taps.items())
        modalities = "+".join(row.modalities)
        table.add_row(row.name, row.paper, f"{row.parameters:,}", f"{row.gflops:.1f}", modalities, taps)
    plain_console().print(table)


def _distillers(data_root: Path) -> None:
    table = Table(Column("name", no_wrap=True), "paper", "needs", "terms (default weight)")
    for row in summarize_methods():
        table.add_row(row.name, row.paper, row.describe_needs(), row.describe_terms())
    plain_console().print(table)


def _datasets(data_root: Path) -> None:
    rows = [(one.name, one.title, one.splits, one.options, one.depth, one.license) for one in summarize_datasets()]
    _print(("name", "what", "splits", "options", "depth", "license"), rows)


def _experiments(data_root: Path) -> None:
    rows = [(one.id, one.title, one.data, one.availability) for one in summarize_experiments(data_root)]
    _print(("id", "title", "data at full scale", f"in {data_root}"), rows)


def _print(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table for people; for pipes, one line each with tabs between the columns."""
    console = plain_console()
    if not console.is_terminal:
        for row in rows:
            print(*row, sep="\t")
        return
    table = Table(Column(heads[0], no_wrap=True), *heads[1:])
    for row in rows:
        table.add_row(*row)
    console.print(table)
