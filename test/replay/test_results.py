# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from road_kd_seg.errors import RoadKdError
from road_kd_seg.replay.results import ReplayCounts, summarize_latency

COUNTERS = {
    "received": 10,
    "published": 4,
    "dropped.superseded": 3,
    "dropped.unsynchronized": 2,
    "dropped.stale": 0,
    "dropped.invalid": 1,
    "in_flight": 0,
}


class TestReplayCounts:
    def test_it_reads_what_the_node_says(self):
        counts = ReplayCounts.from_counters(12, COUNTERS)
        assert (counts.sent, counts.received, counts.published, counts.not_received) == (12, 10, 4, 2)
        assert counts.dropped == {"superseded": 3, "unsynchronized": 2, "stale": 0, "invalid": 1}

    @pytest.mark.parametrize("key", ["received", "published", "dropped.superseded", "dropped.invalid"])
    def test_a_frame_too_many_anywhere_is_refused(self, key):
        with pytest.raises(RoadKdError, match="frames went missing in the node"):
            ReplayCounts.from_counters(20, COUNTERS | {key: COUNTERS[key] + 1})

    def test_more_frames_than_the_bag_holds_are_refused(self):
        with pytest.raises(RoadKdError, match="somebody else publishes on the same topics"):
            ReplayCounts.from_counters(9, COUNTERS)

    def test_a_counter_that_is_missing_is_named(self):
        counters = {key: count for key, count in COUNTERS.items() if key != "dropped.stale"}
        with pytest.raises(RoadKdError, match=r"but not 'dropped\.stale'"):
            ReplayCounts.from_counters(12, counters)


class TestSummarizeLatency:
    def test_percentiles_of_one_to_a_hundred(self):
        summary = summarize_latency(np.arange(1.0, 101.0))
        assert (summary.samples, summary.mean, summary.p50, summary.max) == (100, 50.5, 50.5, 100.0)
        assert summary.p95 == pytest.approx(95.05)
        assert summary.p99 == pytest.approx(99.01)
        assert summary.notes == ()

    @pytest.mark.parametrize(("samples", "given"), [(99, ["p50", "p95"]), (19, ["p50"]), (1, ["p50"])])
    def test_a_percentile_without_enough_samples_is_left_out_with_the_reason(self, samples, given):
        summary = summarize_latency(np.ones(samples))
        missing = [name for name in ("p50", "p95", "p99") if getattr(summary, name) is None]
        assert missing == [name for name in ("p50", "p95", "p99") if name not in given]
        assert [note.split()[0] for note in summary.notes] == missing

    def test_no_sample_is_no_latency_and_not_zero(self):
        summary = summarize_latency(np.array([]))
        assert (summary.samples, summary.mean, summary.p50, summary.max) == (0, None, None, None)
        assert "no frame was published" in summary.notes[0]
