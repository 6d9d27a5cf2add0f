# SPDX-License-Identifier: Apache-2.0
import json
import os
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from recorders import compressed_image, image, record, write_mcap
from road_kd_seg.bags.reader import BagReader
from road_kd_seg.bags.topics import COLOR_TOPIC, DEPTH_TOPIC
from road_kd_seg.bags.writer import write_bag
from road_kd_seg.bundle import load_bundle
from road_kd_seg.errors import RoadKdError
from road_kd_seg.node_interface import LABEL_TOPIC
from road_kd_seg.replay.child_process import ChildProcess
from road_kd_seg.replay.cli import main
from road_kd_seg.replay.labels import read_label_folder
from road_kd_seg.replay.live import OUTPUTS, LiveOptions, replay_live

SIZE = {"height": 96, "width": 160}


@pytest.fixture(autouse=True)
def _local_discovery(monkeypatch):
    """What `replay_live` sets for its processes must not outlive the test."""
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def child_pids(module: str) -> list[int]:
    """Our own children that run a module."""
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it ended meanwhile
            continue
        if parent == os.getpid() and module.encode() in command:
            pids.append(int(folder.name))
    return pids


class TestChildProcess:
    def test_its_last_line_ends_the_error(self, tmp_path):
        with ChildProcess("this", [], tmp_path / "log", os.environ) as child:
            deadline = time.monotonic() + 20
            while child.return_code is None:
                assert time.monotonic() < deadline
        with pytest.raises(
            RoadKdError, match=r"this ended with exit code 0; its last line: Namespaces are .*\(all of it"
        ):
            child.check_alive()

    def test_stamps_and_colors_of_ros_are_left_out_of_its_lines(self, tmp_path):
        with ChildProcess("this", [], tmp_path / "log", os.environ) as child:
            pass
        child.log.write_text("\x1b[31m[ERROR] [1795175210.288] [road_seg]: stays unconfigured: why\x1b[0m\n\n")
        assert child.lines() == ["stays unconfigured: why"]

    def test_it_does_not_outlive_its_block(self, tmp_path):
        with ChildProcess("http.server", ["0"], tmp_path / "log", os.environ) as child:
            assert child.return_code is None
        assert child.return_code is not None


