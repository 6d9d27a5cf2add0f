# SPDX-License-Identifier: Apache-2.0
"""What every registered method promises the engine; a new method is covered by its line in DISTILLERS."""

import pytest

from road_kd_training.distillers import DISTILLERS
from road_kd_training.testing import check_distiller

CHECKS = [
    pytest.param(check, id=f"{name}: {check}")
    for name in sorted(DISTILLERS)
    for check in check_distiller(DISTILLERS[name])
]


@pytest.mark.parametrize("check", CHECKS)
def test_contract(check):
    check()
