# SPDX-License-Identifier: Apache-2.0
"""The running node: what goes in, what comes out, what it survives."""

import json
import math
import re
from dataclasses import fields

import numpy as np
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Float64, String
from std_srvs.srv import SetBool

from road_kd_seg.ros.compat.point_cloud2 import read_points
from road_kd_seg.ros.parameters import LIVE, Settings
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY, Role
from ros_graph import FRAME_ID

pytestmark = pytest.mark.ros

NUMBERS = [item for item in fields(Settings) if item.metadata["range"] is not None]
IMAGES = {"label": "mono8", "obstacle_mask": "mono8", "lane_mask": "mono8", "confidence": "mono8", "overlay": "rgb8"}


def pixels(msg):
    return np.frombuffer(msg.data, np.uint8).reshape(msg.height, msg.width, -1).squeeze()


def at(messages, header):
    """The message with this header, if it has come."""
    return next((msg for msg in messages if msg.header == header), None)


def segment(graph, stamp_ns, *outputs):
    """Publish a pair; return its messages from each of the outputs."""
    header = graph.publish_pair(stamp_ns).header
    graph.until(lambda: all(at(messages, header) for messages in outputs), f"the outputs of {stamp_ns}")
    return [at(messages, header) for messages in outputs]


@pytest.fixture(autouse=True)
def survival(running, stamps):
    """After every test the node segments the next good pair; at the end, `running` asks where every frame went."""
    yield
    (labels,) = running.outputs(stamps, label=Image)
    segment(running, next(stamps), labels)


class TestOutputs:
    def test_every_image_has_the_color_images_header_and_size(self, running, stamps):
        listeners = running.outputs(stamps, **dict.fromkeys(IMAGES, Image))
        stamp_ns = next(stamps)
        color = running.color_image(stamp_ns)
        for (name, encoding), msg in zip(IMAGES.items(), segment(running, stamp_ns, *listeners), strict=True):
            assert serialize_message(msg.header) == serialize_message(color.header), name
            assert (msg.height, msg.width, msg.encoding) == (color.height, color.width, encoding), name
            assert len(msg.data) == msg.step * msg.height, name

    def test_masks_are_the_labels_of_their_role(self, running, stamps):
        listeners = running.outputs(stamps, label=Image, obstacle_mask=Image, lane_mask=Image)
        label, obstacle, lane = map(pixels, segment(running, next(stamps), *listeners))
        assert set(np.unique(label)) == set(range(len(DEFAULT_TAXONOMY)))
        np.testing.assert_array_equal(obstacle, DEFAULT_TAXONOMY.role_table(Role.OBSTACLE)[label])
        np.testing.assert_array_equal(lane, DEFAULT_TAXONOMY.role_table(Role.LANE)[label])

    def test_each_stages_time_is_told_on_request(self, running, stamps):
        stages = ("preprocess_ms", "inference_ms", "postprocess_ms")
        listeners = running.outputs(stamps, **{f"debug/processing_time/{stage}": Float64 for stage in stages})
        assert all(0 < message.data < 60_000 for messages in listeners for message in messages)

    def test_a_late_subscriber_gets_the_legend(self, running):
        legend = running.listen(String, "/road_seg/legend", latched=True)
        running.until(lambda: legend, "the legend")
        assert json.loads(legend[0].data) == {"classes": DEFAULT_TAXONOMY.to_dicts()}

    def test_points_are_computed_only_once_somebody_listens_and_then_need_camera_info(self, running, stamps):
        (labels,) = running.outputs(stamps, label=Image)
        segment(running, next(stamps), labels)
        assert "no points" not in running.log
        clouds = running.listen(PointCloud2, "/road_seg/obstacle_points")
        warning = "no points: they need a calibrated camera_info"
        running.until(lambda: segment(running, next(stamps), labels) and warning in running.log, "the warning")

        # Nothing orders camera_info before the images: send until it has arrived.
        running.publish(info=running.camera_info(next(stamps)))
        running.until(lambda: segment(running, next(stamps), labels) and clouds, "points")
        label, cloud = segment(running, next(stamps), labels, clouds)
        points = read_points(cloud, ["z", "label", "confidence"])
        is_obstacle = DEFAULT_TAXONOMY.role_table(Role.OBSTACLE) > 0
        assert len(points) == np.count_nonzero(is_obstacle[pixels(label)])
        assert np.all(points["z"] == np.float32(3))
        assert np.all(is_obstacle[points["label"]])

    def test_obstacles_are_told_as_objects_with_the_stamp_of_their_image(self, running, stamps):
        told = running.listen(String, "/road_seg/obstacles_json")

        def of_any() -> bool:
            stamp_ns = next(stamps)
            running.publish(running.color_image(stamp_ns), running.depth_image(stamp_ns), running.camera_info(stamp_ns))
            return bool(told)

        running.until(of_any, "obstacles")
        found = json.loads(told[-1].data)
        assert found["frame_id"] == FRAME_ID
        names = {item.name for item in DEFAULT_TAXONOMY.classes if item.role is Role.OBSTACLE}
        assert all(each["class"] in names and each["id"] > 0 for each in found["obstacles"])


