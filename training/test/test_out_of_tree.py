# SPDX-License-Identifier: Apache-2.0
"""A package outside this repository adds a distiller, a network and a dataset; nothing here is changed for it."""

import os
import subprocess
import sys

import pytest
import yaml

METHOD = '''
"""A method of another package: the student imitates the teacher's logits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from road_kd_seg.networks.mfnet import mfnet_rgb
from road_kd_training import Distiller, Needs
from road_kd_training.datasets import DATASETS


class Imitation(Distiller):
    """Mean squared difference of the logits."""

    @dataclass(frozen=True)
    class Config:
        """It has no options."""

    paper = "nobody, nowhere, 2026"
    needs = Needs()
    default_weights: ClassVar[Mapping[str, float]] = {"imitation": 1.0}

    def forward(self, student, teachers, target, step):
        difference = student.logits.float() - teachers[0].logits.detach().float()
        return {"imitation": difference.square().mean()}


def little_net(num_classes, **options):
    """The smallest network that will do."""
    return mfnet_rgb(num_classes, **options)


def my_frames(**options):
    """Frames of somebody else, in the layout of stereo_pothole."""
    return DATASETS["stereo_pothole"](**options)
'''

ENTRY_POINTS = """
[road_kd.distillers]
imitation = stranger_kd:Imitation
[road_kd.networks]
little_net = stranger_kd:little_net
[road_kd.datasets]
my_frames = stranger_kd:my_frames
"""

CHECKS = """
from road_kd_training import DISTILLERS
from road_kd_training.testing import check_distiller
checks = list(check_distiller(DISTILLERS["imitation"]))
for check in checks:
    check()
print(len(checks), "checks passed")
"""


@pytest.fixture
def python(tmp_path):
    """Runs code in an interpreter where the package is installed; its standard output."""
    site = tmp_path / "site"
    metadata = site / "stranger_kd-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "stranger_kd.py").write_text(METHOD)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger_kd\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]

    def run(code: str, *arguments: object) -> str:
        command = [sys.executable, "-c", code, *map(str, arguments)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


ROAD_KD = "import sys; from road_kd_training.cli import main; sys.exit(main(sys.argv[1:]))"


def test_it_is_listed_checked_and_trained(python, tmp_path, stereo_tree, tiny_bundle):
    assert "imitation" in python(ROAD_KD, "list", "distillers")
    assert "my_frames" in python(ROAD_KD, "list", "datasets").split()
    assert "checks passed" in python(CHECKS)

    def data(split):
        return [{"dataset": "my_frames", "options": {"root": str(stereo_tree), "split": split}}]

    recipe = {
        "name": "imitated",
        "output": str(tmp_path / "run"),
        "network": {"name": "little_net"},
        "train": data("train"),
        "validation": data("validation"),
        "teachers": [{"bundle": str(tiny_bundle)}],
        "distillers": [{"method": "imitation"}],
        "input": {"height": 32, "width": 64, "depth": "none"},
        "steps": 2,
        "batch_size": 2,
        "warmup_steps": 1,
        "mixed_precision": "no",
        "num_workers": 0,
        "validate_every": 2,
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    python(ROAD_KD, "distill", "--config", tmp_path / "recipe.yaml")
    manifest = yaml.safe_load((tmp_path / "run" / "bundle" / "model.yaml").read_text())
    assert manifest["network"]["name"] == "little_net"
    assert "imitation" in str(manifest["provenance"])
