# SPDX-License-Identifier: Apache-2.0
"""CamVid (Brostow et al., PRL 2009): video from a car in Cambridge, in the 11 classes of SegNet (T-PAMI 2017).

SegNet's release (360x480, labels 0..10, 11 = void) is read as it is. The original one (720x960, 32 colors) is read
with its classes grouped into those 11, and its 701 frames are split as SegNet splits them: 367 / 101 / 233.

Expected tree:

    ROOT/{train,val,test}/NAME.png                color                       (SegNet's release)
    ROOT/{trainannot,valannot,testannot}/NAME.png label 0..10, 11 = void
or
    ROOT/701_StillsRaw_full/NAME.png              color                       (original release)
    ROOT/LabeledApproved_full/NAME_L.png          label in 32 colors, black = void
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from road_kd_seg.frame import IGNORE_INDEX
from road_kd_training.datasets.common.classes import taxonomy_of
from road_kd_training.datasets.common.folder import (
    Color,
    Layout,
    check_size,
    label_values,
    read_color_label,
    read_label,
)
from road_kd_training.datasets.common.sample import RgbdSample, read_rgb

Split = Literal["train", "validation", "test"]

LAYOUT = Layout.from_doc("camvid", __doc__)

TAXONOMY = taxonomy_of(
    {
        "Sky": (128, 128, 128), "Building": (128, 0, 0), "Pole": (192, 192, 128), "Road": (128, 64, 128),
        "Pavement": (60, 40, 222), "Tree": (128, 128, 0), "SignSymbol": (192, 128, 128), "Fence": (64, 64, 128),
        "Car": (64, 0, 128), "Pedestrian": (64, 64, 0), "Bicyclist": (0, 128, 192),
    },
    drivable=["Road"],
    obstacle=["Pole", "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist"],
)  # fmt: skip

GROUPS: dict[str, dict[str, Color]] = {
    "Sky": {"Sky": (128, 128, 128)},
    "Building": {"Bridge": (0, 128, 64), "Building": (128, 0, 0), "Wall": (64, 192, 0), "Tunnel": (64, 0, 64),
                 "Archway": (192, 0, 128)},
    "Pole": {"Column_Pole": (192, 192, 128), "TrafficCone": (0, 0, 64)},
    "Road": {"Road": (128, 64, 128), "LaneMkgsDriv": (128, 0, 192), "LaneMkgsNonDriv": (192, 0, 64)},
    "Pavement": {"Sidewalk": (0, 0, 192), "ParkingBlock": (64, 192, 128), "RoadShoulder": (128, 128, 192)},
    "Tree": {"Tree": (128, 128, 0), "VegetationMisc": (192, 192, 0)},
    "SignSymbol": {"SignSymbol": (192, 128, 128), "Misc_Text": (128, 128, 64), "TrafficLight": (0, 64, 64)},
    "Fence": {"Fence": (64, 64, 128)},
    "Car": {"Car": (64, 0, 128), "SUVPickupTruck": (64, 128, 192), "Truck_Bus": (192, 128, 192),
            "Train": (192, 64, 128), "OtherMoving": (128, 64, 64)},
    "Pedestrian": {"Pedestrian": (64, 64, 0), "Child": (192, 128, 64), "CartLuggagePram": (64, 0, 192),
                   "Animal": (64, 128, 64)},
    "Bicyclist": {"Bicyclist": (0, 128, 192), "MotorcycleScooter": (192, 0, 192)},
}  # fmt: skip
"""The 31 classes of the original release and their colors, by the class of SegNet that they belong to."""

CLASS_OF_COLOR: dict[Color, int] = {
    (0, 0, 0): IGNORE_INDEX,
    **{color: TAXONOMY.names.index(group) for group, members in GROUPS.items() for color in members.values()},
}
CLASS_OF_VALUE = label_values(len(TAXONOMY), 11)


class CamVid:
    """The frames of one split, RGB only.

    Raises:
        DatasetError: neither release, or files that do not match; the message prints the expected trees.
    """

    taxonomy = TAXONOMY

    def __init__(self, root: str | Path, split: Split = "train") -> None:
        self.root = Path(root).expanduser()
        folder = LAYOUT.choose(split, {"train": "train", "validation": "val", "test": "test"})
        self.original = (self.root / "701_StillsRaw_full").is_dir()
        if self.original:
            images = LAYOUT.files(self.root / "701_StillsRaw_full", "*.png")
            labels = LAYOUT.files(self.root / "LabeledApproved_full", "*_L.png")
            pairs = LAYOUT.pairs(images, labels, lambda path: path.stem.removesuffix("_L"))
            self.frames = LAYOUT.not_empty((pair for pair in pairs if split_of(pair[0]) == split), split, self.root)
        else:
            images = LAYOUT.files(self.root / folder, "*.png")
            labels = LAYOUT.files(self.root / f"{folder}annot", "*.png")
            self.frames = LAYOUT.pairs(images, labels, lambda path: path.stem)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> RgbdSample:
        name, image, annotation = self.frames[index]
        rgb = read_rgb(image)
        read = read_color_label(annotation, CLASS_OF_COLOR) if self.original else read_label(annotation, CLASS_OF_VALUE)
        check_size(read, rgb, annotation)
        return RgbdSample(rgb, None, read, name)


def split_of(name: str) -> Split:
    """SegNet's split of a frame of the original release, from its sequence and number.

    Test is Seq05VD and 0001TP from 8550 on, validation is 0016E5 from 7959 to 8159, the rest is train.

    Raises:
        DatasetError: a name that is no frame of the release.
    """
    match = re.fullmatch(r"(0001TP|0006R0|0016E5|Seq05VD)_f?(\d+)", name)
    if match is None:
        raise LAYOUT.error(f"'{name}' is no frame of the original release, expected e.g. 0016E5_07959")
    sequence, number = match[1], int(match[2])
    if sequence == "Seq05VD" or (sequence == "0001TP" and number >= 8550):
        return "test"
    return "validation" if sequence == "0016E5" and 7959 <= number <= 8159 else "train"
