# SPDX-License-Identifier: Apache-2.0
"""Every example of the runtime runs as its first lines say."""

import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from road_kd_seg.bags.writer import write_bag
from road_kd_seg.synthetic.drive import DriveConfig, render_drive
from ros_graph import HAS_ROS, START_S, Process

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def frames():
    """Two frames of a small synthetic drive."""
    return list(render_drive(DriveConfig(seed=3, num_frames=2, height=144, width=256)))


def run(name: str, *arguments: object) -> str:
    """Output of an example that must succeed."""
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_has_a_test_here_or_in_training():
    tested = Path(__file__).read_text() + (Path(__file__).parents[2] / "training/test/test_examples.py").read_text()
    assert [path.name for path in EXAMPLES.glob("*.py") if path.name not in tested] == []


def test_segment_images_writes_an_overlay_and_the_share_of_each_class(tmp_path, frames):
    frame = frames[0].frame
    cv2.imwrite(str(tmp_path / "color.png"), frame.rgb[..., ::-1])
    cv2.imwrite(str(tmp_path / "depth.png"), np.rint(frame.depth_m * 1000).astype(np.uint16))
    said = run("segment_images.py", tmp_path / "color.png", tmp_path / "depth.png", tmp_path / "overlay.png")
    assert cv2.imread(str(tmp_path / "overlay.png")).shape == frame.rgb.shape
    shares = [float(line.split(": ")[1].split("%")[0]) for line in said.splitlines()]
    assert len(shares) == 5
    assert sum(shares) == pytest.approx(100, abs=0.3)  # each is rounded to a tenth


def test_segment_bag_scores_every_frame(tmp_path, frames):
    write_bag(tmp_path / "bag", frames)
    lines = run("segment_bag.py", tmp_path / "bag").splitlines()
    assert [line.endswith("% obstacles") for line in lines] == [True, True] + [False] * 6
    assert 0.3 < float(lines[-1].removeprefix("mean IoU: ")) <= 1


@pytest.mark.ros
@pytest.mark.skipif(not HAS_ROS, reason="needs rclpy")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_subscribe_masks_reads_the_lower_half_of_a_padded_mask_until_a_signal(request, tmp_path, number):
    from sensor_msgs.msg import Image

    graph = request.getfixturevalue("graph")
    mask = np.zeros((4, 8), np.uint8)
    mask[2, :4] = 255
    message = Image(height=4, width=6, step=8, encoding="mono8", data=mask.tobytes())
    publisher = graph.node.create_publisher(Image, "/road_seg/obstacle_mask", 5)
    example = Process([sys.executable, str(EXAMPLES / "subscribe_masks.py")], tmp_path / "log", graph.domain_id)
    try:

        def told() -> bool:
            publisher.publish(message)
            return "obstacles: 33.3% of the lower half" in example.log

        graph.until(told, "the example's line", START_S)
        assert example.stop(number) == 0, example.log  # with messages on their way
    finally:
        if example.running:
            example.kill()
