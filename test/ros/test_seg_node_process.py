# SPDX-License-Identifier: Apache-2.0
"""The node's life: how it starts, what it does without a model, without depth, and how it ends."""

import signal

import numpy as np
import pytest
from sensor_msgs.msg import Image

from road_kd_seg.frame import RgbdFrame
from road_kd_seg.segmenter import Segmenter
from ros_graph import HEIGHT, START_S, WIDTH

pytestmark = pytest.mark.ros


@pytest.fixture(autouse=True)
def survival(graph, stamps):
    """After every test."""
    yield
    graph.assert_survival(stamps)


class TestStart:
    def test_without_its_bundle_it_stays_unconfigured_says_why_once_and_can_be_given_another(
        self, graph, stamps, tiny_bundle
    ):
        process = graph.start_node(model="/no/such/model")
        status = graph.status()
        assert (status["state"], status["level"]) == ("unconfigured", b"\x02")
        reason = "model bundle '/no/such/model': no model.yaml in /no/such/model"
        assert reason in status["message"]
        assert process.log.count(reason) == 1
        assert "ros2 param set /road_seg NAME VALUE" in process.log.splitlines()[-1]
        assert not graph.change_state("configure")

        assert graph.set_parameters(model=str(tiny_bundle)).successful
        assert graph.change_state("configure")
        assert graph.change_state("activate")
        graph.outputs(stamps, label=Image)
        assert process.stop(signal.SIGTERM) == 0


class TestEnd:
    def test_a_flood_is_superseded_and_every_image_is_accounted_for_at_the_end(self, graph, stamps, tiny_bundle):
        process = graph.start_node(model=tiny_bundle)
        (labels,) = graph.outputs(stamps, label=Image)

        def both_kinds() -> bool:
            for _ in range(20):
                graph.publish_pair(next(stamps))
                graph.publish(graph.color_image(next(stamps)))
            return all(graph.latest_counts.get(f"dropped.{kind}", 0) for kind in ("superseded", "unsynchronized"))

        graph.until(both_kinds, "superseded frames and some without depth")
        assert process.stop(signal.SIGINT) == 0
        assert process.counters()["published"] >= len(labels)
        assert "replay_eval BAG --live tells" in process.log.splitlines()[-1]


class TestWithoutDepth:
    def test_the_rgb_model_takes_over_after_the_timeout_and_depth_brings_the_first_one_back(
        self, graph, stamps, tiny_bundle, tiny_rgb_bundle
    ):
        graph.start_node(model=tiny_bundle, rgb_only_model=tiny_rgb_bundle, depth_timeout_s=0.5)
        (labels,) = graph.outputs(stamps, label=Image)
        labels.clear()

        def segmented() -> bool:
            graph.publish(graph.color_image(next(stamps)))
            return labels and graph.latest_status.get("depth") == "missing"

        graph.until(segmented, "labels of color alone")
        assert graph.latest_status["level"] == b"\x01"
        assert f"segmenting color alone with {tiny_rgb_bundle}" in graph.latest_status["message"]

        graph.outputs(stamps, label=Image)
        graph.publish_pair(next(stamps))
        graph.until(lambda: graph.latest_status["depth"] == "present", "depth to be back")


class TestOnnx:
    def test_without_its_model_it_says_why_and_with_one_it_predicts_like_torch(
        self, graph, stamps, tiny_bundle, tiny_onnx_bundle
    ):
        graph.start_node(model=tiny_bundle, backend="onnx")
        status = graph.status()
        assert (status["state"], status["level"]) == ("unconfigured", b"\x02")
        assert "it has no model.onnx. Write a bundle with one by 'road-kd export" in status["message"]

        assert graph.set_parameters(model=str(tiny_onnx_bundle)).successful
        assert graph.change_state("configure")
        assert graph.change_state("activate")
        (labels,) = graph.outputs(stamps, label=Image)
        assert "onnxruntime" in graph.status()["device"]
        label = labels[-1]
        stamp_ns = label.header.stamp.sec * 1_000_000_000 + label.header.stamp.nanosec
        rgb = np.frombuffer(graph.color_image(stamp_ns).data, np.uint8).reshape(label.height, label.width, 3)
        depth_m = np.full((label.height, label.width), 3.0, np.float32)
        expected = Segmenter.from_bundle(tiny_bundle, device="cpu")(RgbdFrame(rgb, depth_m)).label
        published = np.frombuffer(label.data, np.uint8).reshape(expected.shape)
        assert len(np.unique(expected)) > 2
        assert (published == expected).mean() > 0.999


class TestCompressed:
    def test_jpeg_color_and_png_depth_are_segmented(self, graph, stamps, tiny_bundle):
        graph.start_node(model=tiny_bundle, image_transport="compressed")
        for topic in ("/color/image_raw/compressed", "/aligned_depth_to_color/image_raw/compressedDepth"):
            graph.until(lambda: graph.node.count_subscribers(topic), topic, START_S)  # noqa: B023
        label = graph.segment_next_pair(stamps)
        assert (label.height, label.width) == (HEIGHT, WIDTH)
        assert graph.counts()["dropped.invalid"] == 0
