# SPDX-License-Identifier: Apache-2.0
"""Recordings and labels as other people have them, through the whole tool.

The labels are what the model predicts on the frames as they were meant: a run that decodes, pairs and scores a
recording rightly has an mIoU of one, and any other run has less.
"""

import csv

import cv2
import numpy as np
import pytest
import yaml

from drives import CAMERA, COUNT, PERIOD_NS, START_NS, camera_info, check_right, records
from recorders import compressed_image, image, record, string, write_mcap, write_sqlite
from road_kd_seg.bags.topics import COLOR_TOPIC, DEPTH_TOPIC, LABEL_TOPIC
from road_kd_seg.frame import RgbdFrame
from rvl_encoder import encode_rvl


class TestMetadata:
    @pytest.mark.parametrize(
        ("storage", "suffix", "qos"),
        [
            ("", ".mcap", ""),
            ("mcap", ".mcap", "a: ["),
            ("", ".db3", "- history: 3\n  depth: 0\n"),
            ("mcap", ".db3", "- {history: system_default}"),
        ],
    )
    def test_whatever_metadata_says_of_storage_and_qos_every_frame_is_scored(
        self, tmp_path, drive, evaluate, storage, suffix, qos
    ):
        bag = tmp_path / "drive"
        bag.mkdir()
        write = write_mcap if suffix == ".mcap" else write_sqlite
        write(bag / f"drive_0{suffix}", records(drive))
        describe(bag, f"drive_0{suffix}", storage, qos, COUNT)
        check_right(evaluate(bag))

    def test_what_metadata_promises_and_the_file_lacks_is_noted(self, tmp_path, drive, evaluate, capsys):
        bag = tmp_path / "drive"
        bag.mkdir()
        write_mcap(bag / "drive_0.mcap", records(drive))
        describe(bag, "drive_0.mcap", "mcap", "", COUNT + 2)
        check_right(evaluate(bag))
        assert f"promises {COUNT + 2} messages on {COLOR_TOPIC}, {COUNT} are there" in capsys.readouterr().err