@pytest.mark.ros
class TestLiveReplay:
    def test_a_bag_played_to_the_node_makes_a_report(
        self, tmp_path, frames_of, tiny_bundle, tiny_segmenter, monkeypatch
    ):
        monkeypatch.setenv("RCUTILS_CONSOLE_OUTPUT_FORMAT", "{name} says {message}")  # the log is not what is counted
        write_bag(tmp_path / "bag", frames_of(range(20), **SIZE))
        out = tmp_path / "out"
        arguments = [tmp_path / "bag", "--live", "--model", tiny_bundle, "--out", out, "--device", "cpu", "--rate", 2]
        assert main([str(argument) for argument in arguments]) == 0

        report = json.loads((out / "report.json").read_text())
        frames = report["frames"]
        assert frames["received"] == frames["published"] + sum(frames["dropped"].values())
        assert frames["sent"] == frames["received"] + frames["not_received"] == 20
        assert frames["published"] == frames["scored"] > 0
        assert 0 < report["latency_ms"]["samples"] <= frames["published"]
        assert report["mode"] == "live"
        assert report["device"].startswith("cpu")
        assert report["latency_ms"]["p50"] > 0
        assert list(report["stages_ms"]) == ["preprocess", "inference", "postprocess"]
        for stage in report["stages_ms"].values():
            assert stage["samples"] == frames["published"]
            assert stage["p50"] > 0
            assert stage["cdf"] == sorted(stage["cdf"])

        with BagReader(tmp_path / "bag") as reader, BagReader(out / OUTPUTS) as recorded:
            predictions = dict(recorded.label_images(LABEL_TOPIC))
            asked = [frame for frame, _ in reader.frames(stamps_ns=predictions.keys())]
        assert len(asked) == len(predictions) == frames["published"]
        # The node runs the same model on the same pixels, in another process.
        same = [np.mean(predictions[frame.stamp_ns] == tiny_segmenter(frame).label) for frame in asked]
        assert min(same) > 0.999

    @pytest.mark.parametrize(
        ("color_format", "depth_format", "depth_frame"),
        [
            ("rgb8; png compressed bgr8", None, "camera"),
            (None, "16UC1; compressedDepth png", "camera"),
            (None, None, "depth_camera"),
        ],
        ids=["color compressed", "depth compressed", "raw, depth in a frame of its own"],
    )
    def test_masks_are_those_of_the_offline_run_however_color_and_depth_are_transported(
        self, tmp_path, frames_of, tiny_bundle, color_format, depth_format, depth_frame
    ):
        records = []
        for frame, _ in frames_of(range(10), **SIZE):
            depth_mm = np.rint(frame.depth_m * 1000).astype(np.uint16)
            for topic, pixels, encoding, format_, before, frame_id in (
                (COLOR_TOPIC, frame.rgb, "rgb8", color_format, b"", "camera"),
                (DEPTH_TOPIC, depth_mm, "16UC1", depth_format, bytes(12), depth_frame),
            ):
                message = image(pixels, encoding, frame.stamp_ns, frame_id=frame_id)
                if format_ is not None:
                    stored = cv2.imencode(".png", pixels[..., ::-1] if pixels.ndim == 3 else pixels)[1].tobytes()
                    message = compressed_image(format_, before + stored, frame.stamp_ns)
                records.append(record(topic, message, frame.stamp_ns))
        bag = write_mcap(tmp_path / "drive.mcap", records)
        common = [bag, "--model", tiny_bundle, "--device", "cpu", "--save-predictions", "--no-require-same-frame"]
        found = {}
        for mode in ([], ["--live"]):
            out = tmp_path / f"out{len(mode)}"
            assert main([str(argument) for argument in (*common, "--out", out, *mode)]) == 0
            found[len(mode)] = dict(read_label_folder(out / "predictions"))
        offline, live = found[0], found[1]
        assert len(offline) == 10
        assert len(live) >= 5
        assert len(np.unique(offline[min(live)])) > 2
        for stamp_ns, label in live.items():
            assert np.array_equal(label, offline[stamp_ns])

    def test_a_node_that_cannot_be_configured_is_quoted(self, tmp_path, frames_of, tiny_bundle, capsys):
        write_bag(tmp_path / "bag", frames_of(range(2), **SIZE))
        arguments = [
            tmp_path / "bag",
            "--live",
            "--model",
            tiny_bundle,
            "--out",
            tmp_path / "out",
            "--device",
            "cuda:77",
        ]
        assert main([str(argument) for argument in arguments]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: seg_node stays unconfigured: device 'cuda:77'")

    def test_a_node_that_dies_ends_the_replay_and_leaves_no_process(self, tmp_path, frames_of, tiny_bundle):
        write_bag(tmp_path / "bag", frames_of(range(100), height=48, width=80))

        def kill_the_node_once_it_publishes(phase: str, labels: int) -> None:
            if phase == "playing" and labels:
                for pid in child_pids("road_kd_seg.ros.seg_node"):
                    os.kill(pid, signal.SIGKILL)

        with (
            BagReader(tmp_path / "bag") as reader,
            pytest.raises(RoadKdError, match="seg_node ended with exit code -9"),
        ):
            replay_live(
                reader, load_bundle(tiny_bundle), tmp_path, LiveOptions(device="cpu"), kill_the_node_once_it_publishes
            )
        assert child_pids("road_kd_seg.ros.seg_node") == child_pids("road_kd_seg.bags.player") == []

    def test_a_folder_of_somebody_else_is_not_removed(self, tmp_path, frames_of, tiny_bundle):
        write_bag(tmp_path / "bag", frames_of(range(2), **SIZE))
        (tmp_path / OUTPUTS).mkdir()
        (tmp_path / OUTPUTS / "thesis.txt").write_text("the only copy")
        with BagReader(tmp_path / "bag") as reader, pytest.raises(RoadKdError, match="no bag of an earlier run"):
            replay_live(reader, load_bundle(tiny_bundle), tmp_path, LiveOptions(), lambda phase, labels: None)
        assert (tmp_path / OUTPUTS / "thesis.txt").exists()
