# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from road_kd_seg.frame import RgbdFrame
from road_kd_seg.replay.cli import main
from road_kd_seg.segmenter import Segmenter


@pytest.fixture
def tiny_segmenter(tiny_bundle: Path) -> Segmenter:
    torch.set_num_threads(1)  # more would wait for each other on images as small as these
    return Segmenter.from_bundle(tiny_bundle, device="cpu")


@pytest.fixture
def drive(tiny_segmenter):
    from drives import COUNT, HEIGHT, WIDTH, Moment  # needs rosbags, which a collection without extras has not

    moments = []
    for number in range(COUNT):
        random = np.random.default_rng(number)
        rgb = random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        depth_mm = random.integers(300, 9000, (HEIGHT, WIDTH)).astype(np.uint16)
        label = tiny_segmenter(RgbdFrame(rgb, depth_mm.astype(np.float32) / np.float32(1000))).label
        moments.append(Moment(rgb, depth_mm, label))
    assert not np.array_equal(moments[0].label, moments[1].label)
    return moments


@pytest.fixture
def evaluate(tmp_path, tiny_bundle):
    """Runs the tool, which must succeed; gives its report."""

    def run(bag, *options):
        arguments = [bag, "--model", tiny_bundle, "--out", tmp_path / "out", "--device", "cpu", *options]
        assert main([str(argument) for argument in arguments]) == 0
        return json.loads((tmp_path / "out" / "report.json").read_text())

    return run


@pytest.fixture
def refused(tmp_path, tiny_bundle, capsys):
    """Runs the tool, which must fail with one line and no report; gives that line."""

    def run(bag, *options):
        arguments = [bag, "--model", tiny_bundle, "--out", tmp_path / "out", "--device", "cpu", *options]
        assert main([str(argument) for argument in arguments]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        assert not (tmp_path / "out" / "report.json").exists()
        return line

    return run
