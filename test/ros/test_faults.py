# SPDX-License-Identifier: Apache-2.0
"""What goes wrong around a robot, done to real processes: the node says what is wrong, and lives on."""

import itertools
import os
import resource
import subprocess
import sys
from array import array
from pathlib import Path

import numpy as np
import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header

from road_kd_seg.frame import RgbdFrame
from road_kd_seg.ros.conversions import image_from_array
from road_kd_seg.segmenter import Segmenter
from road_kd_seg.synthetic.drive import render_scene
from ros_graph import START_S, Graph

pytestmark = pytest.mark.ros

SUBSCRIBED = ("/color/image_raw", "/aligned_depth_to_color/image_raw", "/color/camera_info")


@pytest.fixture(autouse=True)
def survival(graph, stamps):
    """After every test."""
    yield
    graph.assert_survival(stamps)


class TestSilence:
    """The tests follow each other on one node: nothing, color alone, both without matching stamps, pairs."""

    @pytest.fixture(scope="class")
    def silent(self, tmp_path_factory, tiny_bundle):
        graph = Graph(tmp_path_factory.mktemp("silent"))
        process = graph.start_node("-r", "color/image_raw:=/nobody", model=tiny_bundle)
        graph.process = process
        yield graph
        graph.assert_survival(itertools.count(10**15, 10**8))
        graph.close()

    def test_a_topic_without_publisher_is_named_with_those_that_may_be_meant(self, silent):
        line = "no color image for 5 s: /nobody (best effort, volatile) has no publisher; remap it to one of"
        silent.until(lambda: line in silent.process.log, "the warning", START_S)
        text = silent.process.log.partition(line)[2].splitlines()[0]
        assert "/aligned_depth_to_color/image_raw, /color/image_raw" in text
        assert "/aligned_depth_to_color/image_raw (best effort, volatile) has 1 publisher: test (reliable, vol" in text

    def test_color_without_depth_is_said(self, silent, stamps):
        color = silent.node.create_publisher(Image, "/nobody", QoSProfile(depth=1))

        def said() -> bool:
            color.publish(silent.color_image(next(stamps)))
            return "color images, but no depth image for 5 s: " in silent.process.log

        silent.until(said, "the warning", START_S)

    def test_stamps_that_never_match_are_said(self, silent, stamps):
        color = silent.node.create_publisher(Image, "/nobody", QoSProfile(depth=1))

        def said() -> bool:
            color.publish(silent.color_image(next(stamps)))
            silent.publish(depth=silent.depth_image(next(stamps) + 1))
            return "color and depth images, but no two with matching stamps for 5 s: " in silent.process.log

        silent.until(said, "the warning", START_S)

    def test_each_is_said_once_and_the_node_segments_the_next_pair(self, silent, stamps):
        color = silent.node.create_publisher(Image, "/nobody", QoSProfile(depth=1))
        labels = silent.listen(Image, "/road_seg/label")

        def segmented() -> bool:
            stamp_ns = next(stamps)
            color.publish(silent.color_image(stamp_ns))
            silent.publish(depth=silent.depth_image(stamp_ns))
            return bool(labels)

        silent.until(segmented, "a label")
        assert silent.process.log.count("images, but no") == 2


class TestQualityOfService:
    def test_a_reliable_subscription_to_a_best_effort_camera_is_explained(self, graph, tiny_bundle):
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        camera = graph.node.create_publisher(Image, "/camera/image", qos)
        override = "qos_overrides./camera/image.subscription.reliability:=reliable"
        process = graph.start_node("-r", "color/image_raw:=/camera/image", "-p", override, model=tiny_bundle)
        line = "/camera/image (reliable, volatile) has 1 publisher: test (best effort, volatile)"
        graph.until(lambda: line in process.log, "the warning", START_S)
        graph.node.destroy_publisher(camera)


