# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import nn

from road_kd_training.config import DataConfig, DistillerConfig, NetworkConfig, TrainConfig
from road_kd_training.errors import TrainingError
from road_kd_training.gradient_shares import GradientShares, gradient_norm
from road_kd_training.objective import measuring_step


def config(**fields):
    data = [DataConfig("synthetic")]
    return TrainConfig("x", NetworkConfig("erfnet"), data, data, "out", warmup_steps=10, **fields)


def terms_of(weights, *factors):
    """Scalars whose gradients in two parameters are known: (3, 4) times the factor."""
    direction = torch.tensor([3.0, 4.0])
    return [factor * (direction * weights).sum() for factor in factors]


@pytest.fixture
def weights():
    return nn.Parameter(torch.ones(2))


class TestGradientNorm:
    def test_it_is_the_length_of_the_gradient(self, weights):
        assert gradient_norm(terms_of(weights, 2.0)[0], [weights]) == pytest.approx(10)

    def test_it_is_zero_where_nothing_depends_on_the_student(self, weights):
        assert gradient_norm(torch.tensor(3.0), [weights]) == 0
        other = nn.Parameter(torch.ones(1))
        assert gradient_norm(other.sum(), [weights]) == 0


class TestGradientShares:
    def test_a_share_is_the_weighted_gradient_over_the_cross_entropys(self, weights):
        shares = GradientShares(
            config(distillers=[DistillerConfig("cwd")]), {"cross_entropy": 0.5, "cwd/channel_kl": 3.0}
        )
        entropy, kl = terms_of(weights, 1.0, 0.1)
        shares.measure({"cross_entropy": entropy, "cwd/channel_kl": kl}, [weights])
        assert shares.shares == {"cwd/channel_kl": pytest.approx(3 * 0.1 / 0.5)}
        assert shares.weights["cwd/channel_kl"] == 3.0

    def test_scaled_weights_give_the_share_that_was_asked_for(self, weights):
        wanted = config(distillers=[DistillerConfig("cwd")], gradient_share=0.7)
        shares = GradientShares(wanted, {"cross_entropy": 1.0, "cpkd/a": 1.0, "cpkd/b": 2.0})
        entropy, a, b = terms_of(weights, 1.0, 0.3, 0.1)
        shares.measure({"cross_entropy": entropy, "cpkd/a": a, "cpkd/b": b}, [weights])
        assert sum(shares.shares.values()) == pytest.approx(0.7)
        assert shares.weights["cpkd/b"] == pytest.approx(2 * shares.weights["cpkd/a"])
        assert shares.weights["cross_entropy"] == 1.0

    def test_without_labels_it_is_over_the_unweighted_cross_entropys(self, weights):
        shares = GradientShares(config(distillers=[DistillerConfig("cpkd")]), {"cross_entropy": 0.0, "cpkd/a": 1.0})
        entropy, a = terms_of(weights, 2.0, 1.0)
        shares.measure({"cross_entropy": entropy, "cpkd/a": a}, [weights])
        assert shares.shares["cpkd/a"] == pytest.approx(0.5)

    def test_a_resumed_run_has_the_weights_of_the_first(self, weights):
        wanted = config(distillers=[DistillerConfig("cwd")], gradient_share=0.7)
        first, resumed = (GradientShares(wanted, {"cross_entropy": 1.0, "cwd/a": 1.0}) for _ in range(2))
        entropy, a = terms_of(weights, 1.0, 0.3)
        first.measure({"cross_entropy": entropy, "cwd/a": a}, [weights])
        resumed.load(first.state())
        assert (resumed.weights, resumed.shares) == (first.weights, first.shares)

    @pytest.mark.parametrize("share", [0.0, -1.0, float("nan")])
    def test_a_share_must_be_positive(self, share):
        with pytest.raises(TrainingError, match="gradient_share is .*: expected a number above 0"):
            GradientShares(config(gradient_share=share), {})


@pytest.mark.parametrize(("start", "steps", "expected"), [(0, 100, 10), (50, 100, 50), (0, 5, 4)])
def test_it_is_measured_after_the_warm_up_once_all_methods_have_begun(start, steps, expected):
    assert measuring_step(config(steps=steps, distillers=[DistillerConfig("cwd", start_step=start)])) == expected
