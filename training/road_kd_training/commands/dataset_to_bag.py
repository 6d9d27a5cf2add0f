# SPDX-License-Identifier: Apache-2.0
"""`road-kd dataset-to-bag`: a dataset as the rosbag of a RealSense driver."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from jsonargparse import Namespace

from road_kd_seg.bags.topics import COLOR_OPTICAL_FRAME
from road_kd_seg.bags.writer import write_bag
from road_kd_seg.errors import BagError
from road_kd_seg.frame import LabeledFrame, RgbdFrame
from road_kd_seg.synthetic.drive import FIRST_STAMP_NS
from road_kd_training.commands.options import chosen_dataset
from road_kd_training.datasets import RgbdDataset
from road_kd_training.terminal import plain_console


def run(options: Namespace) -> None:
    """Write the bag.

    Raises:
        BagError: the rate is not positive, or the folder holds something.
    """
    if options.rate_hz <= 0:
        raise BagError(f"rate_hz is {options.rate_hz}: expected a positive number of frames per second")
    dataset, out = chosen_dataset(options), Path(options.out)
    if options.force and (out / "metadata.yaml").is_file():
        shutil.rmtree(out)
    frames = write_bag(out, _frames(dataset, options.rate_hz))
    plain_console().print(f"wrote {frames} frames to {out}; next: replay_eval {out} --out REPORT", soft_wrap=True)


def _frames(dataset: RgbdDataset, rate_hz: float) -> Iterator[LabeledFrame]:
    for index in range(len(dataset)):
        sample = dataset[index]
        stamp_ns = FIRST_STAMP_NS + round(index * 1e9 / rate_hz)
        intrinsics = sample.meta.get("intrinsics")
        frame = RgbdFrame(sample.rgb, sample.depth_m, intrinsics, stamp_ns, COLOR_OPTICAL_FRAME)
        yield LabeledFrame(frame, sample.label)
