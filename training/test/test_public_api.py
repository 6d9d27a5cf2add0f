# SPDX-License-Identifier: Apache-2.0
"""What `import road_kd_training` offers and costs."""

import subprocess
import sys

import pytest

import road_kd_training


@pytest.mark.parametrize("name", road_kd_training.__all__)
def test_every_name_of_all_can_be_imported_and_is_listed(name):
    assert getattr(road_kd_training, name) is not None
    assert name in dir(road_kd_training)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'road_kd_training' has no attribute 'channelwise'"):
        road_kd_training.channelwise  # noqa: B018


def test_importing_the_package_loads_no_torch():
    code = "import sys, road_kd_training; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
