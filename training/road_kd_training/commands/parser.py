# SPDX-License-Identifier: Apache-2.0
"""The parser of `road-kd train`, `distill` and of the command line itself."""

from __future__ import annotations

import difflib
import math
import re
from argparse import Action
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, Namespace

from road_kd_seg.errors import printable
from road_kd_training.recipes import field_names


def tidy(arguments: Sequence[str], parser: ArgumentParser) -> list[str]:
    """Arguments of a command as its parser wants them: positional ones, such as key=value, first, wherever they were.

    Options are known by hyphens and by underscores, as recipes spell their keys.
    """
    options = parser._option_string_actions
    known = {spelled.replace("_", "-"): spelled for spelled in options}
    positional, others, open_values = [], [], 0.0
    for argument in arguments:
        if argument.startswith("-") and not re.match(r"-[\d.]", argument):
            name, equals, value = argument.partition("=")
            name = known.get(name.replace("_", "-"), name)
            others.append(f"{name}{equals}{value}")
            open_values = 0 if equals else _count_values(options.get(name))
        elif open_values > 0:
            others.append(argument)
            open_values -= 1
        else:
            positional.append(argument)
    return [*positional, *others]


def _count_values(action: Action | None) -> float:
    """How many arguments an option takes at most; an unknown one is refused later, together with its value."""
    if action is None or action.nargs is None:
        return 1
    return action.nargs if isinstance(action.nargs, int) else {"?": 1}.get(action.nargs, math.inf)


class Parser(ArgumentParser):
    """Says what is wrong in one line, with the nearest known name; recipes are UTF-8, whatever the locale is."""

    def format_help(self, *arguments: Any) -> str:
        """Options with hyphens; `tidy` takes both spellings."""
        return re.sub(r"--[a-z][\w.]*", lambda option: option[0].replace("_", "-"), super().format_help(*arguments))

    def parse_path(self, path: Any, *arguments: Any, **options: Any) -> Namespace:
        """A recipe's settings."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            self.error(f"recipe {printable(path)}: {printable(error, 200)}")
        parsed: Namespace = self.parse_string(text, Path(path).name, *arguments, **options)
        return parsed

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the line and exit with 2."""
        message = " ".join(message.split())
        unknown = re.search(r"option '([\w.]+)'|arguments: --([\w.-]+)", message)
        if unknown:
            name = (unknown[1] or unknown[2]).rpartition(".")[2].replace("-", "_")
            nearest = difflib.get_close_matches(name, field_names(), n=1, cutoff=0.5)
            message += f" (did you mean '{nearest[0]}'?)" if nearest else ""
        self.exit(2, f"{self.prog}: {message}; see '{self.prog} COMMAND --help'\n")