class TestCameraInfo:
    """A camera_info that does not fit counts as none: masks, no points, one warning."""

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (
                {"header": Header(frame_id="robot/camera_link/rgbd_camera")},
                "camera_info is of frame 'robot/camera_link",
            ),
            ({"width": 1280, "height": 720}, "camera_info is for 1280x720 images, the color image is 64x48"),
            ({"k": np.zeros(9)}, "camera_info holds no calibration"),
            ({"binning_x": 2**31, "binning_y": 2**31}, "camera_info"),
        ],
        ids=["another frame", "another size", "uncalibrated", "absurd binning"],
    )
    def test_masks_come_all_the_same_with_one_warning(self, graph, stamps, tiny_bundle, change, reason):
        process = graph.start_node(model=tiny_bundle)
        labels, clouds = (
            graph.subscribe(Image, "/road_seg/label"),
            graph.subscribe(PointCloud2, "/road_seg/obstacle_points"),
        )

        def warned() -> bool:
            stamp_ns = next(stamps)
            info = graph.camera_info(stamp_ns)
            for name, value in change.items():
                setattr(info, name, value)
            graph.publish(info=info)
            graph.publish_pair(stamp_ns)
            return bool(labels) and f"masks, but no points: {reason}" in process.log

        graph.until(warned, "masks and the warning", START_S)
        assert not clouds
        assert graph.counts()["dropped.invalid"] == 0
        assert process.log.count("masks, but no points") == 1

    def test_where_sizes_alternate_every_frame_has_points(self, graph, stamps, tiny_bundle):
        graph.start_node(model=tiny_bundle)
        clouds = graph.listen(PointCloud2, "/road_seg/obstacle_points")
        sizes = itertools.cycle([(48, 64), (60, 80)])

        def both_sizes() -> bool:
            stamp_ns, size = next(stamps), next(sizes)
            graph.publish(
                *(make(stamp_ns, *size) for make in (graph.color_image, graph.depth_image, graph.camera_info))
            )
            return len(clouds) >= 4

        graph.until(both_sizes, "points", START_S)


class TestPoorDepth:
    def test_the_color_model_takes_over_and_hands_back(self, graph, stamps, tiny_bundle, tiny_rgb_bundle):
        process = graph.start_node(model=tiny_bundle, rgb_only_model=tiny_rgb_bundle)
        labels = graph.listen(Image, "/road_seg/label")

        def send(millimeters: int) -> None:
            count, stamp_ns = len(labels), next(stamps)
            graph.publish(graph.color_image(stamp_ns), graph.depth_image(stamp_ns, millimeters=millimeters))
            graph.until(lambda: len(labels) > count, "a label", START_S)

        def reaches(state: str, message: str, millimeters: int):
            def condition() -> bool:
                send(millimeters)
                status = graph.latest_status
                return status.get("depth") == state and message in status["message"]

            return condition

        graph.outputs(stamps, label=Image)
        graph.until(reaches("present", "", 3000), "depth to count", START_S)
        message = f"(min_valid_depth 10%): segmenting color alone with {tiny_rgb_bundle}"
        graph.until(reaches("poor", message, 0), "depth to be given up", START_S)
        assert graph.latest_status["level"] == b"\x01"
        assert int(graph.latest_status["poor_depth_frames"]) >= 10
        assert "poor depth: only 0% of the pixels have depth" in process.log
        graph.until(reaches("present", "", 3000), "depth to be back", START_S)
        assert "depth is good again" in process.log

    def test_a_frame_without_a_road_plane_is_counted_and_segmented_all_the_same(self, graph, stamps, tiny_bundle):
        graph.start_node(model=tiny_bundle)
        labels = graph.listen(Image, "/road_seg/label")

        def segmented() -> bool:
            stamp_ns = next(stamps)
            depth = graph.depth_image(stamp_ns)
            ceiling = (1000 / np.linspace(2.0, 0.3, 48)).astype("<u2")[:, None].repeat(64, 1)  # nearer towards the top
            depth.data = array("B", ceiling.tobytes())
            graph.publish(graph.color_image(stamp_ns), depth)
            counted = int(graph.latest_status.get("poor_depth_frames", 0)) > 0
            return labels and counted and "no road plane in the depth" in graph.latest_status["message"]

        graph.until(segmented, "a label, a count and the warning", START_S)


class TestAlignment:
    def test_shifted_depth_is_measured_and_said(self, graph, stamps, tiny_bundle):
        process = graph.start_node(model=tiny_bundle)
        frames = [render_scene(seed, 144, 256)[0] for seed in range(1_000_000, 1_000_006)]
        pictures = itertools.cycle(frames)

        def warned() -> bool:
            frame, header = next(pictures), graph.header(next(stamps))
            depth_mm = np.rint(np.roll(frame.depth_m, 16, 1) * 1000).astype(np.uint16)
            graph.publish(image_from_array(frame.rgb, "rgb8", header), image_from_array(depth_mm, "16UC1", header))
            return "depth is shifted against color by about +" in process.log

        graph.outputs(stamps, label=Image)
        graph.until(warned, "the warning", START_S)
        assert graph.status()["alignment"].startswith("depth is shifted")


