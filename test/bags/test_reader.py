# SPDX-License-Identifier: Apache-2.0
import struct

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin

from recorders import ROS2, compressed_image, header, image, record, write_mcap
from road_kd_seg.bags.random_access import FrameAccess
from road_kd_seg.bags.reader import BagReader
from road_kd_seg.bags.topics import COLOR_TOPIC, DEPTH_TOPIC, LABEL_TOPIC, TopicNames
from road_kd_seg.bags.writer import write_bag
from road_kd_seg.errors import BagError, FrameError
from rvl_encoder import encode_rvl

GRAY = np.full((2, 4), 90, np.uint8)
DEPTH_MM = np.full((2, 4), 1500, np.uint16)


class TestRoundTrip:
    def test_what_was_written_is_read(self, tmp_path, frames_of):
        written = frames_of(range(4))
        write_bag(tmp_path / "bag", written)
        with BagReader(tmp_path / "bag") as reader:
            read = list(reader.frames())
        assert len(read) == 4
        for (frame, label), (expected, written_label) in zip(read, written, strict=True):
            assert np.array_equal(frame.rgb, expected.rgb)
            assert np.allclose(frame.depth_m, expected.depth_m, atol=1e-6)
            assert np.array_equal(label, written_label)
            assert (frame.stamp_ns, frame.frame_id) == (expected.stamp_ns, expected.frame_id)
            assert frame.intrinsics == expected.intrinsics

    def test_the_file_inside_the_folder_reads_like_the_folder(self, tmp_path, frames_of):
        write_bag(tmp_path / "bag", frames_of(range(2)))
        (storage,) = (tmp_path / "bag").glob("*.mcap")
        with BagReader(storage) as reader:
            assert len(list(reader.frames())) == 2

    def test_a_folder_that_lost_its_metadata_still_reads(self, tmp_path, frames_of):
        write_bag(tmp_path / "bag", frames_of(range(2)))
        (tmp_path / "bag" / "metadata.yaml").unlink()
        with BagReader(tmp_path / "bag") as reader:
            assert len(list(reader.frames())) == 2

    def test_sqlite_reads_like_mcap(self, raw_bag):
        bag = raw_bag(storage=StoragePlugin.SQLITE3)
        bag.image(COLOR_TOPIC, 5, "mono8", GRAY)
        with BagReader(bag.close()) as reader:
            ((frame, label),) = reader.frames()
        assert frame.rgb[0, 0].tolist() == [90, 90, 90]
        assert label is None

    def test_topics_counts_and_duration_are_known_before_reading(self, tmp_path, frames_of):
        write_bag(tmp_path / "bag", frames_of(range(3), label=False))
        with BagReader(tmp_path / "bag") as reader:
            assert reader.topics[COLOR_TOPIC] == "sensor_msgs/msg/Image"
            assert reader.message_counts[COLOR_TOPIC] == 3
            assert reader.duration_ns == pytest.approx(200_000_000, abs=1)
            assert reader.has_depth
            assert not reader.has_labels

    def test_raw_messages_come_by_log_time_and_only_from_the_topics_asked_for(self, tmp_path, frames_of):
        write_bag(tmp_path / "bag", frames_of(range(3)))
        with BagReader(tmp_path / "bag") as reader:
            everything = list(reader.messages())
            depth = list(reader.messages([DEPTH_TOPIC]))
        assert [m.log_time_ns for m in everything] == sorted(m.log_time_ns for m in everything)
        assert depth == [m for m in everything if m.topic == DEPTH_TOPIC]
        assert len(depth) == 3


