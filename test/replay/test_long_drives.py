# SPDX-License-Identifier: Apache-2.0
"""What a long drive costs beyond the model itself: time beside it, and memory."""

import os
import subprocess
import sys
import threading
import time

import pytest

from road_kd_seg.bags.reader import BagReader
from road_kd_seg.bags.writer import write_bag
from road_kd_seg.replay.evaluate import segment_bag
from road_kd_seg.replay.labels import LabelStore
from road_kd_seg.segmenter import Segmenter

SIZE = {"height": 240, "width": 320}
MODEL_S = 0.06
MEASURE = """
import resource, sys
from road_kd_seg.replay.cli import main
assert main(sys.argv[1:]) == 0
print("peak KiB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


class BusyElsewhere(Segmenter):
    """A model whose work is done by another device: while it runs, this processor is free."""

    def __call__(self, frame):
        segmentation = super().__call__(frame)
        threading.Event().wait(MODEL_S)
        return segmentation


def rate_hz(moments_s):
    return (len(moments_s) - 1) / (moments_s[-1] - moments_s[0])


@pytest.mark.slow
class TestLongDrives:
    def test_reading_and_keeping_take_place_while_the_model_runs(self, tmp_path, frames_of, tiny_bundle):
        write_bag(tmp_path / "bag", frames_of(range(24), **SIZE))
        segmenter = BusyElsewhere.from_bundle(tiny_bundle, device="cpu")
        ratios = []
        with BagReader(tmp_path / "bag") as reader:
            frames = [frame for frame, _ in reader.frames()]
            labels = LabelStore.of(reader.label_images())
            for _ in range(4):  # on a busy machine the best of them counts
                bare_s, bag_s = [], []
                for frame in frames:
                    segmenter(frame)
                    bare_s.append(time.perf_counter())
                segment_bag(reader, [segmenter], labels, lambda at=bag_s: at.append(time.perf_counter()))
                ratios.append(rate_hz(bag_s) / rate_hz(bare_s))
                if ratios[-1] >= 0.9:
                    break
        assert max(ratios) >= 0.9

    def test_memory_does_not_grow_with_the_drive(self, tmp_path, frames_of, tiny_bundle):
        def peak_mib(count):
            bag, out = tmp_path / f"bag{count}", tmp_path / f"out{count}"
            write_bag(bag, (frame for number in range(count) for frame in frames_of([number], **SIZE)))
            options = [bag, "--model", tiny_bundle, "--out", out, "--device", "cpu", "--overlay"]
            command = [sys.executable, "-c", MEASURE, *map(str, options)]
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
            return int(done.stdout.split()[-1]) / 1024

        short, long = peak_mib(20), peak_mib(200)
        assert bag_mib(tmp_path / "bag200") > 70
        assert long <= 1.1 * short


def bag_mib(bag):
    return sum(file.stat().st_size for file in bag.iterdir()) / 2**20
