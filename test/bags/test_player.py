# SPDX-License-Identifier: Apache-2.0
"""The player: what it sends, how it ends, and a node that outlives it."""

import signal
import time

import numpy as np
import pytest
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String

from recorders import ROS1, image, record, string, write_ros1, write_sqlite
from road_kd_seg.bags.reader import BagReader
from road_kd_seg.bags.topics import CAMERA_INFO_TOPIC, COLOR_OPTICAL_FRAME, COLOR_TOPIC, DEPTH_TOPIC
from road_kd_seg.bags.writer import write_bag
from road_kd_seg.frame import Intrinsics, LabeledFrame, RgbdFrame

pytestmark = pytest.mark.ros

FRAMES = 20
PERIOD_NS = 50_000_000
REMAPS = [
    part
    for name, topic in {
        "color/image_raw": COLOR_TOPIC,
        "aligned_depth_to_color/image_raw": DEPTH_TOPIC,
        "color/camera_info": CAMERA_INFO_TOPIC,
    }.items()
    for part in ("-r", f"{name}:={topic}")
]


def frames():
    for number in range(FRAMES):
        random = np.random.default_rng(number)
        rgb = random.integers(0, 256, (48, 64, 3), np.uint8)
        depth_m = np.full((48, 64), 3, np.float32)
        stamp_ns = 1_700_000_000_000_000_000 + number * PERIOD_NS
        camera = Intrinsics(60, 60, 32, 24, 64, 48)
        yield LabeledFrame(RgbdFrame(rgb, depth_m, camera, stamp_ns, COLOR_OPTICAL_FRAME), None)


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """One second of a camera at 20 Hz."""
    path = tmp_path_factory.mktemp("bags") / "bag"
    write_bag(path, frames())
    return path


def play(graph, bag, *arguments):
    return graph.start("road_kd_seg.bags.player", str(bag), "--wait-for-subscribers", "30", *arguments)


class TestWhatItSends:
    def test_every_message_as_it_was_recorded_at_the_rate_asked_for(self, graph, bag):
        received = {
            topic: graph.subscribe(kind, topic, raw=True)
            for topic, kind in ((COLOR_TOPIC, Image), (DEPTH_TOPIC, Image), (CAMERA_INFO_TOPIC, CameraInfo))
        }
        times_s = []
        player = play(graph, bag, "--rate", "2")

        def ended() -> bool:
            if len(received[COLOR_TOPIC]) > len(times_s):
                times_s.append(time.monotonic())
            return not player.running

        graph.until(ended, "the end of the bag")
        graph.until(lambda: all(len(messages) == FRAMES for messages in received.values()), "every message")
        with BagReader(bag) as reader:
            for topic, messages in received.items():
                recorded = [message.cdr for message in reader.messages([topic])]
                for got, sent in zip(messages, recorded, strict=True):
                    assert got[: len(sent)] == sent, (topic, len(got), len(sent))  # the middleware pads to four bytes
        recorded_s = (FRAMES - 1) * PERIOD_NS / 1e9
        assert times_s[-1] - times_s[0] >= 0.9 * recorded_s / 2
        assert player.wait() == 0

    def test_the_clock_runs_with_the_bag_and_back_with_a_loop(self, graph, bag):
        graph.subscribe(Image, COLOR_TOPIC)
        clock = graph.subscribe(Clock, "/clock")
        player = play(graph, bag, "--clock", "--loop", "--rate", "4", "--topics", COLOR_TOPIC)

        def steps_ns():
            return np.diff([msg.clock.sec * 1_000_000_000 + msg.clock.nanosec for msg in clock])

        graph.until(lambda: (steps_ns() < 0).any(), "a jump back")
        assert np.count_nonzero(steps_ns() > 0) > 2
        assert player.stop(signal.SIGINT) == 0
        assert "Traceback" not in player.log

    def test_a_type_that_is_not_installed_is_skipped_with_one_line(self, graph, bag):
        try:
            import tf2_msgs.msg  # noqa: F401
        except ImportError:
            pass
        else:
            pytest.skip("tf2_msgs is installed here")
        graph.subscribe(Image, COLOR_TOPIC)
        player = play(graph, bag, "--rate", "4")
        graph.until(lambda: not player.running, "the end of the bag")
        assert player.log.count("skipping /tf_static: message type 'tf2_msgs/msg/TFMessage' is not installed") == 1