class TestPairing:
    def test_a_depth_image_late_in_the_file_and_off_by_a_little_finds_its_color(self, raw_bag):
        bag = raw_bag()
        for number in range(3):
            bag.image(COLOR_TOPIC, number * 100, "mono8", GRAY)
        for number in (2, 0, 1):
            bag.image(DEPTH_TOPIC, number * 100 + 30, "16UC1", DEPTH_MM + np.uint16(number))
        with BagReader(bag.close()) as reader:
            depths_m = [float(frame.depth_m[0, 0]) for frame, _ in reader.frames()]
        assert depths_m == pytest.approx([1.5, 1.501, 1.502])

    def test_a_lost_depth_image_leaves_its_frame_without_one(self, raw_bag):
        bag = raw_bag()
        for number in range(3):
            bag.image(COLOR_TOPIC, number * 100, "mono8", GRAY)
            if number != 1:
                bag.image(DEPTH_TOPIC, number * 100, "16UC1", DEPTH_MM)
        with BagReader(bag.close()) as reader:
            assert [frame.depth_m is None for frame, _ in reader.frames()] == [False, True, False]
            assert (reader.index.num_with_depth, reader.index.num_labeled) == (2, 0)

    def test_a_label_needs_the_very_stamp_of_its_image(self, raw_bag):
        bag = raw_bag()
        for number in range(3):
            bag.image(COLOR_TOPIC, number * 100, "mono8", GRAY)
        bag.image(LABEL_TOPIC, 100, "mono8", GRAY)
        bag.image(LABEL_TOPIC, 201, "mono8", GRAY)
        with BagReader(bag.close()) as reader:
            assert [label is None for _, label in reader.frames()] == [True, False, True]

    def test_a_given_slop_of_zero_pairs_equal_stamps_only(self, raw_bag):
        bag = raw_bag()
        for number in range(2):
            bag.image(COLOR_TOPIC, number * 100, "mono8", GRAY)
            bag.image(DEPTH_TOPIC, number * 101, "16UC1", DEPTH_MM)
        with BagReader(bag.close(), slop_s=0.0) as reader:
            assert [frame.depth_m is None for frame, _ in reader.frames()] == [False, True]

    def test_other_topic_names_can_be_given(self, raw_bag):
        bag = raw_bag()
        bag.image("/left/image", 5, "bgr8", np.full((2, 4, 3), (1, 2, 3), np.uint8))
        bag.image("/left/depth", 5, "32FC1", np.full((2, 4), 2.5, np.float32))
        names = TopicNames(color="/left/image", depth="/left/depth")
        with BagReader(bag.close(), names=names) as reader:
            ((frame, _),) = reader.frames()
        assert frame.rgb[0, 0].tolist() == [3, 2, 1]
        assert frame.depth_m[0, 0] == 2.5
        assert frame.intrinsics is None


class TestMemory:
    @pytest.mark.parametrize("first", [COLOR_TOPIC, DEPTH_TOPIC])
    def test_few_images_are_held_back_even_where_partners_were_recorded_far_away(self, raw_bag, first, monkeypatch):
        monkeypatch.setattr("road_kd_seg.bags.frame_stream.MAX_WAITING", 3)
        bag = raw_bag()
        for topic in (first, DEPTH_TOPIC if first == COLOR_TOPIC else COLOR_TOPIC):
            for number in range(12):
                pixels = GRAY * 0 + number if topic == COLOR_TOPIC else DEPTH_MM * 0 + 1000 + number
                bag.image(
                    topic,
                    number * 100,
                    "mono8" if topic == COLOR_TOPIC else "16UC1",
                    pixels.astype("u1" if topic == COLOR_TOPIC else "u2"),
                )
        held = []
        with BagReader(bag.close()) as reader:
            for frame, _ in reader.frames():
                number = int(frame.rgb[0, 0, 0])
                assert round(float(frame.depth_m[0, 0]) * 1000) == 1000 + number
                held.append(number)
        assert held == list(range(12))


