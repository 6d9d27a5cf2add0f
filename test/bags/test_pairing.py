# SPDX-License-Identifier: Apache-2.0
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from road_kd_seg.bags.pairing import half_period_ns, match_stamps

STAMPS = arrays(np.int64, st.integers(0, 12), elements=st.integers(0, 60))


def stamps(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


class TestMatchStamps:
    def test_equal_stamps_pair_whatever_their_order(self):
        assert match_stamps(stamps(10, 20, 30), stamps(30, 10, 20)).tolist() == [1, 2, 0]

    def test_the_nearest_within_the_slop_is_taken(self):
        assert match_stamps(stamps(100), stamps(93, 104, 108), slop_ns=5).tolist() == [1]

    def test_the_slop_itself_still_pairs_and_one_more_does_not(self):
        assert match_stamps(stamps(100, 200), stamps(105, 206), slop_ns=5).tolist() == [0, -1]

    def test_one_partner_serves_one_stamp_only(self):
        assert match_stamps(stamps(99, 101), stamps(101), slop_ns=5).tolist() == [-1, 0]

    def test_nothing_pairs_with_nothing(self):
        assert match_stamps(stamps(1, 2), stamps()).tolist() == [-1, -1]
        assert match_stamps(stamps(), stamps(1)).tolist() == []

    @given(a=STAMPS, b=STAMPS, slop_ns=st.integers(0, 8))
    def test_pairs_are_close_unique_and_the_same_from_either_side(self, a, b, slop_ns):
        partner, reverse = match_stamps(a, b, slop_ns), match_stamps(b, a, slop_ns)
        paired = np.flatnonzero(partner >= 0)
        assert np.all(np.abs(a[paired] - b[partner[paired]]) <= slop_ns)
        assert len(set(partner[paired])) == paired.size
        assert np.array_equal(reverse[partner[paired]], paired)

    @given(a=STAMPS)
    def test_every_distinct_stamp_finds_itself(self, a):
        distinct = np.unique(a)
        assert np.array_equal(match_stamps(distinct, distinct, 5), np.arange(distinct.size))


class TestHalfPeriod:
    def test_it_is_half_the_median_gap_and_ignores_a_pause(self):
        assert half_period_ns(stamps(0, 10, 20, 30, 500)) == 5

    def test_a_single_frame_has_no_period(self):
        assert half_period_ns(stamps(7)) == 0
