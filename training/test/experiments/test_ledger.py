# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

from road_kd_training.experiments.ledger import MAX_SEEDS, half_width, judge

CLAIM = 1.0
TABLES = 1000
SPREAD = 0.2
"""Standard deviation of a paired gain, in the units of the claim."""


def simulated(gain, seeds, number=0):
    """Paired gains of a fake method whose true gain is known."""
    return np.random.default_rng([number, seeds]).normal(gain, SPREAD, seeds).tolist()


def share_judged(outcome, gain, seeds, claim=CLAIM):
    return np.mean([judge(simulated(gain, seeds, number), claim).outcome == outcome for number in range(TABLES)])


class TestPlantedEffects:
    @pytest.mark.parametrize(("gain", "outcome"), [(1.0, "holds"), (0.0, "vanishes"), (-1.0, "vanishes")])
    def test_the_right_verdict_falls_in_19_of_20_tables(self, gain, outcome):
        assert share_judged(outcome, gain, seeds=8) >= 0.95

    @pytest.mark.parametrize("seeds", [2, 3, 5, 8, 20])
    def test_a_method_that_does_nothing_is_seldom_said_to_hold(self, seeds):
        # one side of the two-sided 95 % interval, and four standard errors of 1000 tables
        assert share_judged("holds", 0.0, seeds) <= 0.025 + 4 * math.sqrt(0.025 * 0.975 / TABLES)

    @pytest.mark.parametrize("seeds", [2, 3, 5, 8, 20])
    def test_a_gain_as_claimed_is_seldom_said_to_vanish(self, seeds):
        assert share_judged("vanishes", 1.0, seeds) <= 0.025

    def test_a_claimed_loss_is_judged_by_its_own_sign(self):
        for gain, outcome in ((-1.0, "holds"), (0.0, "vanishes"), (1.0, "vanishes")):
            assert share_judged(outcome, gain, seeds=8, claim=-1.0) >= 0.95

    def test_two_noisy_seeds_mostly_tell_nothing(self):
        verdicts = [judge([4 * x for x in simulated(0.1, 2, number)], CLAIM).outcome for number in range(TABLES)]
        assert verdicts.count("cannot tell") > 0.8 * TABLES


class TestJudge:
    def test_three_seeds_by_hand(self):
        """Mean 2, standard deviation 1, t(2) = 4.303."""
        verdict = judge([1.0, 2.0, 3.0], 5.0)
        half = 4.303 / math.sqrt(3)
        assert verdict.interval == pytest.approx((2 - half, 2 + half))
        assert verdict.outcome == "cannot tell"

    def test_the_seeds_that_are_missing_would_decide_and_one_fewer_would_not(self):
        """Mean 2, standard deviation 1: t(3) = 3.182 with four seeds."""
        verdict = judge([1.0, 2.0, 3.0], 5.0)
        assert verdict.more_seeds == 1
        assert 3.182 / math.sqrt(4) < 2.0 <= 4.303 / math.sqrt(3)
        assert verdict.describe() == "cannot tell (1 more seeds)"

    def test_one_seed_tells_nothing(self):
        assert judge([3.0], 1.0).describe() == "cannot tell (1 more seeds)"

    def test_equal_gains_of_all_seeds_decide_at_once(self):
        assert judge([0.5, 0.5], 1.0).outcome == "holds"
        assert judge([0.0, 0.0], 1.0).outcome == "vanishes"

    def test_a_claim_without_a_number_is_that_there_is_a_gain(self):
        assert judge([1.0, 1.1, 1.2], None).outcome == "holds"
        assert judge([-1.0, -1.1, -1.2], None).outcome == "vanishes"
        assert judge([-1.0, 0.1, 1.2], None).outcome == "cannot tell"

    def test_where_lower_is_better_it_is_that_something_falls(self):
        assert judge([-1.0, -1.1, -1.2], None, lower_is_better=True).outcome == "holds"
        assert judge([1.0, 1.1, 1.2], None, lower_is_better=True).outcome == "vanishes"
        assert judge([-1.0, -1.1, -1.2], -1.0).outcome == "holds"

    def test_no_claim_cannot_be_judged(self):
        assert judge([1.0, 1.1], 0.0).more_seeds == MAX_SEEDS

    def test_the_interval_of_a_loss_is_in_its_own_sign(self):
        low, high = judge([-1.0, -2.0, -3.0], -5.0).interval
        assert low < -2 < high

    def test_many_seeds_take_the_normal_quantile(self):
        values = [0.0, 1.0] * 50
        assert half_width(values) == pytest.approx(1.96 * np.std(values, ddof=1) / 10)
