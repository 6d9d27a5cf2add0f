# SPDX-License-Identifier: Apache-2.0
"""Contracts that a distiller, network, dataset or backend keeps: checks that any package can run on its own.

As scikit-learn's `check_estimator`, with pytest or without:

    @pytest.mark.parametrize("check", check_distiller(MyDistiller), ids=str)
    def test_contract(check):
        check()

A check passes or raises AssertionError. Checks that do not apply (labels for a method without) are left out.
"""

from road_kd_training.testing.checks import Check
from road_kd_training.testing.datasets import check_dataset
from road_kd_training.testing.distillers import check_distiller
from road_kd_training.testing.networks import check_backend, check_network

__all__ = ["Check", "check_backend", "check_dataset", "check_distiller", "check_network"]
