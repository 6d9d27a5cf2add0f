# SPDX-License-Identifier: Apache-2.0
"""NO-4K (CPKD, ITSC 2023): road potholes and cracks seen by an Intel RealSense D455, 576x1024, RGB and depth.

Train holds 3,000 frames whose labels a network made (not accurate in wet areas); validation (245) and test (500) are
labeled by hand. Some frames were flipped or rotated by the authors.

Expected tree:

    ROOT/{train,validation,test}.txt   one NAME per line
    ROOT/rgb/NAME.png                  color
    ROOT/tdisp/NAME.png                depth in jet colors, blue near, red far
    ROOT/label/NAME.png                0 road, 1 or 255 negative obstacle
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np

from road_kd_seg.taxonomy import DEFAULT_TAXONOMY, NEGATIVE_OBSTACLE, ROAD, Taxonomy
from road_kd_training.datasets.common.folder import Layout, check_size, label_table, read_label
from road_kd_training.datasets.common.painted import FULL_SCALE, read_painted
from road_kd_training.datasets.common.sample import RgbdSample, read_rgb
from road_kd_training.errors import DatasetError

Split = Literal["train", "validation", "test", "all"]

LAYOUT = Layout.from_doc("no4k", __doc__)
LISTS = {"train": ("train",), "validation": ("validation",), "test": ("test",), "all": ("train", "validation", "test")}
LABELS = label_table({0: ROAD, 1: NEGATIVE_OBSTACLE, 255: NEGATIVE_OBSTACLE})
TWO_LABELS = label_table({0: 0, 1: 1, 255: 1})
TWO_CLASSES = Taxonomy(
    tuple(
        dataclasses.replace(DEFAULT_TAXONOMY.classes[known], id=index)
        for index, known in enumerate((ROAD, NEGATIVE_OBSTACLE))
    )
)
"""As the release labels: road, and negative obstacles."""


class No4k:
    """The frames of one split, in the order of its list.

    Args:
        root: folder of the release.
        split: which list; `all` is the three of them.
        far_m: depth that the map's darkest red stands for. The release gives no scale, so depth is right up to this
            factor only; with the `metric` encoding from 0 to `far_m` a network sees the painted value itself, and with
            `jet_depth` the picture of the release.
        two_classes: road and negative obstacles alone, as CPKD's networks know; else the default taxonomy.

    Raises:
        DatasetError: a missing list or file, or an image that does not fit; the message prints the expected tree.
    """

    taxonomy = DEFAULT_TAXONOMY

    def __init__(
        self, root: str | Path, split: Split = "train", far_m: float = 10.0, two_classes: bool = False
    ) -> None:
        self.root = Path(root).expanduser()
        if far_m <= 0:
            raise DatasetError(f"no4k: far_m is {far_m}, expected meters above 0")
        self.far_m = far_m
        self.taxonomy, self.labels = (TWO_CLASSES, TWO_LABELS) if two_classes else (DEFAULT_TAXONOMY, LABELS)
        self.names = [
            line.removesuffix(".png")
            for name in LAYOUT.choose(split, LISTS)
            for line in LAYOUT.lines(self.root / f"{name}.txt")
        ]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> RgbdSample:
        name = self.names[index]
        rgb_path, tdisp_path, label_path = (
            LAYOUT.below(self.root, f"{kind}/{name}.png") for kind in ("rgb", "tdisp", "label")
        )
        rgb, label = read_rgb(rgb_path), read_label(label_path, self.labels)
        painted = read_painted(tdisp_path)
        check_size(painted, rgb, tdisp_path, "tdisp")
        check_size(label, rgb, label_path)
        return RgbdSample(rgb, painted.astype(np.float32) * np.float32(self.far_m / FULL_SCALE), label, name)
