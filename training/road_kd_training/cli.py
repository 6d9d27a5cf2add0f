"""`road-kd`: the workstation's commands."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from road_kd_seg.errors import run_tool
from road_kd_training.commands.arguments import COMMANDS
from road_kd_training.commands.parser import Parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script; 0, 1 after one line on stderr, 2 for arguments that are none."""
    parser = Parser(prog="road-kd", description="Train and score networks and prepare data for road_kd_seg.")
    subcommands = parser.add_subcommands(required=True)
    for name, command in COMMANDS.items():
        subcommands.add_subcommand(name, command.build_parser(), help=command.help)
    options = parser.instantiate_classes(parser.parse_args(arguments))

    def run() -> None:
        import_module(f"road_kd_training.commands.{COMMANDS[options.subcommand].module}").run(
            options[options.subcommand]
        )

    return run_tool(run)
