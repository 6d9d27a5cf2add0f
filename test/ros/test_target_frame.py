# SPDX-License-Identifier: Apache-2.0
"""Points in another frame. tf2_ros has no wheels: where it is missing, one that knows a single transform stands in."""

import importlib.util
import math

import numpy as np
import pytest
from sensor_msgs.msg import Image, PointCloud2

from road_kd_seg.ros.compat.point_cloud2 import read_points
from ros_graph import START_S

pytestmark = [
    pytest.mark.ros,
    pytest.mark.skipif(importlib.util.find_spec("tf2_ros") is not None, reason="the real tf2_ros is installed"),
]

STAND_IN = f"""
from geometry_msgs.msg import TransformStamped

class TransformException(Exception): ...

class Buffer:
    def lookup_transform(self, target_frame, source_frame, time, timeout):
        if target_frame != "base_link":
            raise TransformException(f"frame '{{target_frame}}' does not exist")
        found = TransformStamped()
        found.transform.translation.x = 1.0
        found.transform.rotation.z = found.transform.rotation.w = {math.sqrt(0.5)}
        return found

class TransformListener:
    def __init__(self, buffer, node): ...
    def unregister(self): ...
"""


@pytest.fixture
def with_tf2(tmp_path, monkeypatch):
    (tmp_path / "tf2").mkdir()
    (tmp_path / "tf2" / "tf2_ros.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "tf2"))


def test_without_tf2_it_stays_unconfigured_and_says_what_to_install(graph, tiny_bundle):
    process = graph.start_node(model=tiny_bundle, target_frame="base_link")
    reason = (
        "stays unconfigured: parameter target_frame: 'base_link' needs the Python package tf2_ros: apt install ros-"
    )
    graph.until(lambda: reason in process.log, "the reason", START_S)
    assert graph.status()["state"] == "unconfigured"
    assert process.stop() == 0


def test_points_are_in_the_target_frame_at_the_stamp_of_their_image(with_tf2, graph, stamps, tiny_bundle):
    graph.start_node(model=tiny_bundle, target_frame="base_link")
    there = graph.listen(PointCloud2, "/road_seg/points")

    def arrived() -> bool:
        stamp_ns = next(stamps)
        graph.publish(graph.color_image(stamp_ns), graph.depth_image(stamp_ns), graph.camera_info(stamp_ns))
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


def test_an_unknown_transform_costs_the_points_and_not_the_masks(with_tf2, graph, stamps, tiny_bundle):
    process = graph.start_node(model=tiny_bundle, target_frame="atlantis")
    clouds, labels = graph.subscribe(PointCloud2, "/road_seg/points"), graph.listen(Image, "/road_seg/label")

    def warned() -> bool:
        stamp_ns = next(stamps)
        images = graph.color_image(stamp_ns), graph.depth_image(stamp_ns), graph.camera_info(stamp_ns)
        for msg in images:
            msg.header.frame_id = "camera\x1b[31m\n[ERROR] forged"
        graph.publish(*images)
        return bool(labels) and r"no transform from camera\x1b[31m\n[ERROR] forged to atlantis" in process.log

    graph.until(warned, "labels and the warning", START_S)
    assert clouds == []
    assert "\x1b[31m\n" not in process.log
    graph.assert_survival(stamps)