class TestCompressed:
    @pytest.mark.parametrize("codec", ["png", "rvl"])
    def test_compressed_images_give_the_same_frames(self, tmp_path, codec):
        depth_mm = np.random.default_rng(0).integers(0, 9000, (6, 8)).astype(np.uint16)
        rgb = np.random.default_rng(1).integers(0, 256, (6, 8, 3), np.uint8)
        size = struct.pack("<ii", 8, 6)
        body = cv2.imencode(".png", depth_mm)[1].tobytes() if codec == "png" else size + encode_rvl(depth_mm)
        contents = {
            f"{COLOR_TOPIC}/compressed": (
                "rgb8; png compressed bgr8",
                cv2.imencode(".png", rgb[..., ::-1])[1].tobytes(),
            ),
            f"{DEPTH_TOPIC}/compressedDepth": (f"16UC1; compressedDepth {codec}", bytes(12) + body),
            f"{LABEL_TOPIC}/compressed": ("mono8; png compressed ", cv2.imencode(".png", rgb[..., 0])[1].tobytes()),
        }
        records = [
            record(topic, compressed_image(format_, data, number * 10**8), number * 10**8)
            for number in range(3)
            for topic, (format_, data) in contents.items()
        ]
        path = write_mcap(tmp_path / "drive.mcap", records)
        with BagReader(path) as reader:
            frames = list(reader.frames())
        assert len(frames) == len(FrameAccess(path)) == 3
        for frame, label in [*frames, FrameAccess(path)[1]]:
            np.testing.assert_array_equal(frame.rgb, rgb)
            np.testing.assert_array_equal(frame.depth_m, depth_mm / np.float32(1000))
            np.testing.assert_array_equal(label, rgb[..., 0])


class TestFrameChecks:
    def write(self, tmp_path, *, depth_frame="camera", info_frame="camera", info_size=(8, 6)):
        k = np.array([5.0, 0, 4, 0, 5, 3, 0, 0, 1])
        region = ROS2.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
        info = ROS2.types["sensor_msgs/msg/CameraInfo"](
            header(0, info_frame),
            info_size[1],
            info_size[0],
            "",
            np.zeros(5),
            k,
            np.zeros(9),
            np.zeros(12),
            0,
            0,
            region,
        )
        rgb, depth = np.zeros((6, 8, 3), np.uint8), np.full((6, 8), 2000, np.uint16)
        records = [
            record("/camera/color/camera_info", info, 0),
            record("/camera/color/image_raw", image(rgb, "rgb8", 0), 0),
            record("/camera/depth/image", image(depth, "16UC1", 0, frame_id=depth_frame), 0),
        ]
        return write_mcap(tmp_path / "drive.mcap", records)

    def test_what_fits_is_used(self, tmp_path):
        with BagReader(self.write(tmp_path, depth_frame="/camera", info_frame="")) as reader:
            frame, _ = reader.first_frame()
        assert frame.intrinsics is not None
        assert frame.depth_m is not None
        assert reader.notes == []

    @pytest.mark.parametrize("options", [{"info_frame": "other"}, {"info_size": (9, 6)}])
    def test_a_camera_info_that_does_not_fit_counts_as_none_and_it_is_said(self, tmp_path, options):
        with BagReader(self.write(tmp_path, **options)) as reader:
            frame, _ = reader.first_frame()
            assert frame.intrinsics is None
            assert any("camera_info is" in note and "without intrinsics" in note for note in reader.notes)

    def test_depth_of_another_frame_is_refused_unless_it_is_asked_for(self, tmp_path):
        path = self.write(tmp_path, depth_frame="depth")
        with (
            BagReader(path) as reader,
            pytest.raises(BagError, match=r"none of the 1 frames can be decoded; .*in frame"),
        ):
            reader.first_frame()
        with BagReader(path, require_same_frame=False) as reader:
            assert reader.first_frame().frame.depth_m[0, 0] == 2