def describe(bag, file, storage, qos, count):
    """Write a metadata.yaml."""
    topics = [
        {
            "topic_metadata": {
                "name": name,
                "type": "sensor_msgs/msg/Image",
                "serialization_format": "cdr",
                "offered_qos_profiles": qos,
            },
            "message_count": count,
        }
        for name in (COLOR_TOPIC, DEPTH_TOPIC, LABEL_TOPIC)
    ]
    information = {
        "version": 5,
        "storage_identifier": storage,
        "relative_file_paths": [file],
        "duration": {"nanoseconds": COUNT * PERIOD_NS},
        "starting_time": {"nanoseconds_since_epoch": START_NS},
        "message_count": 3 * count,
        "topics_with_message_count": topics,
        "compression_format": "",
        "compression_mode": "",
    }
    (bag / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": information}))


def png(pixels):
    return cv2.imencode(".png", pixels[..., ::-1] if pixels.ndim == 3 else pixels)[1].tobytes()


def rvl(depth_mm):
    return np.array(depth_mm.shape[::-1], "<i4").tobytes() + encode_rvl(depth_mm)


class TestTransport:
    @pytest.mark.parametrize(
        ("color_format", "depth_format", "encode"),
        [
            ("rgb8; png compressed bgr8", "16UC1; compressedDepth png", lambda depth_mm: bytes(12) + png(depth_mm)),
            ("bgr8; png compressed bgr8", "16UC1; compressedDepth", lambda depth_mm: bytes(12) + png(depth_mm)),
            ("png", "16UC1; compressedDepth rvl", lambda depth_mm: bytes(12) + rvl(depth_mm)),
            ("rgb8; png compressed bgr8", "16UC1; png compressed", png),
        ],
    )
    def test_what_was_compressed_without_loss_scores_as_the_raw_images(
        self, tmp_path, drive, evaluate, color_format, depth_format, encode
    ):
        bag = write_mcap(
            tmp_path / "drive.mcap",
            records(
                drive,
                color=lambda rgb, stamp_ns: compressed_image(color_format, png(rgb), stamp_ns),
                depth=lambda depth_mm, stamp_ns: compressed_image(depth_format, encode(depth_mm), stamp_ns),
                topics=(f"{COLOR_TOPIC}/compressed", f"{DEPTH_TOPIC}/compressedDepth"),
            ),
        )
        check_right(evaluate(bag))

    def test_of_a_jpeg_the_decoded_pixels_are_segmented(self, tmp_path, drive, evaluate, tiny_segmenter):
        def encoded(rgb):
            return cv2.imencode(".jpg", rgb[..., ::-1])[1]

        seen = [m._replace(rgb=cv2.imdecode(encoded(m.rgb), cv2.IMREAD_COLOR)[..., ::-1].copy()) for m in drive]
        seen = [
            m._replace(label=tiny_segmenter(RgbdFrame(m.rgb, m.depth_mm.astype(np.float32) / np.float32(1000))).label)
            for m in seen
        ]
        original = iter(drive)
        bag = write_mcap(
            tmp_path / "drive.mcap",
            records(
                seen,
                color=lambda _, stamp_ns: compressed_image(
                    "rgb8; jpeg compressed bgr8", encoded(next(original).rgb).tobytes(), stamp_ns
                ),
                topics=(f"{COLOR_TOPIC}/compressed", DEPTH_TOPIC),
            ),
        )
        check_right(evaluate(bag))


class TestStamps:
    @pytest.mark.parametrize(
        "stamp_ns",
        [lambda n: 0, lambda n: START_NS + n // 2 * 2 * PERIOD_NS, lambda n: START_NS, lambda n: START_NS + n % 2],
        ids=["all zero", "two frames each", "all equal", "back and forth"],
    )
    def test_frames_that_share_a_stamp_are_scored_against_their_own_label(self, tmp_path, drive, evaluate, stamp_ns):
        report = evaluate(write_mcap(tmp_path / "drive.mcap", records(drive, stamp_ns=stamp_ns)))
        check_right(report)
        assert any("share their stamp" in note for note in report["notes"])
        with (tmp_path / "out" / "per_frame.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert len({row["stamp_ns"] for row in rows}) == COUNT
        assert [float(row["miou"]) for row in rows] == [1.0] * COUNT
        names = report["metrics"]["iou"]
        labeled = [sum(int(row[f"labeled_px_{name}"]) for row in rows) for name in names]
        assert labeled == np.sum(report["metrics"]["confusion_matrix"], axis=1).tolist()


COLORS = {
    "bgr8": lambda rgb: rgb[..., ::-1],
    "8UC3": lambda rgb: rgb[..., ::-1],
    "rgba8": lambda rgb: np.dstack([rgb, np.full_like(rgb[..., :1], 7)]),
    "bgra8": lambda rgb: np.dstack([rgb[..., ::-1], np.full_like(rgb[..., :1], 7)]),
    "rgb16": lambda rgb: rgb.astype(np.uint16) * 257,
    "bgr16": lambda rgb: rgb[..., ::-1].astype(np.uint16) * 257,
}
WITH_LOSS = {
    **dict.fromkeys(["yuyv", "uyvy", "yuv422"], lambda rgb: rgb[..., :2]),
    **dict.fromkeys(["8UC1", "bayer_rggb8"], lambda rgb: rgb[..., 0]),
    "mono16": lambda rgb: rgb[..., 0].astype(np.uint16) * 257,
}
DEPTHS = {
    "mono16": lambda depth_mm: depth_mm,
    "32FC1": lambda depth_mm: depth_mm.astype(np.float32) / np.float32(1000),
}


def stored(pixels, encoding, stamp_ns):
    return image(np.ascontiguousarray(pixels), encoding, stamp_ns)


class TestEncodings:
    @pytest.mark.parametrize("encoding", COLORS)
    def test_color_that_is_only_stored_otherwise_scores_the_same(self, tmp_path, drive, evaluate, encoding):
        color = COLORS[encoding]
        messages = records(drive, color=lambda rgb, stamp_ns: stored(color(rgb), encoding, stamp_ns))
        check_right(evaluate(write_mcap(tmp_path / "drive.mcap", messages)))

    @pytest.mark.parametrize("encoding", WITH_LOSS)
    def test_color_of_other_cameras_is_segmented(self, tmp_path, drive, evaluate, encoding):
        color = WITH_LOSS[encoding]
        messages = records(drive, color=lambda rgb, stamp_ns: stored(color(rgb), encoding, stamp_ns))
        report = evaluate(write_mcap(tmp_path / "drive.mcap", messages))
        assert report["frames"]["published"] == COUNT
        assert sum(report["frames"]["dropped"].values()) == 0

    @pytest.mark.parametrize("encoding", DEPTHS)
    def test_depth_that_is_only_stored_otherwise_scores_the_same(self, tmp_path, drive, evaluate, encoding):
        depth = DEPTHS[encoding]
        messages = records(drive, depth=lambda depth_mm, stamp_ns: stored(depth(depth_mm), encoding, stamp_ns))
        check_right(evaluate(write_mcap(tmp_path / "drive.mcap", messages)))

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"color": lambda rgb, stamp_ns: stored(rgb, "hsv8", stamp_ns)}, "hsv8"),
            ({"depth": lambda depth_mm, stamp_ns: stored(depth_mm[:40, :60], "16UC1", stamp_ns)}, "depth is 60x40"),
            ({"depth": lambda depth_mm, stamp_ns: stored(depth_mm.astype(np.uint8), "8UC1", stamp_ns)}, "8UC1"),
        ],
        ids=["color", "depth of another size", "depth of 8 bits"],
    )
    def test_where_nothing_can_be_decoded_the_reason_is_the_error(self, tmp_path, drive, refused, change, reason):
        line = refused(write_mcap(tmp_path / "drive.mcap", records(drive, **change)))
        assert f"none of the {COUNT} frames can be decoded" in line
        assert reason in line

    def test_one_frame_that_cannot_is_counted_with_its_reason(self, tmp_path, drive, evaluate):
        def color(rgb, stamp_ns):
            return stored(rgb, "rgb8" if stamp_ns > START_NS else "hsv8", stamp_ns)

        report = evaluate(write_mcap(tmp_path / "drive.mcap", records(drive, color=color)))
        assert report["frames"]["dropped"]["invalid"] == 1
        assert report["frames"]["published"] == COUNT - 1
        assert any("hsv8" in note for note in report["notes"])


