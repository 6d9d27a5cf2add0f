# SPDX-License-Identifier: Apache-2.0
"""Every source file names its license where the tools of https://reuse.software look for it."""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINE = "# SPDX-License-Identifier: Apache-2.0"
FOLDERS = (".github", "config", "docs", "examples", "launch", "road_kd_seg", "test", "training")


def sources() -> Iterator[Path]:
    yield from (ROOT / ".ci/run", ROOT / ".pre-commit-config.yaml", *ROOT.glob("*.py"))
    for folder in FOLDERS:
        for pattern in ("*.py", "*.sh", "*.yaml"):
            yield from (ROOT / folder).rglob(pattern)


def test_it_is_the_first_line_or_the_one_after_a_shebang():
    unnamed = []
    for file in sources():
        first, second, *_ = [*file.read_text(encoding="utf-8").split("\n", 2), "", ""]
        if (second if first.startswith("#!") else first) != LINE:
            unnamed.append(file.relative_to(ROOT).as_posix())
    assert unnamed == []