def with_(msg, **fields):
    for name, value in fields.items():
        setattr(msg, name, value)
    return msg


BAD_PAIRS = {
    "encoding 'nonsense'": lambda g, t: (with_(g.color_image(t), encoding="nonsense"), g.depth_image(t)),
    "the message was cut short": lambda g, t: (with_(g.color_image(t), data=b"abc"), g.depth_image(t)),
    "encoding '8UC1'": lambda g, t: (g.color_image(t), with_(g.depth_image(t), encoding="8UC1")),
    "the depth must be aligned": lambda g, t: (g.color_image(t), g.depth_image(t, height=24, width=32)),
    "depth is in frame 'camera_depth_optical_frame'": lambda g, t: (
        g.color_image(t),
        with_(g.depth_image(t), header=g.header(t, "camera_depth_optical_frame")),
    ),
}


class TestBadInput:
    def test_each_bad_pair_is_dropped_with_its_reason_and_the_next_good_one_is_segmented(self, running, stamps):
        (labels,) = running.outputs(stamps, label=Image)
        before = running.counts()
        for reason, bad in BAD_PAIRS.items():
            running.publish(*bad(running, next(stamps)))
            running.until(lambda: reason in running.latest_status["last_problem"], reason)  # noqa: B023
            segment(running, next(stamps), labels)
        after = running.counts()
        assert after["dropped.invalid"] - before["dropped.invalid"] == len(BAD_PAIRS)
        assert after["published"] - before["published"] == len(BAD_PAIRS)

    def test_a_color_image_without_depth_is_unsynchronized_once_a_later_pair_is_found(self, running, stamps):
        (labels,) = running.outputs(stamps, label=Image)
        before = running.counts()
        running.publish(running.color_image(next(stamps)))
        running.until(lambda: running.latest_counts["in_flight"] == 1, "a color image that waits")
        segment(running, next(stamps), labels)
        after = running.counts()
        assert after["dropped.unsynchronized"] - before["dropped.unsynchronized"] == 1
        assert after["in_flight"] == 0


class TestTime:
    def test_it_goes_on_when_stamps_jump_back(self, running, stamps):
        (labels,) = running.outputs(stamps, label=Image)
        first = [next(stamps) for _ in range(8)]
        for stamp_ns in first + first:
            segment(running, stamp_ns, labels)
            labels.clear()

    def test_color_images_of_the_past_run_do_not_wait_for_ever(self, running, stamps):
        (labels,) = running.outputs(stamps, label=Image)
        early, *late = [next(stamps) for _ in range(12)]
        before = running.counts()
        for stamp_ns in late:
            running.publish(running.color_image(stamp_ns))
        segment(running, early, labels)
        after = running.counts()
        assert after["in_flight"] == 0
        lost = after["dropped.unsynchronized"] - before["dropped.unsynchronized"]
        assert lost == after["received"] - before["received"] - 1


