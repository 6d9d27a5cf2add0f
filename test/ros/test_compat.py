# SPDX-License-Identifier: Apache-2.0
"""Contracts of the packages that PyPI's wheels lack; held by the real ones where installed, and by our fallbacks."""

import importlib
from types import SimpleNamespace

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header


def importable(*names):
    """Modules that can be imported here, by name; the fallbacks always can."""
    found = []
    for name in names:
        try:
            found.append(pytest.param(importlib.import_module(name), id=name))
        except ImportError:
            continue
    return found


FILTERS = importable("message_filters", "road_kd_seg.ros.compat.message_filters_fallback")
CLOUDS = importable("sensor_msgs_py.point_cloud2", "road_kd_seg.ros.compat.point_cloud2_fallback")


def message(stamp_ms):
    sec, milliseconds = divmod(stamp_ms, 1000)
    return SimpleNamespace(header=Header(stamp=Time(sec=sec, nanosec=milliseconds * 1_000_000)), stamp_ms=stamp_ms)


class Pairs:
    """A synchronizer of two inputs, and the stamps of what it fired with."""

    def __init__(self, module, kind, *args, **kwargs):
        self.inputs = [module.SimpleFilter(), module.SimpleFilter()]
        self.synchronizer = getattr(module, kind)(self.inputs, *args, **kwargs)
        self.fired = []
        self.synchronizer.registerCallback(lambda a, b: self.fired.append((a.stamp_ms, b.stamp_ms)))

    def send(self, *arrivals):
        """(input, stamp in ms), in the order of arrival."""
        for index, stamp_ms in arrivals:
            self.inputs[index].signalMessage(message(stamp_ms))
        return self.fired


@pytest.mark.parametrize("filters", FILTERS)
class TestSimpleFilter:
    def test_callbacks_get_their_own_arguments_in_the_order_of_registration(self, filters):
        received = []
        source = filters.SimpleFilter()
        source.registerCallback(lambda *got: received.append(got), "first", 1)
        source.registerCallback(lambda *got: received.append(got), "second")
        source.signalMessage("message")
        assert received == [("message", "first", 1), ("message", "second")]


@pytest.mark.parametrize("filters", FILTERS)
class TestTimeSynchronizer:
    def test_equal_stamps_fire_in_either_order_of_arrival(self, filters):
        assert Pairs(filters, "TimeSynchronizer", 5).send((0, 10), (1, 10), (1, 20), (0, 20)) == [(10, 10), (20, 20)]

    def test_unequal_stamps_never_fire(self, filters):
        assert Pairs(filters, "TimeSynchronizer", 5).send((0, 10), (1, 11), (0, 12), (1, 13)) == []

    def test_a_pair_fires_once(self, filters):
        assert Pairs(filters, "TimeSynchronizer", 5).send((0, 10), (1, 10), (1, 10)) == [(10, 10)]

    def test_a_full_queue_evicts_the_smallest_stamp_even_if_it_is_the_newest_message(self, filters):
        pairs = Pairs(filters, "TimeSynchronizer", 2)
        assert pairs.send((0, 10), (0, 20), (0, 30), (1, 10)) == []
        assert pairs.send((0, 5), (1, 5)) == []
        assert pairs.send((1, 30)) == [(30, 30)]

    def test_queues_show_what_waits_by_stamp_and_may_be_emptied(self, filters):
        pairs = Pairs(filters, "TimeSynchronizer", 5)
        pairs.send((0, 10), (0, 20), (1, 30))
        assert [sorted(queue) for queue in pairs.synchronizer.queues] == [[10_000_000, 20_000_000], [30_000_000]]
        for queue in pairs.synchronizer.queues:
            queue.clear()
        assert pairs.send((1, 10), (0, 30)) == []

    @given(stamps=st.permutations([(index, stamp) for index in (0, 1) for stamp in range(6)]))
    def test_a_queue_that_holds_everything_pairs_everything_or_what_is_not_older_than_a_pair(self, filters, stamps):
        fired = Pairs(filters, "TimeSynchronizer", 12).send(*stamps)
        assert all(a == b for a, b in fired)
        assert len(set(fired)) == len(fired)
        assert (5, 5) in fired


