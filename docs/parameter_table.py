# SPDX-License-Identifier: Apache-2.0
"""The table of the node's parameters in docs/NODE.md, from the dataclass that declares them.

`python docs/parameter_table.py` writes it; a test holds the page against it.
"""

import dataclasses
from pathlib import Path

from road_kd_seg.ros.parameters import LIVE, Settings

PAGE = Path(__file__).with_name("NODE.md")
HEAD = "| name | default | range | live | |\n|---|---|---|---|---|\n"


def table() -> str:
    """Markdown, a row for each parameter in the order of the dataclass."""
    rows = []
    for item in dataclasses.fields(Settings):
        default = str(item.default).lower() if isinstance(item.default, bool) else item.default
        limits = item.metadata["range"]
        span = "" if limits is None else f"{_number(limits[0])}–{_number(limits[1])}"  # a range
        live = "yes" if item.name in LIVE else ""
        cells = (f"`{item.name}`", '`""`' if default == "" else f"`{default}`", span, live)
        rows.append(f"| {' | '.join(cells)} | {item.metadata['description']} |\n")
    return HEAD + "".join(rows)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def with_table(page: str) -> str:
    """A page that has such a table, with the one of today in its place."""
    before, _, rest = page.partition(HEAD)
    lines = rest.splitlines(keepends=True)
    end = next(i for i, line in enumerate(lines) if not line.startswith("|"))
    return before + table() + "".join(lines[end:])


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
