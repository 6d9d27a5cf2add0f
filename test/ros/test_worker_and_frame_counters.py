# SPDX-License-Identifier: Apache-2.0
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from road_kd_seg.ros.frame_counters import FrameCounters, FrameOutcome
from road_kd_seg.ros.worker import NewestOnlyWorker

DEADLINE_S = 10.0


class Rig:
    """A worker whose computation waits for `gate`, and how each item ended."""

    def __init__(self, *, open_gate):
        self.gate = threading.Event()
        if open_gate:
            self.gate.set()
        self.started = threading.Semaphore(0)
        self.ended = {name: [] for name in ("delivered", "superseded", "discarded", "failed")}
        self.worker = NewestOnlyWorker(
            self._compute,
            lambda item, result: self.ended["delivered"].append((item, result)),
            on_superseded=self.ended["superseded"].append,
            on_discarded=self.ended["discarded"].append,
            on_error=lambda item, error: self.ended["failed"].append((item, str(error))),
        )

    def _compute(self, item):
        self.started.release()
        assert self.gate.wait(DEADLINE_S)
        if item < 0:
            raise ValueError("negative")
        return item * 10

    def offer_and_wait_until_started(self, item):
        self.worker.offer(item)
        assert self.started.acquire(timeout=DEADLINE_S)


@pytest.fixture
def busy():
    """A worker that is computing item 1."""
    rig = Rig(open_gate=False)
    rig.offer_and_wait_until_started(1)
    yield rig
    rig.gate.set()
    rig.worker.stop()


class TestNewestOnlyWorker:
    def test_only_the_newest_of_what_waits_is_processed(self, busy):
        for item in (2, 3, 4):
            busy.worker.offer(item)
        busy.gate.set()
        busy.worker.wait_until_idle()
        assert busy.ended["delivered"] == [(1, 10), (4, 40)]
        assert busy.ended["superseded"] == [2, 3]

    def test_discarding_takes_what_waits_and_the_result_of_what_is_in_progress(self, busy):
        busy.worker.offer(2)
        busy.worker.discard(lambda item: True)
        busy.gate.set()
        busy.worker.wait_until_idle()
        assert sorted(busy.ended["discarded"]) == [1, 2]
        assert busy.ended["delivered"] == []

    def test_discarding_spares_what_is_wanted(self, busy):
        busy.worker.offer(2)
        busy.worker.discard(lambda item: item == 1)
        busy.gate.set()
        busy.worker.wait_until_idle()
        assert busy.ended["discarded"] == [1]
        assert busy.ended["delivered"] == [(2, 20)]

    def test_a_failure_is_told_and_the_next_item_is_processed(self, busy):
        busy.gate.set()
        busy.worker.wait_until_idle()
        for item in (-5, 6):
            busy.worker.offer(item)
            busy.worker.wait_until_idle()
        assert busy.ended["failed"] == [(-5, "negative")]
        assert busy.ended["delivered"] == [(1, 10), (6, 60)]

    @given(items=st.lists(st.integers(-3, 9), max_size=30))
    def test_every_item_ends_in_exactly_one_way(self, items):
        rig = Rig(open_gate=True)
        for item in items:
            rig.worker.offer(item)
        rig.worker.stop()
        assert sum(len(ended) for ended in rig.ended.values()) == len(items)


class TestLedger:
    def test_what_has_no_outcome_yet_is_in_flight(self):
        counters = FrameCounters()
        for _ in range(5):
            counters.receive()
        counters.record(FrameOutcome.PUBLISHED)
        counters.record(FrameOutcome.UNSYNCHRONIZED, 3)
        assert counters.read().as_dict() == {
            "received": 5,
            "published": 1,
            "dropped.superseded": 0,
            "dropped.unsynchronized": 3,
            "dropped.stale": 0,
            "dropped.invalid": 0,
            "in_flight": 1,
        }

    def test_the_log_line_is_key_value_pairs(self):
        line = str(FrameCounters().read())
        assert line.startswith("frame counters: received=0 published=0 dropped.superseded=0 ")
