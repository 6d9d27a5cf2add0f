"""`road-kd synth`: synthetic road scenes into a folder."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from road_kd_training.datasets.synthetic import render_missing

HELP = "render synthetic road scenes"


def build_parser() -> ArgumentParser:
    """A folder, how many, and from which seed."""
    parser = ArgumentParser(description="Render synthetic road scenes into a folder, on all cores.")
    parser.add_argument("out", help="the folder; scenes it has already are kept")
    parser.add_argument("--scenes", type=int, default=100, help="how many")
    parser.add_argument("--first_seed", type=int, default=0, help="seed of the first; the others follow")
    return parser


def run(options: Namespace) -> None:
    """Render what the folder lacks."""
    rendered = render_missing(Path(options.out), range(options.first_seed, options.first_seed + options.scenes))
    Console().print(f"rendered {rendered} scenes, {options.scenes - rendered} were there: {options.out}")
