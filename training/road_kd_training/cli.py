"""`road-kd`: the workstation's commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from jsonargparse import ArgumentParser, Namespace

from road_kd_seg.errors import run_tool
from road_kd_training.commands import (
    bag_to_dataset,
    benchmark,
    dataset_to_bag,
    distill,
    evaluate,
    export,
    listing,
    pseudo_label,
    reproduce,
    synth,
    train,
)
from road_kd_training.commands.parser import Parser


class Command(Protocol):
    """What a module in `commands` defines."""

    HELP: str
    """One line for `road-kd --help`."""

    def build_parser(self) -> ArgumentParser:
        """Arguments of the command."""

    def run(self, options: Namespace) -> None:
        """Do it; errors that a user can fix are RoadKdError."""


COMMANDS: Mapping[str, Command] = {
    "train": train,
    "distill": distill,
    "evaluate": evaluate,
    "export": export,
    "synth": synth,
    "dataset-to-bag": dataset_to_bag,
    "bag-to-dataset": bag_to_dataset,
    "pseudo-label": pseudo_label,
    "benchmark": benchmark,
    "reproduce": reproduce,
    "list": listing,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script; 0, 1 after one line on stderr, 2 for arguments that are none."""
    parser = Parser(prog="road-kd", description="Train and score networks and prepare data for road_kd_seg.")
    subcommands = parser.add_subcommands(required=True)
    for name, command in COMMANDS.items():
        subcommands.add_subcommand(name, command.build_parser(), help=command.HELP)
    options = parser.instantiate_classes(parser.parse_args(arguments))
    return run_tool(lambda: COMMANDS[options.subcommand].run(options[options.subcommand]))
