# SPDX-License-Identifier: Apache-2.0
"""Depth as other recorders leave it, on rendered drives with a shipped student: what it costs in accuracy."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from recorders import image, record, string, write_mcap, write_sqlite
from road_kd_seg.bags.topics import COLOR_TOPIC, DEPTH_TOPIC, LABEL_TOPIC
from road_kd_seg.frame import LabeledFrame
from road_kd_seg.replay.cli import main
from road_kd_seg.synthetic.drive import DriveConfig, render_drive

SDK_COLOR, SDK_DEPTH = "/device_0/sensor_1/Color_0", "/device_0/sensor_0/Depth_0"
BASELINE_M = 0.06
"""Of the depth camera beside the color camera: more than a real one's, so that depth that stays unaligned shows."""
DEPTH_WIDTH = 848


@pytest.fixture(scope="module")
def drive():
    """Four frames, far apart."""
    return list(render_drive(DriveConfig(seed=2_000_001, num_frames=4, rate_hz=0.5, height=360, width=640)))


@pytest.fixture
def miou(tmp_path):
    """Accuracy of a shipped student on a recording."""

    def evaluate(bag, *options):
        out = tmp_path / f"out_{bag.stem}"
        arguments = [bag, "--model", "road_student", "--out", out, "--device", "cpu", *options]
        assert main([str(argument) for argument in arguments]) == 0
        return json.loads((out / "report.json").read_text())["metrics"]["miou"]

    return evaluate


def millimeters(depth_m):
    return np.rint(depth_m * 1000).astype(np.uint16)


def plain(path, drive, depth_mm=lambda frame: millimeters(frame.depth_m)):
    """The drive as the ROS driver records it, with some depth."""
    return write_mcap(
        path,
        [
            record(topic, image(pixels, encoding, frame.stamp_ns), frame.stamp_ns)
            for frame, label in drive
            for topic, encoding, pixels in (
                (COLOR_TOPIC, "rgb8", frame.rgb),
                (DEPTH_TOPIC, "16UC1", depth_mm(frame)),
                (LABEL_TOPIC, "mono8", label),
            )
        ],
    )


def seen_by_the_left_imager(frame):
    """Depth (H, DEPTH_WIDTH) in mm of a camera beside the color camera, with a wider lens."""
    camera = frame.intrinsics
    rows, columns = np.nonzero(frame.depth_m > 0)
    z = frame.depth_m[rows, columns]
    x, y = (columns - camera.cx) / camera.fx * z - BASELINE_M, (rows - camera.cy) / camera.fy * z
    focal, height = 0.7 * camera.fx, camera.height
    u = np.rint(x / z * focal + DEPTH_WIDTH / 2).astype(int)
    v = np.rint(y / z * focal + height / 2).astype(int)
    inside = (u >= 0) & (u < DEPTH_WIDTH) & (v >= 0) & (v < height)
    nearest = np.full((height, DEPTH_WIDTH), np.inf, np.float32)
    np.minimum.at(nearest, (v[inside], u[inside]), z[inside])
    return millimeters(np.where(np.isfinite(nearest), nearest, 0))


def write_viewer_recording(path, drive, *, compressed):
    """As the RealSense Viewer writes since 2.58."""
    camera = drive[0].frame.intrinsics

    def intrinsics(width, focal, center):
        size = f"width={width};height={camera.height}"
        return f"{size};fx={focal};ppx={center};fy={focal};ppy={camera.height / 2};model=None;coeffs=0,0,0,0,0"

    texts = {
        f"{SDK_DEPTH}/info/camera_info": intrinsics(DEPTH_WIDTH, 0.7 * camera.fx, DEPTH_WIDTH / 2),
        f"{SDK_COLOR}/info/camera_info": intrinsics(camera.width, camera.fx, camera.cx).replace(
            f"ppy={camera.height / 2}", f"ppy={camera.cy}"
        ),
        f"{SDK_DEPTH}/tf/0": "rotation=1,0,0,0,1,0,0,0,1;translation=0,0,0",
        f"{SDK_COLOR}/tf/0": f"rotation=1,0,0,0,1,0,0,0,1;translation={BASELINE_M},0,0",
        "/device_0/sensor_0/option/Depth Units/value": "0.001000",
    }
    records = [record(topic, string(text), 1) for topic, text in texts.items()]
    for frame, _ in drive:
        for topic, encoding, pixels, frame_id in (
            (SDK_DEPTH, "mono16", seen_by_the_left_imager(frame), "Depth_0"),
            (SDK_COLOR, "rgb8", frame.rgb, "Color_0"),
        ):
            message = image(pixels, encoding, frame.stamp_ns, frame_id=frame_id)
            records.append(record(f"{topic}/image/data", message, frame.stamp_ns))
    return write_sqlite(path, records, compressed=compressed)


@pytest.mark.slow
class TestViewerRecordings:
    def test_depth_is_aligned_and_scores_nearly_as_the_drivers_compressed_or_not(self, tmp_path, drive, miou):
        labels = tmp_path / "labels"
        labels.mkdir()
        for frame, label in drive:
            cv2.imwrite(str(labels / f"{frame.stamp_ns}.png"), label)
        aligned = miou(plain(tmp_path / "aligned.mcap", drive))
        found = {
            compressed: miou(
                write_viewer_recording(tmp_path / f"viewer{compressed}.db3", drive, compressed=compressed),
                "--labels",
                labels,
            )
            for compressed in (False, True)
        }
        assert found[True] == found[False]
        assert found[True] >= aligned - 0.1

        def unaligned(frame):
            size = (frame.rgb.shape[1], frame.rgb.shape[0])
            return cv2.resize(seen_by_the_left_imager(frame), size, interpolation=cv2.INTER_NEAREST)

        assert miou(plain(tmp_path / "unaligned.mcap", drive, unaligned)) < found[True] - 0.02


def enlarged(drive, times):
    """The drive of a finer color camera, whose depth has what it had before: each pixel fills a square."""
    for frame, label in drive:
        height, width = label.shape
        size = (width * times, height * times)
        rgb = cv2.resize(frame.rgb, size, interpolation=cv2.INTER_LINEAR)
        depth_m = np.repeat(np.repeat(frame.depth_m, times, 0), times, 1)
        fine = replace(frame, rgb=rgb, depth_m=depth_m, intrinsics=frame.intrinsics.scaled(*size))
        yield LabeledFrame(fine, cv2.resize(label, size, interpolation=cv2.INTER_NEAREST))


def grid(frame, times, random=None):
    """Depth that was registered without filling: of each square one pixel has a value, in mm."""
    offsets = np.full((2, frame.size[0] // times, frame.size[1] // times), times // 2)
    if random is not None:
        offsets = random.integers(0, times, offsets.shape)
    rows, columns = np.indices(offsets.shape[1:]) * times + offsets
    sparse = np.zeros_like(frame.depth_m)
    sparse[rows, columns] = frame.depth_m[rows, columns]
    return millimeters(sparse)


@pytest.mark.slow
class TestGridOfHoles:
    @pytest.mark.parametrize(("times", "regular"), [(2, True), (3, True), (2, False)])
    def test_depth_registered_to_finer_color_scores_as_if_it_were_filled(self, tmp_path, drive, miou, times, regular):
        random = None if regular else np.random.default_rng(0)
        fine = list(enlarged(drive, times))
        filled = miou(plain(tmp_path / "filled.mcap", fine))
        sparse = miou(plain(tmp_path / "sparse.mcap", fine, lambda frame: grid(frame, times, random)))
        assert sparse >= filled - 0.02
