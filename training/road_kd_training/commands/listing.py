"""`road-kd list`: what there is."""

from __future__ import annotations

from jsonargparse import Namespace
from rich.console import Console
from rich.table import Column, Table

from road_kd_seg.networks.common.summary import summarize_networks
from road_kd_training.datasets import DATASETS
from road_kd_training.experiments import EXPERIMENTS
from road_kd_training.summaries import summarize_methods


def run(options: Namespace) -> None:
    """Print one table, or for datasets and experiments one name a line, so that they can be piped."""
    {"networks": _networks, "distillers": _distillers, "datasets": _datasets, "experiments": _experiments}[
        options.what
    ]()


def _networks() -> None:
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
    Console().print(table)


def _distillers() -> None:
    table = Table(Column("name", no_wrap=True), "paper", "needs", "terms (default weight)")
    for row in summarize_methods():
        table.add_row(row.name, row.paper, row.describe_needs(), row.describe_terms())
    Console().print(table)


def _datasets() -> None:
    for name in DATASETS:
        Console().print(name)


def _experiments() -> None:
    for name in EXPERIMENTS:
        print(name)
