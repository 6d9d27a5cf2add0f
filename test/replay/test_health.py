# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from road_kd_seg.bags.frame_index import FrameIndex
from road_kd_seg.bags.topics import TopicNames
from road_kd_seg.replay.health import data_health

NAMES = TopicNames()
MS = 1_000_000


def health_of(stamps_ms, *, delay_ms=5, depth_ms=None, depth_after_ms=()):
    stamps_ns = np.array(stamps_ms, np.int64) * MS
    depth_ns = stamps_ns if depth_ms is None else np.array(depth_ms, np.int64) * MS
    partner = np.arange(len(stamps_ns)) if depth_ms is None else np.full(len(stamps_ns), -1)
    log_times = {NAMES.color: stamps_ns + delay_ms * MS, NAMES.depth: depth_ns}
    index = FrameIndex(stamps_ns, partner, np.full(len(stamps_ns), -1), 0, log_times, np.array(depth_after_ms) * MS)
    return data_health(index, NAMES)


class TestDataHealth:
    def test_a_regular_recording_has_a_rate_and_no_gap(self):
        health = health_of(range(0, 1000, 100))
        assert health["color"] == {
            "images": 10,
            "rate_hz": pytest.approx(10),
            "period_ms": 100.0,
            "gaps": 0,
            "missing": 0,
            "longest_gap_ms": None,
        }
        assert health["color_with_depth"] == 10
        assert health["recording_delay_ms"] == {"p50": 5.0, "p95": 5.0}

    def test_missing_images_are_counted_by_the_period(self):
        color = health_of([0, 100, 200, 500, 600, 800, 900])["color"]
        assert (color["gaps"], color["missing"], color["longest_gap_ms"]) == (2, 3, 300.0)

    def test_stamps_that_repeat_or_go_back_are_counted(self):
        health = health_of([0, 100, 100, 50, 200])
        assert (health["stamps_repeated"], health["stamps_backwards"]) == (1, 1)

    def test_a_recorder_of_another_clock_has_no_delay(self):
        assert health_of([0, 100], delay_ms=10**9)["recording_delay_ms"]["p50"] is None

    def test_the_stamp_differences_of_color_and_depth_are_spread_out(self):
        spread = health_of([0, 100], depth_after_ms=range(-5, 16))["stamp_difference_ms"]
        assert spread == {"min": -5.0, "p5": -4.0, "p50": 5.0, "p95": 14.0, "max": 15.0}

    def test_without_pairs_there_is_no_stamp_difference(self):
        assert set(health_of([0, 100])["stamp_difference_ms"].values()) == {None}

    @pytest.mark.parametrize("stamps_ms", [[], [7]])
    def test_too_few_images_have_no_rate(self, stamps_ms):
        assert health_of(stamps_ms)["color"]["rate_hz"] is None
