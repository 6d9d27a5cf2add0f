# SPDX-License-Identifier: Apache-2.0
"""The examples of the training package run as their first lines say."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str) -> str:
    """Output of an example that must succeed within a minute."""
    command = [sys.executable, str(EXAMPLES / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_distill_any_models_halves_the_loss_in_under_forty_lines():
    losses = [float(value) for value in re.findall(r"loss ([\d.]+)", run("distill_any_models.py"))]
    assert losses[-1] < losses[0] / 2
    assert len((EXAMPLES / "distill_any_models.py").read_text().splitlines()) < 40


@pytest.mark.skipif(find_spec("torchdistill") is None, reason="needs torchdistill")
def test_torchdistill_losses_can_be_named_in_a_criterion():
    assert float(run("torchdistill_losses.py").removeprefix("loss: ")) > 0