class TestInvalidFrames:
    @pytest.fixture
    def bag_with_a_short_second_image(self, raw_bag):
        bag = raw_bag()
        bag.image(COLOR_TOPIC, 0, "mono8", GRAY)
        bag.image(COLOR_TOPIC, 100, "mono8", GRAY, data=b"\1")
        bag.image(COLOR_TOPIC, 200, "mono8", GRAY)
        return bag.close()

    def test_it_stops_the_reading_if_nobody_asked(self, bag_with_a_short_second_image):
        with BagReader(bag_with_a_short_second_image) as reader, pytest.raises(FrameError, match="data holds 1 bytes"):
            list(reader.frames())

    def test_it_is_reported_and_left_out_otherwise(self, bag_with_a_short_second_image):
        told = []
        with BagReader(bag_with_a_short_second_image) as reader:
            stamps = [frame.stamp_ns for frame, _ in reader.frames(on_invalid=told.append)]
        assert stamps == [0, 200]
        assert len(told) == 1

    def test_a_depth_of_another_size_names_the_mend(self, raw_bag):
        bag = raw_bag()
        bag.image(COLOR_TOPIC, 0, "mono8", GRAY)
        bag.image(DEPTH_TOPIC, 0, "16UC1", DEPTH_MM[:1])
        with BagReader(bag.close()) as reader, pytest.raises(FrameError, match=r"align_depth\.enable"):
            list(reader.frames())


class TestBadBags:
    def test_nothing_there(self, tmp_path):
        with pytest.raises(BagError, match="no such file or folder"):
            BagReader(tmp_path / "nowhere")

    def test_a_file_of_another_kind(self, tmp_path):
        (tmp_path / "notes.txt").write_text("hello")
        with pytest.raises(BagError, match=r"expected a rosbag2 folder, an \.mcap, \.db3 or \.bag file"):
            BagReader(tmp_path / "notes.txt")

    def test_a_folder_without_a_recording_names_those_inside(self, tmp_path, frames_of):
        with pytest.raises(BagError, match=r"no \.mcap, \.db3 or \.bag file in this folder: pass the folder"):
            BagReader(tmp_path)
        write_bag(tmp_path / "drive", frames_of([0]))
        with pytest.raises(BagError, match="there are recordings in drive"):
            BagReader(tmp_path)

    @pytest.mark.parametrize("suffix", [".mcap", ".db3", ".bag"])
    @pytest.mark.parametrize("content", [b"", b"rubbish" * 400])
    def test_a_file_that_is_no_recording_is_refused_in_one_line(self, tmp_path, suffix, content):
        path = tmp_path / f"broken{suffix}"
        path.write_bytes(content)
        with pytest.raises(
            BagError, match="pass the file that the recorder wrote|no recording, or an empty one"
        ) as caught:
            BagReader(path)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("kept", [0.3, 0.5, 0.9, 0.999])
    def test_of_an_mcap_that_was_cut_short_everything_before_the_cut_is_used_and_it_is_said(
        self, tmp_path, frames_of, kept
    ):
        write_bag(tmp_path / "bag", frames_of(range(20), height=40, width=60))
        (storage,) = (tmp_path / "bag").glob("*.mcap")
        content = storage.read_bytes()
        storage.write_bytes(content[: int(len(content) * kept)])
        with BagReader(storage) as reader:
            frames = list(reader.frames())
            assert 19 * kept - 2 <= len(frames) <= 20
            assert any("cut short" in note for note in reader.notes)
        for number, (frame, _) in enumerate(frames):
            assert np.array_equal(frame.rgb, frames_of([number], height=40, width=60)[0].frame.rgb)

    def test_without_color_the_topics_that_are_there_are_listed(self, raw_bag):
        bag = raw_bag()
        bag.text("/chatter", "hi")
        expected = r"no color images on /camera/.*; it holds /chatter \(std_msgs/msg/String\): .*--color-topic"
        with BagReader(bag.close()) as reader, pytest.raises(BagError, match=expected):
            next(reader.frames())

    def test_a_color_topic_of_another_type_is_named_with_both_types(self, raw_bag):
        bag = raw_bag()
        bag.text(COLOR_TOPIC, "hi")
        expected = "is of type std_msgs/msg/String, expected sensor_msgs/msg/Image"
        with BagReader(bag.close()) as reader, pytest.raises(BagError, match=expected):
            next(reader.frames())