class TestTopics:
    @pytest.mark.parametrize(
        "topics",
        [
            ("/camera/color/image_raw", "/camera/aligned_depth_to_color/image_raw"),
            ("/camera/camera/color/image_raw", "/camera/camera/aligned_depth_to_color/image_raw"),
            ("/d435i/color/image_raw", "/d435i/aligned_depth_to_color/image_raw"),
            ("/zed/zed_node/rgb/image_rect_color", "/zed/zed_node/depth/depth_registered"),
            ("/camera/color/image_raw", "/camera/depth/image_raw"),
            ("/rgb/image_raw", "/depth_to_rgb/image_raw"),
        ],
    )
    def test_the_topics_of_common_drivers_are_found(self, tmp_path, drive, evaluate, topics):
        check_right(evaluate(write_mcap(tmp_path / "drive.mcap", records(drive, topics=topics))))

    def test_of_two_cameras_one_has_to_be_named_and_its_depth_follows(self, tmp_path, drive, refused, evaluate):
        left = [("/left/color/image_raw", "/left/aligned_depth_to_color/image_raw"), drive]
        right = [("/right/color/image_raw", "/right/aligned_depth_to_color/image_raw"), drive[::-1]]
        messages = [m for topics, moments in (left, right) for m in records(moments, topics=topics, labels=False)]
        messages += [m for m in records(drive) if m.topic == LABEL_TOPIC]
        messages.append(record("/rosout", string("hi"), START_NS))
        bag = write_mcap(tmp_path / "drive.mcap", messages)
        line = refused(bag)
        assert "/left/color/image_raw, /right/color/image_raw" in line
        assert "--color-topic" in line
        assert "rosout" not in line
        check_right(evaluate(bag, "--color-topic", "/left/color/image_raw"))


class TestCameraInfo:
    @pytest.mark.parametrize(
        ("info", "note"),
        [
            (lambda stamp_ns: camera_info(stamp_ns, CAMERA.scaled(160, 96)), "160x96"),
            (lambda stamp_ns: camera_info(stamp_ns, frame_id="base"), "base"),
        ],
        ids=["another size", "another frame"],
    )
    def test_one_that_does_not_fit_counts_as_none_and_it_is_said(self, tmp_path, drive, evaluate, info, note):
        report = evaluate(write_mcap(tmp_path / "drive.mcap", records(drive, info=info)))
        check_right(report)
        assert any(note in said and "without intrinsics" in said for said in report["notes"])

    def test_one_that_fits_is_not_mentioned(self, tmp_path, drive, evaluate):
        report = evaluate(write_mcap(tmp_path / "drive.mcap", records(drive, info=camera_info)))
        check_right(report)
        assert not any("camera_info" in note for note in report["notes"])

    def test_depth_of_another_frame_is_refused_until_it_is_asked_for(self, tmp_path, drive, refused, evaluate):
        def depth(depth_mm, stamp_ns):
            return image(depth_mm, "16UC1", stamp_ns, frame_id="depth_optical")

        bag = write_mcap(tmp_path / "drive.mcap", records(drive, depth=depth))
        assert "depth_optical" in refused(bag)
        check_right(evaluate(bag, "--no-require-same-frame"))

    def test_frame_ids_that_are_empty_everywhere_fit(self, tmp_path, drive, evaluate):
        messages = records(
            drive,
            color=lambda rgb, stamp_ns: image(rgb, "rgb8", stamp_ns, frame_id=""),
            depth=lambda depth_mm, stamp_ns: image(depth_mm, "16UC1", stamp_ns, frame_id=""),
            info=lambda stamp_ns: camera_info(stamp_ns, frame_id=""),
        )
        check_right(evaluate(write_mcap(tmp_path / "drive.mcap", messages)))