class TestFrameIds:
    def test_depth_of_another_frame_is_taken_where_the_parameter_says_so(self, graph, stamps, tiny_bundle):
        graph.start_node(model=tiny_bundle, require_same_frame="false")
        labels = graph.listen(Image, "/road_seg/label")

        def segmented() -> bool:
            depth = graph.depth_image(stamp_ns := next(stamps))
            depth.header = graph.header(stamp_ns, "camera_depth_optical_frame")
            graph.publish(graph.color_image(stamp_ns), depth)
            return bool(labels)

        graph.until(segmented, "a label", START_S)


class TestNamesake:
    def test_two_nodes_of_one_name_say_so(self, graph, tiny_bundle):
        first, second = (graph.start_node(model=tiny_bundle) for _ in range(2))
        warning = "another node has the same name"
        graph.until(lambda: warning in first.log and warning in second.log, "both to warn", START_S)
        second.kill()


class TestHalfWay:
    @pytest.mark.parametrize("override", ["depth:=-1", "depth:=deep", "reliability:=maybe"])
    def test_an_activation_that_fails_leaves_no_subscription_behind(self, graph, tiny_bundle, override):
        topic = "/color/camera_info"  # the last one
        process = graph.start_node("-p", f"qos_overrides.{topic}.subscription.{override}", model=tiny_bundle)
        reason = f"stays inactive: topic {topic} cannot be opened"
        graph.until(lambda: reason in process.log, "the reason", START_S)
        assert graph.status()["state"] == "inactive"
        graph.until(lambda: not any(map(graph.node.count_subscribers, SUBSCRIBED)), "no subscription")
        assert not graph.change_state("activate")
        assert process.stop() == 0

    def test_a_configuration_that_fails_leaves_no_publisher_behind(self, graph, tiny_bundle):
        topic = "/road_seg/overlay"
        process = graph.start_node("-p", f"qos_overrides.{topic}.publisher.reliability:=maybe", model=tiny_bundle)
        reason = f"stays unconfigured: topic {topic} cannot be opened"
        graph.until(lambda: reason in process.log, "the reason", START_S)
        graph.until(lambda: not graph.node.count_publishers("/road_seg/label"), "no publisher")
        assert process.stop() == 0


def processor_s(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class TestEnd:
    def test_it_takes_no_more_than_the_frame_in_progress_on_busy_cores(self, graph, stamps, tiny_bundle):
        process = graph.start_node(model=tiny_bundle)
        graph.outputs(stamps, label=Image)
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
        try:
            for _ in range(20):
                graph.publish_pair(next(stamps))
            reaped, used_s = resource.getrusage(resource.RUSAGE_CHILDREN), processor_s(process.pid)
            assert process.stop() == 0
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
        finally:
            for burner in busy:
                burner.kill()
                burner.wait()
        assert "frame counters: " in process.log
        whole_s = after.ru_utime + after.ru_stime - reaped.ru_utime - reaped.ru_stime
        # Processor time does not depend on who else computes; taking down PyTorch alone took more than 1 s.
        assert whole_s - used_s < 0.7


class TestRotate:
    def test_an_upside_down_camera_gets_the_labels_of_the_upright_one_in_its_own_pixels(
        self, graph, stamps, tiny_bundle
    ):
        graph.start_node(model=tiny_bundle, rotate=180)
        (labels,) = graph.outputs(stamps, label=Image)
        label = labels[-1]
        color = graph.color_image(label.header.stamp.sec * 10**9 + label.header.stamp.nanosec)
        rgb = np.frombuffer(color.data, np.uint8).reshape(48, 64, 3)[::-1, ::-1]
        depth_m = np.full((48, 64), 3.0, np.float32)
        expected = Segmenter.from_bundle(tiny_bundle, device="cpu")(RgbdFrame(rgb.copy(), depth_m)).label
        found = np.frombuffer(label.data, np.uint8).reshape(48, 64)[::-1, ::-1]
        assert len(np.unique(expected)) > 2
        assert (found == expected).mean() > 0.999
