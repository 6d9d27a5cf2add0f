# SPDX-License-Identifier: Apache-2.0
"""Points in another frame. tf2_ros has no wheels: where it is missing, one that knows a single transform stands in."""

import importlib.util
import itertools
import math
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header

from road_kd_seg.ros.compat.point_cloud2 import read_points
from ros_graph import FRAME_ID, START_S, Graph

pytestmark = pytest.mark.ros

HAS_TF2 = importlib.util.find_spec("tf2_ros") is not None
MISSING = "raise ImportError"
STAND_IN = f"""
from geometry_msgs.msg import TransformStamped
from rclpy.time import Time

class TransformException(Exception): ...

class Buffer:
    def get_latest_common_time(self, target_frame, source_frame):
        if target_frame != "base_link":
            raise TransformException(f"frame '{{target_frame}}' does not exist")
        return Time()
    def lookup_transform(self, target_frame, source_frame, time, timeout):
        found = TransformStamped()
        found.transform.translation.x = 1.0
        found.transform.rotation.z = found.transform.rotation.w = {math.sqrt(0.5)}
        return found

class TransformListener:
    def __init__(self, buffer, node): ...
    def unregister(self): ...
"""


def transform(parent: str, child: str, x_m: float) -> TransformStamped:
    """A quarter turn about z, then a shift along x."""
    found = TransformStamped(child_frame_id=child)
    found.header.frame_id = parent
    found.transform.translation.x = x_m
    found.transform.rotation.z = found.transform.rotation.w = math.sqrt(0.5)
    return found


@pytest.fixture
def replace_tf2(tmp_path, monkeypatch):
    """What the nodes started from now on import as tf2_ros."""

    def replace(text: str) -> None:
        (tmp_path / "tf2").mkdir()
        (tmp_path / "tf2" / "tf2_ros.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "tf2"), prepend=":")

    return replace


@pytest.fixture
def mount(graph, replace_tf2):
    """The camera's place on the robot."""
    if HAS_TF2:
        from tf2_ros import StaticTransformBroadcaster

        broadcaster = StaticTransformBroadcaster(graph.node)
        broadcaster.sendTransform(transform("base_link", FRAME_ID, 1.0))
    else:
        replace_tf2(STAND_IN)


def publish(graph: Graph, stamp_ns: int, spoil: Callable[[Header], None] = lambda header: None) -> None:
    images = graph.color_image(stamp_ns), graph.depth_image(stamp_ns), graph.camera_info(stamp_ns)
    for msg in images:
        spoil(msg.header)
    graph.publish(*images)


def seconds_since(begin_ns: int, cloud: PointCloud2) -> float:
    return cloud.header.stamp.sec - begin_ns // 10**9 + (cloud.header.stamp.nanosec - begin_ns % 10**9) / 1e9


def test_without_tf2_it_stays_unconfigured_and_says_what_to_install(replace_tf2, graph, tiny_bundle):
    replace_tf2(MISSING)
    process = graph.start_node(model=tiny_bundle, target_frame="base_link")
    reason = (
        "stays unconfigured: parameter target_frame: 'base_link' needs the Python package tf2_ros: apt install ros-"
    )
    graph.until(lambda: reason in process.log, "the reason", START_S)
    assert graph.status()["state"] == "unconfigured"
    assert process.stop() == 0


def test_points_are_in_the_target_frame_at_the_stamp_of_their_image(mount, graph, stamps, tiny_bundle):
    graph.start_node(model=tiny_bundle, target_frame="base_link")
    there = graph.listen(PointCloud2, "/road_seg/points")

    def arrived() -> bool:
        publish(graph, next(stamps))
        return bool(there)

    graph.until(arrived, "points", START_S)
    cloud = there[0]
    assert cloud.header.frame_id == "base_link"
    assert (cloud.height, cloud.width) == (48, 64)
    points = read_points(cloud, ["x", "y", "z"]).reshape(48, 64)
    # A quarter turn about z takes x to y and y to -x; then 1 m along x.
    columns, rows = np.arange(64), np.arange(48)
    np.testing.assert_allclose(points["y"][0], (columns - 32) / 60 * 3, atol=1e-4)
    np.testing.assert_allclose(points["x"][:, 0], 1 - (rows - 24) / 60 * 3, atol=1e-4)


@pytest.mark.skipif(not HAS_TF2, reason="needs the real tf2_ros")
def test_points_follow_odometry_through_a_bag_that_loops(mount, graph, stamps, tiny_bundle):
    from tf2_ros import TransformBroadcaster

    graph.start_node(model=tiny_bundle, target_frame="odom")
    clouds, broadcaster = graph.listen(PointCloud2, "/road_seg/points"), TransformBroadcaster(graph.node)
    begin_ns = next(stamps)

    def drive(steps: Iterator[int]) -> bool:
        """One meter a second along x, in tenths; whether there are points of this run."""
        tenth = next(steps)
        stamp_ns = begin_ns + tenth * 100_000_000
        odometry = transform("odom", "base_link", tenth / 10)
        odometry.header.stamp = graph.header(stamp_ns).stamp
        broadcaster.sendTransform(odometry)
        publish(graph, stamp_ns)
        return bool(clouds) and abs(tenth / 10 - seconds_since(begin_ns, clouds[-1])) < 100

    for start_s in (1000, 0):  # further back than tf2 remembers
        steps = itertools.count(start_s * 10)
        graph.until(partial(drive, steps), f"points from {start_s} s on", START_S)
    cloud = clouds[-1]
    second = seconds_since(begin_ns, cloud)
    points = read_points(cloud, ["x", "y", "z"]).reshape(48, 64)
    # Two quarter turns, each with its shift: x is -x + second, and y is 1 - y.
    np.testing.assert_allclose(points["x"][0], second - (np.arange(64) - 32) / 60 * 3, atol=1e-3)
    np.testing.assert_allclose(points["y"][:, 0], 1 - (np.arange(48) - 24) / 60 * 3, atol=1e-3)


def test_an_unknown_transform_costs_the_points_and_not_the_masks(mount, graph, stamps, tiny_bundle):
    process = graph.start_node(model=tiny_bundle, target_frame="atlantis")
    clouds, labels = graph.subscribe(PointCloud2, "/road_seg/points"), graph.listen(Image, "/road_seg/label")

    def warned() -> bool:
        publish(graph, next(stamps), lambda header: setattr(header, "frame_id", "camera\x1b[31m\n[ERROR] forged"))
        return bool(labels) and r"no transform from camera\x1b[31m\n[ERROR] forged to atlantis" in process.log

    graph.until(warned, "labels and the warning", START_S)
    assert clouds == []
    assert "\x1b[31m\n" not in process.log
    graph.assert_survival(stamps)


def test_a_negative_stamp_costs_the_points_and_not_the_frame(mount, graph, stamps, tiny_bundle):
    process = graph.start_node(model=tiny_bundle, target_frame="base_link")
    clouds, labels = graph.subscribe(PointCloud2, "/road_seg/points"), graph.listen(Image, "/road_seg/label")

    def warned() -> bool:
        publish(graph, next(stamps), lambda header: setattr(header.stamp, "sec", -header.stamp.sec))
        return bool(labels) and "must not be negative" in process.log

    graph.until(warned, "labels and the warning", START_S)
    assert clouds == []
    assert "dropped a frame" not in process.log
    graph.assert_survival(stamps)