class TestRecordingsOfOthers:
    def test_names_that_ros_forbids_are_skipped_with_one_line_and_what_the_sdk_logs_at_time_0_is_not_waited_for(
        self, graph, tmp_path
    ):
        start_ns = 1_700_000_000_000_000_000
        records = [
            record(f"/device_0/sensor_0/option/{name}/value", string("1"), 1) for name in ("Depth Units", "Laser Power")
        ]
        pixels = np.zeros((4, 4), np.uint8)
        records += [
            record("/device_0/sensor_1/Color_0/image/data", image(pixels, "mono8", start_ns + n), start_ns + n)
            for n in range(3)
        ]
        bag = write_sqlite(tmp_path / "viewer.db3", records)
        received = graph.subscribe(Image, "/device_0/sensor_1/Color_0/image/data", raw=True)
        player = play(graph, bag)
        graph.until(lambda: len(received) == 3, "every image")
        assert player.wait(60) == 0
        assert player.log.count("skipping 2 topics with names that ROS 2 forbids") == 1
        assert "next: seg_view " in player.log.splitlines()[-1]

    def test_a_ros1_bag_is_played_as_ros2_messages(self, graph, tmp_path):
        pixels = np.arange(16, dtype=np.uint8).reshape(4, 4)
        messages = [("/image", image(pixels, "mono8", 5, store=ROS1), 10**9 + n) for n in range(3)]
        received = graph.subscribe(Image, "/image")
        player = play(graph, write_ros1(tmp_path / "old.bag", messages))
        graph.until(lambda: len(received) == 3, "every image")
        assert bytes(received[0].data) == pixels.tobytes()
        assert player.wait(60) == 0

    def test_a_latched_topic_reaches_who_comes_later(self, graph, tmp_path):
        qos = "- {history: 1, depth: 1, reliability: 1, durability: 1}"
        records = [record("/about", string("a robot"), 0)]
        records += [record("/tick", string("tick"), n * 100_000_000) for n in range(100)]
        bag = write_sqlite(tmp_path / "drive.db3", records, qos={"/about": qos})
        player = play(graph, bag, "--loop")
        ticks = graph.subscribe(String, "/tick")
        graph.until(lambda: len(ticks) > 0, "a tick")
        about = graph.subscribe(String, "/about", latched=True)
        graph.until(lambda: len(about) > 0, "the latched message", 5)
        assert about[0].data == "a robot"
        assert player.stop(signal.SIGINT) == 0


class TestItsErrors:
    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            (["/no/such/bag"], "bag /no/such/bag: no such file or folder"),
            (["{bag}", "--topics", "/nope"], "it has no /nope; it holds"),
            (["{bag}", "--wait-for-subscribers", "0.2"], "0 subscriptions to "),
            (["{junk}"], "no MCAP file"),
        ],
        ids=["missing", "topic", "nobody", "damaged"],
    )
    def test_one_line_and_exit_code_1(self, graph, bag, tmp_path, arguments, reason):
        junk = tmp_path / "junk.mcap"
        junk.write_bytes(b"no bag at all")
        player = graph.start(
            "road_kd_seg.bags.player", *(argument.format(bag=bag, junk=junk) for argument in arguments)
        )
        assert player.wait(60) == 1
        errors = [line for line in player.log.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        assert reason in errors[0]
        assert "Traceback" not in player.log


class TestTheNodeOutlivesIt:
    def test_nothing_is_lost_at_a_rate_the_node_can_process_and_a_killed_player_can_play_again(
        self, graph, bag, tiny_bundle
    ):
        node = graph.start_node(*REMAPS, model=tiny_bundle, use_sim_time=True)
        labels = graph.listen(Image, "/road_seg/label")
        # 10 Hz for a model that needs a few milliseconds.
        # Each of the node's three inputs is awaited: discovery finds them one by one.
        player = play(graph, bag, "--clock", "--rate", "0.5", "--subscribers", "3")
        graph.until(lambda: not player.running, "the end of the bag", 60)
        graph.counts()
        graph.until(lambda: graph.latest_counts["in_flight"] == 0, "the last frame's end")
        counts = graph.latest_counts
        # Every pair arrived whole. Only a machine that stalls for a frame period leaves one superseded.
        assert counts["received"] == FRAMES
        assert counts["published"] + counts["dropped.superseded"] == FRAMES
        played = counts["published"]
        graph.until(lambda: len(labels) == played, "every label")

        killed = play(graph, bag, "--clock")
        graph.until(lambda: len(labels) > played, "labels of the second run")
        killed.kill()
        looped = play(graph, bag, "--clock", "--loop")
        seen = len(labels)
        graph.until(lambda: len(labels) > seen + FRAMES, "labels of a second loop")
        assert looped.stop() == 0
        assert node.stop() == 0
        counts = node.counters()
        dropped = sum(count for key, count in counts.items() if key.startswith("dropped."))
        assert counts["received"] == counts["published"] + dropped
        assert "Traceback" not in node.log
