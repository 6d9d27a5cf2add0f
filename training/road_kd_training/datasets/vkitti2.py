# SPDX-License-Identifier: Apache-2.0
"""Virtual KITTI 2 (Cabon et al., 2020): five KITTI sequences rendered in ten variants, 375x1242, depth, 15 classes.

The release has no split. LIX draws 700 frames at random and splits them 5:2; from where it draws is not said. Here the
frames are those of `variants` and `cameras` (clone and Camera_0 unless told otherwise), drawn by `splits.drawn` with
seed 0: the first 500 are train, the next 200 validation. They are frames of videos, so that the two look alike.
The archives rgb, depth and classSegmentation are unpacked over each other.

Expected tree:

    ROOT/SceneXX/VARIANT/frames/rgb/Camera_N/rgb_NNNNN.jpg                    color
    ROOT/SceneXX/VARIANT/frames/depth/Camera_N/depth_NNNNN.png                uint16 cm, 65535 = sky
    ROOT/SceneXX/VARIANT/frames/classSegmentation/Camera_N/classgt_NNNNN.png  label in the colors of colors.txt
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.frame import Intrinsics
from road_kd_training.datasets.common.classes import taxonomy_of
from road_kd_training.datasets.common.depth import read_uint16
from road_kd_training.datasets.common.folder import Layout, check_size, read_color_label
from road_kd_training.datasets.common.sample import RgbdSample, read_rgb
from road_kd_training.datasets.common.splits import drawn

Split = Literal["train", "validation", "all"]

LAYOUT = Layout.from_doc("vkitti2", __doc__)
VARIANTS = ("15-deg-left", "15-deg-right", "30-deg-left", "30-deg-right", "clone", "fog", "morning", "overcast",
            "rain", "sunset")  # fmt: skip
LIX_FRAMES = 700
SEED = 0
SKY = 65535
INTRINSICS = Intrinsics(725.0087, 725.0087, 620.5, 187.0, 1242, 375)
"""Of both cameras, in every scene; Camera_1 is 0.532725 m to the right."""

TAXONOMY = taxonomy_of(
    {
        "Terrain": (210, 0, 200), "Sky": (90, 200, 255), "Tree": (0, 199, 0), "Vegetation": (90, 240, 0),
        "Building": (140, 140, 140), "Road": (100, 60, 100), "GuardRail": (250, 100, 255),
        "TrafficSign": (255, 255, 0), "TrafficLight": (200, 200, 0), "Pole": (255, 130, 0), "Misc": (80, 80, 80),
        "Truck": (160, 60, 60), "Car": (255, 127, 80), "Van": (0, 139, 139), "Undefined": (0, 0, 0),
    },
    drivable=["Road"],
    obstacle=["GuardRail", "TrafficSign", "TrafficLight", "Pole", "Misc", "Truck", "Car", "Van"],
)  # fmt: skip
"""In the order of colors.txt. Undefined is the fifteenth class, as LIX counts."""

CLASS_OF_COLOR = {c.color: c.id for c in TAXONOMY.classes}


class VirtualKitti2:
    """Frames of one split, with depth.

    Args:
        root: folder of the scenes.
        split: train, validation or all.
        variants: which of the ten renderings the frames are drawn from.
        cameras: Camera_0 (left), Camera_1 or both.
        num_frames: how many are drawn before they are split 5:2; None takes all.

    Raises:
        DatasetError: a missing folder or too few frames; the message prints the expected tree.
    """

    taxonomy = TAXONOMY

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        variants: Sequence[str] = ("clone",),
        cameras: Sequence[str] = ("Camera_0",),
        num_frames: int | None = LIX_FRAMES,
    ) -> None:
        self.root = Path(root).expanduser()
        unknown = [variant for variant in variants if variant not in VARIANTS]
        if unknown:
            raise LAYOUT.error(f"variant '{unknown[0]}' is unknown: use some of {', '.join(VARIANTS)}")
        names = drawn((name for v in variants for c in cameras for name in self._names(v, c)), SEED)
        if num_frames is not None and len(names) < num_frames:
            hint = "fetch the other scenes, name more variants, or say num_frames: null for all that there are"
            raise LAYOUT.error(f"{self.root} has {len(names)} frames of those asked for, expected {num_frames}: {hint}")
        names = names[:num_frames]
        train = round(len(names) * 5 / 7)
        splits = {"train": names[:train], "validation": names[train:], "all": names}
        self.names = LAYOUT.not_empty(sorted(LAYOUT.choose(split, splits)), split, self.root)

    def _names(self, variant: str, camera: str) -> list[str]:
        frames = f"Scene*/{variant}/frames"
        images = LAYOUT.files(self.root, f"{frames}/rgb/{camera}/rgb_*.jpg")
        labels = LAYOUT.files(self.root, f"{frames}/classSegmentation/{camera}/classgt_*.png")
        return [name for name, _, _ in LAYOUT.pairs(images, labels, _frame_name)]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> RgbdSample:
        name = self.names[index]
        scene, variant, camera, number = name.split("/")
        frames = self.root / scene / variant / "frames"
        depth = frames / "depth" / camera / f"depth_{number}.png"
        annotation = frames / "classSegmentation" / camera / f"classgt_{number}.png"
        rgb = read_rgb(frames / "rgb" / camera / f"rgb_{number}.jpg")
        label = read_color_label(annotation, CLASS_OF_COLOR)
        check_size(label, rgb, annotation)
        depth_m = decode_depth(read_uint16(depth))
        check_size(depth_m, rgb, depth, "depth")
        return RgbdSample(rgb, depth_m, label, name, {"intrinsics": INTRINSICS})


def decode_depth(stored_cm: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Meters from centimeters, (H, W); the sky (65535, the far plane) becomes 0, invalid."""
    depth_m: NDArray[np.float32] = np.where(stored_cm == SKY, 0, stored_cm).astype(np.float32) / np.float32(100)
    return depth_m


def _frame_name(path: Path) -> str:
    scene, variant, _, _, camera = path.parts[-6:-1]
    return f"{scene}/{variant}/{camera}/{path.stem.rpartition('_')[2]}"
