# SPDX-License-Identifier: Apache-2.0
"""Where commands print: names and paths of other people are text, whatever brackets they hold."""

from rich.console import Console


def plain_console(*, quiet: bool = False) -> Console:
    """A console that takes nothing for markup."""
    return Console(markup=False, highlight=False, quiet=quiet)
