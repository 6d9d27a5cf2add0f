# SPDX-License-Identifier: Apache-2.0
"""A listing of a package shows what it registers and nothing else; what its members share is in common/."""

import inspect
from pathlib import Path

import pytest

from road_kd_seg.networks import NETWORKS
from road_kd_training.datasets import DATASETS
from road_kd_training.distillers import DISTILLERS


@pytest.mark.parametrize("registry", [NETWORKS, DATASETS, DISTILLERS], ids=["networks", "datasets", "distillers"])
def test_every_module_defines_something_that_is_registered(registry):
    sources = {Path(inspect.getsourcefile(entry)) for entry in registry.values()}
    folder = next(iter(sources)).parent
    assert {path.name for path in folder.glob("*.py")} - {"__init__.py"} == {path.name for path in sources}


def test_every_name_of_a_method_is_said_in_full_by_its_module():
    assert all(len(Path(inspect.getsourcefile(kind)).stem) > 2 for kind in DISTILLERS.values())
