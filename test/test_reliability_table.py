# SPDX-License-Identifier: Apache-2.0
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_every_row_of_the_fault_table_names_a_test_that_exists():
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", (ROOT / "docs" / "RELIABILITY.md").read_text())
    assert len(named) > 25
    for file, test in named:
        assert f"def {test}(" in (ROOT / "test" / "ros" / file).read_text(), (file, test)