@pytest.mark.parametrize("filters", FILTERS)
class TestApproximateTimeSynchronizer:
    def test_stamps_closer_than_the_slop_fire(self, filters):
        pairs = Pairs(filters, "ApproximateTimeSynchronizer", 5, 0.02)
        assert pairs.send((0, 10), (1, 25), (1, 110), (0, 95)) == [(10, 25), (95, 110)]

    def test_a_difference_of_exactly_the_slop_does_not_fire(self, filters):
        assert Pairs(filters, "ApproximateTimeSynchronizer", 5, 0.02).send((0, 10), (1, 30)) == []

    def test_no_slop_never_fires(self, filters):
        assert Pairs(filters, "ApproximateTimeSynchronizer", 5, 0.0).send((0, 10), (1, 10)) == []

    def test_the_closest_of_several_candidates_is_taken_and_the_others_stay(self, filters):
        pairs = Pairs(filters, "ApproximateTimeSynchronizer", 5, 0.05)
        assert pairs.send((0, 10), (0, 30), (0, 50), (1, 33)) == [(30, 33)]
        assert pairs.send((1, 12)) == [(30, 33), (10, 12)]

    def test_it_takes_the_first_match_without_waiting_for_a_better_one(self, filters):
        assert Pairs(filters, "ApproximateTimeSynchronizer", 5, 0.05).send((0, 0), (1, 30), (1, 1)) == [(0, 30)]


FIELDS = [
    PointField(name=name, offset=offset, datatype=datatype, count=1)
    for name, offset, datatype in (
        ("x", 0, PointField.FLOAT32),
        ("n", 4, PointField.UINT8),
        ("y", 5, PointField.FLOAT32),
    )
]
DTYPE = np.dtype([("x", "<f4"), ("n", "u1"), ("y", "<f4")])


@pytest.mark.parametrize("clouds", CLOUDS)
class TestPointCloud2:
    def test_what_was_put_in_is_read_back(self, clouds):
        points = np.array([(1.5, 7, -2.0), (np.inf, 255, 0.25)], DTYPE)
        header = Header(frame_id="camera")
        cloud = clouds.create_cloud(header, FIELDS, points)
        assert (cloud.header, cloud.height, cloud.width, cloud.point_step, cloud.row_step) == (header, 1, 2, 9, 18)
        assert not cloud.is_dense
        np.testing.assert_array_equal(clouds.read_points(cloud), points)

    def test_no_points_are_a_valid_cloud(self, clouds):
        cloud = clouds.create_cloud(Header(), FIELDS, np.empty(0, DTYPE))
        assert (cloud.width, len(cloud.data)) == (0, 0)
        assert len(clouds.read_points(cloud)) == 0

    def test_fields_can_be_chosen_by_name(self, clouds):
        cloud = clouds.create_cloud(Header(), FIELDS, np.array([(1, 2, 3)], DTYPE))
        points = clouds.read_points(cloud, ["y", "n"])
        assert points.dtype.names == ("y", "n")
        assert points[0].tolist() == (3.0, 2)

    def test_padding_between_points_is_skipped(self, clouds):
        padded = np.zeros(
            2, {"names": DTYPE.names, "formats": ["<f4", "u1", "<f4"], "offsets": [0, 4, 5], "itemsize": 16}
        )
        padded["x"] = [1, 2]
        cloud = PointCloud2(height=1, width=2, fields=FIELDS, point_step=16, row_step=32)
        cloud.data.frombytes(padded.tobytes())
        assert clouds.read_points(cloud)["x"].tolist() == [1.0, 2.0]

    def test_big_endian_clouds_have_the_same_values(self, clouds):
        fields = [PointField(name="x", offset=0, datatype=PointField.FLOAT32, count=1)]
        cloud = PointCloud2(height=1, width=2, fields=fields, point_step=4, row_step=8, is_bigendian=True)
        cloud.data.frombytes(np.array([1.5, -8], ">f4").tobytes())
        assert clouds.read_points(cloud)["x"].tolist() == [1.5, -8.0]

    def test_points_of_another_layout_are_refused(self, clouds):
        with pytest.raises(AssertionError):
            clouds.create_cloud(Header(), FIELDS, np.zeros(1, [("x", "<f8")]))

    def test_unknown_fields_and_other_messages_are_refused(self, clouds):
        cloud = clouds.create_cloud(Header(), FIELDS, np.zeros(1, DTYPE))
        with pytest.raises(AssertionError):
            clouds.read_points(cloud, ["z"])
        with pytest.raises(AssertionError):
            clouds.read_points(Header())
