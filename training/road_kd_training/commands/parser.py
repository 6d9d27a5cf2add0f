"""The parser of `road-kd train`, `distill` and of the command line itself."""

from __future__ import annotations

import difflib
import re
from typing import NoReturn

from jsonargparse import ArgumentParser

from road_kd_training.recipes import field_names


class Parser(ArgumentParser):
    """Says what is wrong in one line, with the nearest known name."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the line and exit with 2."""
        unknown = re.search(r"option '([\w.]+)'|arguments: --([\w.]+)", message)
        if unknown:
            name = (unknown[1] or unknown[2]).rpartition(".")[2]
            nearest = difflib.get_close_matches(name, field_names(), n=1, cutoff=0.5)
            message += f" (did you mean '{nearest[0]}'?)" if nearest else ""
        self.exit(2, f"{self.prog}: {message}; see '{self.prog} COMMAND --help'\n")
