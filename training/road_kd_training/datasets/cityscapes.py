# SPDX-License-Identifier: Apache-2.0
"""Cityscapes (Cordts et al., CVPR 2016): street scenes of 50 cities, 1024x2048, 19 classes, 2975 / 500 fine labels.

Expected tree:

    ROOT/leftImg8bit/{train,val}/CITY/CITY_SEQ_FRAME_leftImg8bit.png  color
    ROOT/gtFine/{train,val}/CITY/CITY_SEQ_FRAME_gtFine_labelIds.png   label ids 0..33, 255 = license plate (-1)
    ROOT/disparity/{train,val}/CITY/CITY_SEQ_FRAME_disparity.png      optional: uint16, 1 + 256 x pixels; 0 = invalid
    ROOT/camera/{train,val}/CITY/CITY_SEQ_FRAME_camera.json           calibration, needed where there is disparity
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.errors import FrameError
from road_kd_seg.frame import IGNORE_INDEX, Intrinsics
from road_kd_training.datasets.common.classes import taxonomy_of
from road_kd_training.datasets.common.depth import disparity_to_depth, read_uint16
from road_kd_training.datasets.common.folder import Layout, check_size, label_table, read_label
from road_kd_training.datasets.common.sample import RgbdSample, read_json, read_rgb
from road_kd_training.errors import DatasetError

Split = Literal["train", "validation"]

LAYOUT = Layout.from_doc("cityscapes", __doc__)

TRAIN_IDS: tuple[int, ...] = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Label id of each of the 19 classes that are scored, by train id; the other ids are ignored."""

LABEL_IDS = label_table(
    {
        **dict.fromkeys((*range(34), 255), IGNORE_INDEX),
        **{label_id: train_id for train_id, label_id in enumerate(TRAIN_IDS)},
    }
)
"""Raw label id → train id."""

TAXONOMY = taxonomy_of(
    {
        "road": (128, 64, 128), "sidewalk": (244, 35, 232), "building": (70, 70, 70), "wall": (102, 102, 156),
        "fence": (190, 153, 153), "pole": (153, 153, 153), "traffic light": (250, 170, 30),
        "traffic sign": (220, 220, 0), "vegetation": (107, 142, 35), "terrain": (152, 251, 152),
        "sky": (70, 130, 180), "person": (220, 20, 60), "rider": (255, 0, 0), "car": (0, 0, 142),
        "truck": (0, 0, 70), "bus": (0, 60, 100), "train": (0, 80, 100), "motorcycle": (0, 0, 230),
        "bicycle": (119, 11, 32),
    },
    drivable=["road"],
    obstacle=["wall", "fence", "pole", "traffic light", "traffic sign", "person", "rider", "car", "truck", "bus",
              "train", "motorcycle", "bicycle"],
)  # fmt: skip


class Cityscapes:
    """The fine labels of one split; depth where the disparity archive is unpacked too.

    Raises:
        DatasetError: a missing folder, or files that do not match; the message prints the expected tree.
    """

    taxonomy = TAXONOMY

    def __init__(self, root: str | Path, split: Split = "train") -> None:
        self.root = Path(root).expanduser()
        self.folder = LAYOUT.choose(split, {"train": "train", "validation": "val"})
        images = LAYOUT.files(self.root / "leftImg8bit" / self.folder, "*/*_leftImg8bit.png")
        labels = LAYOUT.files(self.root / "gtFine" / self.folder, "*/*_gtFine_labelIds.png")
        self.frames = LAYOUT.pairs(images, labels, _frame_name)
        self.has_disparity = (self.root / "disparity" / self.folder).is_dir()

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> RgbdSample:
        name, image, annotation = self.frames[index]
        rgb, label = read_rgb(image), read_label(annotation, LABEL_IDS)
        check_size(label, rgb, annotation)
        if not self.has_disparity:
            return RgbdSample(rgb, None, label, name)
        city = image.parent.name
        disparity = self.root / "disparity" / self.folder / city / f"{name}_disparity.png"
        camera = self.root / "camera" / self.folder / city / f"{name}_camera.json"
        baseline_m, intrinsics = read_camera(camera, rgb.shape[1], rgb.shape[0])
        depth_m = disparity_to_depth(decode_disparity(read_uint16(disparity)), intrinsics.fx * baseline_m)
        check_size(depth_m, rgb, disparity, "disparity")
        return RgbdSample(rgb, depth_m, label, name, {"intrinsics": intrinsics})


def decode_disparity(stored: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Disparity in pixels, (value - 1) / 256; not positive where invalid (0) or infinitely far (1)."""
    disparity_px: NDArray[np.float32] = (stored.astype(np.float32) - 1) / np.float32(256)
    return disparity_px


def read_camera(path: Path, width: int, height: int) -> tuple[float, Intrinsics]:
    """Baseline (m) and intrinsics of one frame.

    Raises:
        DatasetError: no such file, or it lacks a key.
    """
    try:
        camera = read_json(path)
    except DatasetError as error:
        hint = "fetch the camera archive too, or move disparity/ away to do without depth"
        raise LAYOUT.error(f"{error}: {hint}") from error
    try:
        inner = camera["intrinsic"]
        fx, fy, cx, cy = (float(inner[key]) for key in ("fx", "fy", "u0", "v0"))
        baseline_m = float(camera["extrinsic"]["baseline"])
        if not math.isfinite(baseline_m):
            raise ValueError(f"a baseline of {baseline_m}")
        return baseline_m, Intrinsics(fx, fy, cx, cy, width, height)
    except (ValueError, KeyError, TypeError, OverflowError, FrameError) as error:
        expected = "intrinsic.{fx,fy,u0,v0} and extrinsic.baseline"
        raise LAYOUT.error(f"{path}: not a camera file: {error!r}, expected {expected}") from error


def _frame_name(path: Path) -> str:
    return "_".join(path.name.split("_")[:3])
