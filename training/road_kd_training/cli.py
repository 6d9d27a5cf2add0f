# SPDX-License-Identifier: Apache-2.0
"""`road-kd`: the workstation's commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from road_kd_seg.errors import run_tool
from road_kd_training.commands.arguments import COMMANDS
from road_kd_training.commands.parser import Parser, tidy


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script; 0, 1 after one line on stderr, 2 for arguments that are none."""
    return run_tool(lambda: _run(list(sys.argv[1:] if arguments is None else arguments)))


def _run(given: list[str]) -> None:
    parser = Parser(prog="road-kd", description="Train and score networks and prepare data for road_kd_seg.")
    subcommands = parser.add_subcommands(required=True)
    parsers = {name: command.build_parser() for name, command in COMMANDS.items()}
    for name, command in COMMANDS.items():
        subcommands.add_subcommand(name, parsers[name], help=command.help)
    if given and given[0] in parsers:
        given[1:] = tidy(given[1:], parsers[given[0]])
    options = parser.instantiate_classes(parser.parse_args(given))
    module = import_module(f"road_kd_training.commands.{COMMANDS[options.subcommand].module}")
    module.run(options[options.subcommand])
