# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from road_kd_seg.metrics.risk_control import control_risk, draw_promises, min_blocks

MAX_MISSED, SHARE = 0.05, 0.9
DRAWS = 1000
THRESHOLDS = np.arange(1, 200) / 200


def draw_blocks(random: np.random.Generator, count: int) -> np.ndarray:
    """(count, T) missed shares of blocks that are alike in law only: some are easy, some hard, a few nearly blind."""
    difficulty = random.choice([2.0, 6.0, 20.0], size=(count, 1), p=[0.1, 0.3, 0.6])
    # Share of the pixels whose probability lies below a threshold, where pixels follow Beta(difficulty, 1).
    return THRESHOLDS[None] ** (difficulty * random.uniform(0.5, 1.5, (count, 1)))


class TestControlRisk:
    @pytest.mark.parametrize("count", [9, 20, 60, 300])
    def test_the_next_blocks_missed_share_stays_below_the_bound_in_the_promised_share_of_draws(self, count):
        random = np.random.default_rng(count)
        kept = 0
        for _ in range(DRAWS):
            blocks = draw_blocks(random, count + 1)
            index = control_risk(blocks[:-1], MAX_MISSED, SHARE)
            kept += blocks[-1, index] <= MAX_MISSED
        spread = 3 * np.sqrt(SHARE * (1 - SHARE) / DRAWS)
        assert kept / DRAWS >= SHARE - spread
        # And not for free: it is no more careful than the number of blocks asks for.
        assert kept / DRAWS <= SHARE + 1 / (count + 1) + spread

    def test_the_highest_of_the_thresholds_that_keep_it_is_taken(self):
        missed = np.tile([0.0, 0.01, 0.05, 0.06, 1.0], (9, 1))
        assert control_risk(missed, 0.05, 0.9) == 2

    def test_one_block_in_twenty_may_miss_more(self):
        missed = np.array([[0.0, 0.0]] * 18 + [[0.0, 1.0]])
        assert control_risk(missed, 0.05, 0.9) == 1
        assert control_risk(missed[1:], 0.05, 0.9) == 0

    def test_with_too_few_blocks_nothing_is_promised_however_good_they_are(self):
        perfect = np.zeros((9, 5))
        assert min_blocks(0.9) == 9
        assert control_risk(perfect, 0.05, 0.9) == 4
        assert control_risk(perfect[:8], 0.05, 0.9) is None
        assert control_risk(np.empty((0, 5)), 0.05, 0.9) is None

    def test_a_model_that_misses_at_every_threshold_gets_none(self):
        assert control_risk(np.full((50, 5), 0.5), 0.05, 0.9) is None

    @given(share=st.floats(0.5, 0.99))
    def test_min_blocks_is_the_first_number_for_which_a_perfect_model_gets_a_threshold(self, share):
        count = min_blocks(share)
        assert control_risk(np.zeros((count, 3)), 0.1, share) == 2
        assert count == 0 or control_risk(np.zeros((count - 1, 3)), 0.1, share) is None


class TestDrawPromises:
    def test_it_is_counted_by_hand(self):
        missed = np.array([[0.0, 0.0]] * 9 + [[0.0, 1.0]])  # the odd block is drawn as the other one, or picks 0
        drawn = draw_promises(missed, 9, 0.05, 0.9, 400, np.random.default_rng(0))
        assert set(drawn.threshold.tolist()) == {0, 1}
        assert (drawn.kept == (drawn.threshold == 0)).all()
        assert 0.05 < 1 - drawn.kept.mean() < 0.15  # one in ten

    def test_where_nothing_is_promised_nothing_is_broken(self):
        drawn = draw_promises(np.ones((12, 3)), 10, 0.05, 0.9, 20, np.random.default_rng(0))
        assert (drawn.threshold == -1).all()
        assert drawn.kept.all()
