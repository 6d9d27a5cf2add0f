# SPDX-License-Identifier: Apache-2.0
import threading

import pytest

from road_kd_seg.replay.prefetch import Afterwork, prefetch


class TestPrefetch:
    def test_items_come_in_their_order_and_all_of_them(self):
        assert list(prefetch(range(100))) == list(range(100))
        assert list(prefetch([])) == []

    def test_they_are_made_in_another_thread(self):
        assert {threading.get_ident()}.isdisjoint(prefetch(threading.get_ident() for _ in range(3)))

    def test_few_are_made_before_they_are_used(self):
        made = []
        items = prefetch(made.append(n) or n for n in range(100))
        for used in range(10):
            assert next(items) == used
            assert len(made) <= used + 4
        items.close()
        assert len(made) < 20

    def test_an_error_comes_where_the_item_would_have(self):
        def items():
            yield 1
            raise ValueError("the bag is gone")

        fetched = prefetch(items())
        assert next(fetched) == 1
        with pytest.raises(ValueError, match="the bag is gone"):
            next(fetched)


class TestAfterwork:
    def test_calls_are_made_in_their_order_and_all_before_the_block_ends(self):
        made = []
        with Afterwork() as afterwork:
            for number in range(100):
                afterwork.call(lambda number=number: made.append(number))
        assert made == list(range(100))

    def test_what_a_call_raises_is_raised_at_the_latest_when_the_block_ends(self):
        def fail():
            raise OSError("no space left")

        with pytest.raises(OSError, match="no space left"), Afterwork() as afterwork:
            afterwork.call(fail)
