# SPDX-License-Identifier: Apache-2.0
import sys

import pytest
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from sensor_msgs.msg import Image

from road_kd_seg.bags.topic_publishers import interface_class, publisher_qos

LATCHED, VOLATILE, BEST_EFFORT = (
    "- {history: 1, depth: 1, reliability: 1, durability: 1}",
    "- {history: keep_last, depth: 7, reliability: reliable, durability: volatile}",
    "- {history: 3, depth: 0, reliability: 2, durability: 2}",
)


class TestQos:
    @pytest.mark.parametrize(
        ("topic", "offered", "latched", "reliable", "depth"),
        [
            ("/map_of_mine", LATCHED, True, True, 4),
            ("/image", VOLATILE, False, True, 7),
            ("/image", BEST_EFFORT, False, False, 10),
            ("/image", f"{VOLATILE}\n{BEST_EFFORT}", False, True, 7),
            ("/tf_static", "", True, True, 4),
            ("/tf_static", VOLATILE, False, True, 7),
            ("/image", "", False, True, 10),
            ("/image", "no: list", False, True, 10),
            ("/image", "{[", False, True, 10),
        ],
    )
    def test_it_is_what_the_recorded_publishers_offered(self, topic, offered, latched, reliable, depth):
        qos = publisher_qos(topic, offered, messages=4)
        assert (qos.durability == DurabilityPolicy.TRANSIENT_LOCAL) == latched
        assert (qos.reliability == ReliabilityPolicy.RELIABLE) == reliable
        assert qos.depth == depth


class TestInterfaceClass:
    def test_an_installed_type_is_found(self):
        assert interface_class("sensor_msgs/msg/Image") is Image

    @pytest.mark.parametrize(
        "msgtype", ["", "json", "nope_msgs/msg/X", "sensor_msgs/msg/Nope", "sensor_msgs/srv/Image"]
    )
    def test_what_is_not_installed_is_none(self, msgtype):
        assert interface_class(msgtype) is None

    def test_a_package_that_is_no_interface_package_is_not_run(self, tmp_path, monkeypatch):
        package = tmp_path / "evil_from_a_bag" / "msg"
        package.mkdir(parents=True)
        (package.parent / "__init__.py").write_text("raise SystemExit('it ran')")
        (package / "__init__.py").write_text("class X: pass")
        monkeypatch.syspath_prepend(tmp_path)
        assert interface_class("evil_from_a_bag/msg/X") is None
        assert "evil_from_a_bag" not in sys.modules