class TestRequests:
    def test_disabled_it_does_not_listen_and_enabled_it_segments_again(self, running, stamps):
        response = running.call(SetBool, "/road_seg/set_enabled", SetBool.Request(data=False))
        assert (response.success, response.message) == (True, "disabled, active")
        running.until(lambda: not running.has_listener, "the node to unsubscribe")
        assert running.status()["enabled"] == "False"
        running.call(SetBool, "/road_seg/set_enabled", SetBool.Request(data=True))
        (labels,) = running.outputs(stamps, label=Image)
        segment(running, next(stamps), labels)

    def test_an_impossible_transition_is_refused_and_the_node_lives(self, running, stamps):
        (labels,) = running.outputs(stamps, label=Image)
        assert not running.change_state("configure")
        segment(running, next(stamps), labels)

    def test_it_can_be_deactivated_cleaned_up_and_brought_back(self, running, stamps):
        for transition, state in (
            ("deactivate", "inactive"),
            ("activate", "active"),
            ("deactivate", "inactive"),
            ("cleanup", "unconfigured"),
            ("configure", "inactive"),
            ("activate", "active"),
        ):
            assert running.change_state(transition)
            assert running.lifecycle_state() == state
        (labels,) = running.outputs(stamps, label=Image)
        segment(running, next(stamps), labels)

    def test_a_threshold_changes_while_it_runs(self, running, stamps):
        (masks,) = running.outputs(stamps, obstacle_mask=Image)
        before = segment(running, next(stamps), masks)[0]
        assert running.set_parameters(min_confidence=1.0).successful
        after = segment(running, next(stamps), masks)[0]
        assert running.set_parameters(min_confidence=0.0).successful
        assert pixels(before).any()
        assert not pixels(after).any()

    def test_smoothing_remembers_the_frames_before_of_a_picture_that_stands_still(self, running, stamps):
        (labels,) = running.outputs(stamps, label=Image)
        still = running.color_image(next(stamps))

        def last_label(*depths_mm) -> np.ndarray:
            for millimeters in depths_mm:
                still.header = running.header(next(stamps))
                running.publish(still, with_(running.depth_image(0, millimeters=millimeters), header=still.header))
                running.until(lambda: at(labels, still.header), "a label")
            return pixels(at(labels, still.header))

        alone = last_label(9000, 1000)
        assert running.set_parameters(temporal_smoothing=0.9).successful
        smoothed = last_label(9000, 1000)
        assert running.set_parameters(temporal_smoothing=0.0).successful
        assert (last_label(9000, 1000) == alone).all()
        assert (smoothed != alone).any()

    def test_parameters_change_together_or_not_at_all(self, running, stamps):
        (masks,) = running.outputs(stamps, obstacle_mask=Image)
        result = running.set_parameters(min_confidence=1.0, model="/no/such/model")
        assert not result.successful
        assert "model bundle '/no/such/model'" in result.reason
        assert pixels(segment(running, next(stamps), masks)[0]).any()

    def test_another_model_takes_over_while_it_runs(self, running, stamps, tiny_bundle, tiny_rgb_bundle):
        (labels,) = running.outputs(stamps, label=Image)
        assert running.set_parameters(model=str(tiny_rgb_bundle)).successful
        segment(running, next(stamps), labels)
        assert running.status()["model"] == str(tiny_rgb_bundle)
        assert running.set_parameters(model=str(tiny_bundle)).successful

    @pytest.mark.parametrize(
        ("values", "reason"),
        [
            ({"device": "cuda:7"}, "parameter device: cannot change while the node is configured"),
            ({"min_confidence": 1.5}, "out of range"),
            ({"min_confidence": "high"}, "Wrong parameter type"),
            ({"model": ""}, "parameter model: it is empty"),
        ],
        ids=str,
    )
    def test_a_wrong_parameter_is_refused_with_its_reason(self, running, values, reason):
        result = running.set_parameters(**values)
        assert not result.successful
        assert reason in result.reason

    @pytest.mark.parametrize("item", NUMBERS, ids=lambda item: item.name)
    def test_a_number_that_is_none_of_its_range_or_of_another_type_is_refused(self, running, item):
        low, high = item.metadata["range"]
        wrong: list[object] = ["high", True, [1.0], ["a"]]
        if isinstance(item.default, float):
            wrong += [math.nan, math.inf, -math.inf, low - 1e-3, high * 1.001, -1e308, int(high)]
        else:
            wrong += [math.nan, math.inf, float(low), low - 1, high + 1, -(2**63), 2**63 - 1]
        for value in wrong:
            result = running.set_parameters(**{item.name: value})
            assert not result.successful, value
            assert re.search("out of range|Wrong parameter type", result.reason), value
            assert result.reason.isprintable()
        edges = {low, high} if item.name in LIVE else set()
        for value in (*edges, item.default):
            assert running.set_parameters(**{item.name: value}).successful
