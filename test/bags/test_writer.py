# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader

from road_kd_seg.bags import topics
from road_kd_seg.bags.writer import depth_to_millimeters, write_bag
from road_kd_seg.errors import BagError
from road_kd_seg.frame import Intrinsics, LabeledFrame, RgbdFrame

H, W = 6, 10
CAMERA = Intrinsics(512.0, 511.0, 4.5, 2.5, W, H)
FIRST_STAMP_NS = 1_700_000_000_123_456_789


def make_frames(count: int, *, depth: bool = True, label: bool = True) -> list[LabeledFrame]:
    rng = np.random.default_rng(1)
    return [
        LabeledFrame(
            RgbdFrame(
                rng.integers(0, 256, (H, W, 3), np.uint8),
                (rng.integers(0, 9000, (H, W)) / 1000).astype(np.float32) if depth else None,
                CAMERA,
                FIRST_STAMP_NS + i * 33_333_333,
                topics.COLOR_OPTICAL_FRAME,
            ),
            rng.integers(0, 5, (H, W), np.uint8) if label else None,
        )
        for i in range(count)
    ]


def read_messages(path: Path, topic: str) -> list:
    with AnyReader([path]) as reader:
        connections = [c for c in reader.connections if c.topic == topic]
        return [(t, reader.deserialize(raw, c.msgtype)) for c, t, raw in reader.messages(connections)]


@pytest.fixture(scope="module")
def frames() -> list[LabeledFrame]:
    return make_frames(5)


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory, frames: list[LabeledFrame]) -> Path:
    path = tmp_path_factory.mktemp("bags") / "deep" / "drive"
    assert write_bag(path, iter(frames)) == len(frames)
    return path


class TestTopics:
    def test_rosbags_sees_every_topic_with_its_type_and_count(self, bag: Path, frames: list[LabeledFrame]):
        with AnyReader([bag]) as reader:
            seen = {c.topic: (c.msgtype, c.msgcount) for c in reader.connections}
        assert seen == {
            topics.COLOR_TOPIC: ("sensor_msgs/msg/Image", len(frames)),
            topics.DEPTH_TOPIC: ("sensor_msgs/msg/Image", len(frames)),
            topics.CAMERA_INFO_TOPIC: ("sensor_msgs/msg/CameraInfo", len(frames)),
            topics.LABEL_TOPIC: ("sensor_msgs/msg/Image", len(frames)),
            topics.TF_STATIC_TOPIC: ("tf2_msgs/msg/TFMessage", 1),
        }

    def test_mcap_reads_the_same_messages_in_time_order(self, bag: Path, frames: list[LabeledFrame]):
        with (bag / "drive.mcap").open("rb") as stream:
            reader = make_reader(stream, validate_crcs=True)
            assert reader.get_header().profile == "ros2"
            seen = [
                (schema.name, channel.topic, message.log_time, message.data)
                for schema, channel, message in reader.iter_messages()
            ]
        assert len(seen) == 4 * len(frames) + 1
        assert [t for _, _, t, _ in seen] == sorted(t for _, _, t, _ in seen)
        with AnyReader([bag]) as reader:
            expected = {(c.msgtype, c.topic, t, bytes(raw)) for c, t, raw in reader.messages()}
        assert set(seen) == expected

    def test_static_transforms_are_latched_and_images_are_not(self, bag: Path):
        info = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
        durability = {
            t["topic_metadata"]["name"]: t["topic_metadata"]["offered_qos_profiles"][0]["durability"]
            for t in info["topics_with_message_count"]
        }
        assert info["storage_identifier"] == "mcap"
        assert durability.pop(topics.TF_STATIC_TOPIC) == "transient_local"
        assert set(durability.values()) == {"volatile"}

    @pytest.mark.parametrize(
        ("depth", "label", "with_labels"), [(False, True, True), (True, False, True), (True, True, False)]
    )
    def test_what_the_frames_lack_is_no_topic(self, tmp_path: Path, depth: bool, label: bool, with_labels: bool):
        write_bag(tmp_path / "bag", make_frames(2, depth=depth, label=label), with_labels=with_labels)
        with AnyReader([tmp_path / "bag"]) as reader:
            assert (topics.DEPTH_TOPIC in reader.topics) == depth
            assert (topics.LABEL_TOPIC in reader.topics) == (label and with_labels)


