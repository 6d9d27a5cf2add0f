# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import nn

from road_kd_training.weight_average import move_weights, newest_share


def averaged(decay, weights):
    """A network's running average, from a first weight of 1, over steps after which it has these weights."""
    average, network = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    nn.init.constant_(average.weight, 1.0)
    for step, weight in enumerate(weights, start=1):
        nn.init.constant_(network.weight, weight)
        move_weights(average, network, newest_share(decay, step))
    return float(average.weight.detach())


class TestNewestShare:
    @pytest.mark.parametrize("decay", [0.0, 0.9, 0.995])
    def test_a_long_run_averages_as_its_decay_says(self, decay):
        assert newest_share(decay, 10**6) == pytest.approx(1 - decay)

    @pytest.mark.parametrize("step", [1, 2, 1000])
    def test_without_decay_the_newest_weights_are_all(self, step):
        assert newest_share(0.0, step) == 1.0

    @pytest.mark.parametrize("decay", [0.9, 0.99, 0.999])
    def test_it_never_looks_back_further_than_its_decay_says_nor_grows_with_the_run(self, decay):
        shares = torch.tensor([newest_share(decay, step) for step in range(1, 5000)])
        assert (shares >= 1 - decay - 1e-6).all()
        assert (shares.diff() <= 1e-6).all()

    def test_the_random_first_weights_are_forgotten_in_a_short_run(self):
        assert 0.995**331 > 0.19  # what a fixed decay would keep
        assert averaged(0.995, [0.0] * 331) < 1e-6

    def test_it_looks_back_over_a_tenth_of_a_short_run(self):
        steps = 600  # weights that grow by one a step: the average lags by how far it looks back
        assert steps - averaged(0.999, range(1, steps + 1)) == pytest.approx(steps / 10, rel=0.05)
