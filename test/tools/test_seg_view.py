# SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from road_kd_seg.tools.seg_view import OVERLAY_TOPIC, describe, main, next_step
from ros_graph import HAS_ROS, START_S

STATUS = {
    "color_rate_hz": "30.0",
    "published_rate_hz": "9.9",
    "latency_p50_ms": "80.0",
    "latency_p95_ms": "95.5",
    "published": "99",
    "dropped.superseded": "7",
    "dropped.stale": "1",
    "message": "segmenting",
}


class TestLine:
    def test_it_says_what_is_seen_here_and_what_the_node_reports(self):
        assert describe(9.81, STATUS) == (
            "overlay 9.8 Hz · color 30.0 Hz · published 9.9 Hz · latency p50 80.0 ms, p95 95.5 ms"
            " · 99 published, 8 dropped · segmenting"
        )

    def test_a_node_that_does_not_report_is_said(self):
        assert describe(0, {}) == "overlay 0.0 Hz · no seg_node on /diagnostics"

    def test_diagnostics_of_a_stranger_are_text(self):
        line = describe(1, {"dropped.x": "many", "dropped.y": "9" * 5000, "message": "\x1b[31m\n[ERROR] forged"})
        assert line.isprintable()
        assert "0 dropped" in line


class TestNextStep:
    def test_without_a_node_it_is_to_start_one(self):
        assert next_step({}, None).startswith("start the node: seg_node ")

    def test_with_one_it_is_to_keep_the_overlay_and_then_to_open_it(self):
        assert next_step(STATUS, None).startswith("--save FILE")
        assert next_step(STATUS, Path("view.png")) == "open view.png"


def test_help_needs_no_ros(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["seg_view", "--help"])
    monkeypatch.setitem(sys.modules, "rclpy", None)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0
    assert "--save" in capsys.readouterr().out


@pytest.mark.ros
@pytest.mark.skipif(not HAS_ROS, reason="needs ROS 2's rclpy")
class TestOnAGraph:
    def test_it_prints_the_rate_and_keeps_the_newest_image(self, graph, tmp_path):
        from sensor_msgs.msg import Image

        publisher = graph.node.create_publisher(Image, OVERLAY_TOPIC, 5)
        viewer = graph.start("road_kd_seg.tools.seg_view", "--save", str(tmp_path / "view.png"))
        graph.until(publisher.get_subscription_count, "seg_view", START_S)
        image = graph.color_image(5)

        def seen():
            publisher.publish(image)
            return (tmp_path / "view.png").exists()

        graph.until(seen, "the picture", START_S)
        expected = np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)
        assert np.array_equal(cv2.imread(str(tmp_path / "view.png"))[:, :, ::-1], expected)
        assert viewer.stop() == 0
        assert "no seg_node on /diagnostics" in viewer.log
        assert viewer.log.splitlines()[-1].startswith("next: start the node")
        assert "Traceback" not in viewer.log

    @pytest.mark.parametrize(
        ("file", "reason"),
        [
            ("view.gif", "--save view.gif: expected a file that ends in .jpg"),
            ("/proc/x/v.png", "/proc/x: cannot be wri"),
        ],
    )
    def test_a_file_that_cannot_be_is_refused_in_one_line_before_an_image_came(self, graph, file, reason):
        viewer = graph.start("road_kd_seg.tools.seg_view", "--save", file)
        assert viewer.wait(START_S) == 1
        (line,) = viewer.log.strip().splitlines()
        assert line.startswith(f"error: {reason}")