class TestMessages:
    def test_pixels_come_back_byte_for_byte(self, bag: Path, frames: list[LabeledFrame]):
        color = read_messages(bag, topics.COLOR_TOPIC)
        depth = read_messages(bag, topics.DEPTH_TOPIC)
        label = read_messages(bag, topics.LABEL_TOPIC)
        for i, (frame, written_label) in enumerate(frames):
            assert (color[i][1].encoding, color[i][1].step, color[i][1].height, color[i][1].width) == (
                "rgb8",
                3 * W,
                H,
                W,
            )
            np.testing.assert_array_equal(color[i][1].data.reshape(H, W, 3), frame.rgb)
            assert (depth[i][1].encoding, depth[i][1].step) == ("16UC1", 2 * W)
            millimeters = depth[i][1].data.view(np.uint16).reshape(H, W)
            np.testing.assert_array_equal(millimeters, np.rint(frame.depth_m * 1000))
            assert (label[i][1].encoding, label[i][1].step) == ("mono8", W)
            np.testing.assert_array_equal(label[i][1].data.reshape(H, W), written_label)

    def test_the_messages_of_a_frame_share_stamp_and_optical_frame(self, bag: Path, frames: list[LabeledFrame]):
        for topic in (topics.COLOR_TOPIC, topics.DEPTH_TOPIC, topics.CAMERA_INFO_TOPIC, topics.LABEL_TOPIC):
            headers = [(t, m.header) for t, m in read_messages(bag, topic)]
            stamps = [h.stamp.sec * 1_000_000_000 + h.stamp.nanosec for _, h in headers]
            assert stamps == [f.frame.stamp_ns for f in frames] == [t for t, _ in headers]
            assert {h.frame_id for _, h in headers} == {topics.COLOR_OPTICAL_FRAME}

    def test_camera_info_holds_the_pinhole(self, bag: Path):
        _, info = read_messages(bag, topics.CAMERA_INFO_TOPIC)[0]
        assert (info.width, info.height, info.distortion_model, list(info.d)) == (W, H, "plumb_bob", [0.0] * 5)
        np.testing.assert_array_equal(info.k.reshape(3, 3), [[512, 0, 4.5], [0, 511, 2.5], [0, 0, 1]])
        np.testing.assert_array_equal(info.p.reshape(3, 4)[:, :3], info.k.reshape(3, 3))
        np.testing.assert_array_equal(info.p.reshape(3, 4)[:, 3], 0)

    def test_the_frame_tree_reaches_the_optical_frame_and_turns_forward_into_z(self, bag: Path):
        ((_, message),) = read_messages(bag, topics.TF_STATIC_TOPIC)
        parents = {t.child_frame_id: t.header.frame_id for t in message.transforms}
        chain = [topics.COLOR_OPTICAL_FRAME]
        while chain[-1] in parents:
            chain.append(parents[chain[-1]])
        assert chain == [topics.COLOR_OPTICAL_FRAME, topics.COLOR_FRAME, topics.CAMERA_FRAME]
        q = next(t.transform.rotation for t in message.transforms if t.child_frame_id == topics.COLOR_OPTICAL_FRAME)
        optical_z_in_body = (2 * (q.x * q.z + q.w * q.y), 2 * (q.y * q.z - q.w * q.x), 1 - 2 * (q.x**2 + q.y**2))
        assert optical_z_in_body == (1.0, 0.0, 0.0)

    def test_depth_that_is_no_distance_becomes_0(self):
        depth_m = np.array([[np.nan, np.inf, -1.0, 0.0, 70.0, 1.2344, 65.535]], np.float32)
        assert depth_to_millimeters(depth_m).tolist() == [[0, 0, 0, 0, 0, 1234, 65535]]

    def test_a_frame_without_name_gets_the_drivers(self, tmp_path: Path):
        write_bag(tmp_path / "bag", [LabeledFrame(RgbdFrame(np.zeros((H, W, 3), np.uint8), None), None)])
        ((_, message),) = read_messages(tmp_path / "bag", topics.COLOR_TOPIC)
        assert message.header.frame_id == topics.COLOR_OPTICAL_FRAME


class TestRefusals:
    def test_an_existing_path_is_left_alone(self, tmp_path: Path):
        kept = tmp_path / "precious"
        kept.write_text("data")
        with pytest.raises(BagError, match="precious: exists already"):
            write_bag(kept, make_frames(1))
        assert kept.read_text() == "data"

    def test_no_frames_is_no_bag(self, tmp_path: Path):
        with pytest.raises(BagError, match="there are no frames"):
            write_bag(tmp_path / "bag", [])
        assert not (tmp_path / "bag").exists()

    def test_stamps_that_do_not_rise_are_named(self, tmp_path: Path):
        frame = make_frames(1)[0]
        with pytest.raises(BagError, match=f"frame 1 has stamp {FIRST_STAMP_NS} ns"):
            write_bag(tmp_path / "bag", [frame, frame])

    def test_a_source_that_fails_leaves_no_half_bag(self, tmp_path: Path):
        def failing_source() -> Iterator[LabeledFrame]:
            yield from make_frames(2)
            raise ValueError("the camera fell off")

        with pytest.raises(ValueError, match="the camera fell off"):
            write_bag(tmp_path / "bag", failing_source())
        assert not (tmp_path / "bag").exists()
