# SPDX-License-Identifier: Apache-2.0
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "DEPLOY.md"


def test_the_engine_of_the_page_proves_itself(capsys):
    pytest.importorskip("onnxruntime")
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    exec(compile(code, str(PAGE), "exec"), {})
    assert re.search(r"9\d\.\d\d%|100\.00%", capsys.readouterr().out)
