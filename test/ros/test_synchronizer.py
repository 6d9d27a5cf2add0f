# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import pytest
from builtin_interfaces.msg import Time
from hypothesis import given
from hypothesis import strategies as st
from std_msgs.msg import Header

from road_kd_seg.ros.synchronizer import RgbdSynchronizer, StampedImage


def arrival(stamp_ms):
    sec, milliseconds = divmod(stamp_ms, 1000)
    header = Header(stamp=Time(sec=sec, nanosec=milliseconds * 1_000_000))
    return StampedImage(SimpleNamespace(header=header), 0)


class Rig:
    """A synchronizer, and what came out of it."""

    def __init__(self, *, slop_s=0.0, queue_size=5):
        self.pairs, self.unsynchronized, self.jumps_ms = [], 0, []
        self.synchronizer = RgbdSynchronizer(
            lambda *pair: self.pairs.append(tuple(a.stamp_ns // 1_000_000 for a in pair)),
            self._lose,
            lambda now_ns: self.jumps_ms.append(now_ns // 1_000_000),
            slop_s=slop_s,
            queue_size=queue_size,
        )

    def _lose(self, count):
        self.unsynchronized += count

    def send(self, *messages):
        """c10 is a color image of 10 ms, d10 a depth image."""
        for text in messages:
            add = self.synchronizer.add_color if text[0] == "c" else self.synchronizer.add_depth
            add(arrival(int(text[1:])))
        return self


class TestPairs:
    def test_equal_stamps_are_paired_color_first(self):
        assert Rig().send("d10", "c10", "c20", "d20").pairs == [(10, 10), (20, 20)]

    def test_with_a_slop_near_stamps_are_paired(self):
        assert Rig(slop_s=0.016).send("c0", "d7", "d40", "c33").pairs == [(0, 7), (33, 40)]

    def test_a_callback_that_fails_does_not_end_the_pairing(self):
        failing = RgbdSynchronizer(lambda *_: 1 / 0, lambda _: None, lambda _: None, slop_s=0.0, queue_size=5)
        for stamp_ms in (10, 20):
            failing.add_color(arrival(stamp_ms))
            with pytest.raises(ZeroDivisionError):
                failing.add_depth(arrival(stamp_ms))


class TestUnsynchronized:
    def test_a_color_image_older_than_a_pair_is_lost_at_once(self):
        rig = Rig().send("c10", "c20", "c30", "d30")
        assert (rig.pairs, rig.unsynchronized) == ([(30, 30)], 2)

    def test_a_full_queue_loses_the_oldest(self):
        assert Rig(queue_size=3).send("c1", "c2", "c3", "c4", "c5").unsynchronized == 2

    def test_the_same_stamp_twice_loses_one(self):
        rig = Rig().send("c10", "c10", "d10")
        assert (rig.pairs, rig.unsynchronized) == ([(10, 10)], 1)

    def test_clearing_loses_what_waits(self):
        rig = Rig().send("c10", "c20", "d5")
        rig.synchronizer.clear()
        assert rig.unsynchronized == 2
        assert rig.send("d20").pairs == []


class TestTimeGoesBack:
    def test_a_loop_is_paired_from_its_first_frame_on(self):
        rig = Rig(queue_size=3).send("c70", "c80", "c90", "d10", "c10", "c20", "d20")
        assert rig.pairs == [(10, 10), (20, 20)]
        assert rig.unsynchronized == 3
        assert rig.jumps_ms == [10]

    def test_each_jump_is_told_before_anything_of_the_new_run_is_paired(self):
        rig = Rig().send("c80", "d80", "c90", "d90", "d10", "c10")
        assert rig.pairs == [(80, 80), (90, 90), (10, 10)]
        assert rig.jumps_ms == [10]

    def test_what_belongs_to_the_new_run_stays_when_the_other_stream_jumps_later(self):
        assert Rig().send("c80", "d80", "d10", "d20", "c10", "c20").pairs == [(80, 80), (10, 10), (20, 20)]

    def test_a_clock_that_goes_back_forgets_the_future_only(self):
        rig = Rig().send("c10", "c90")
        rig.synchronizer.forget_newer_than(50_000_000)
        assert rig.unsynchronized == 1
        assert rig.send("d10").pairs == [(10, 10)]


@given(
    messages=st.lists(st.tuples(st.sampled_from("cd"), st.integers(0, 15)), max_size=60),
    queue_size=st.integers(1, 6),
    slop_s=st.sampled_from([0.0, 0.002]),
)
def test_every_color_image_is_paired_or_lost_exactly_once(messages, queue_size, slop_s):
    rig = Rig(queue_size=queue_size, slop_s=slop_s).send(*(f"{kind}{stamp}" for kind, stamp in messages))
    rig.synchronizer.clear()
    assert len(rig.pairs) + rig.unsynchronized == sum(kind == "c" for kind, _ in messages)
    assert all(abs(color - depth) <= slop_s * 1000 for color, depth in rig.pairs)
