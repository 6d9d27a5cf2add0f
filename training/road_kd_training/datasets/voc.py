# SPDX-License-Identifier: Apache-2.0
"""PASCAL VOC 2012 segmentation (Everingham et al.): 20 kinds of objects and background, 1464 / 1449 labeled images.

`train_aug` adds the labels of SBD (Hariharan et al., ICCV 2011), converted to PNG as they are commonly shared
(SegmentationClassAug): all images of train and of SBD that are not in val, 10,582 in all. Images of train keep their
own label. Borders and difficult objects are 255, ignored.

Expected tree:

    ROOT/JPEGImages/NAME.jpg                          color (ROOT is VOCdevkit/VOC2012)
    ROOT/SegmentationClass/NAME.png                   label 0..20, 255 = ignore, with a palette
    ROOT/ImageSets/Segmentation/{train,val,trainval}.txt  one NAME per line
    ROOT/SegmentationClassAug/NAME.png                for train_aug: label 0..20, 255 = ignore
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from road_kd_training.datasets.common.classes import taxonomy_of
from road_kd_training.datasets.common.folder import Color, Layout, check_size, label_values, read_label
from road_kd_training.datasets.common.sample import RgbdSample, read_rgb

Split = Literal["train", "validation", "trainval", "train_aug"]

LAYOUT = Layout.from_doc("voc", __doc__)
LISTS = {"train": "train", "validation": "val", "trainval": "trainval", "train_aug": "train"}
NAMES = ("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
         "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
         "tvmonitor")  # fmt: skip


def voc_color(index: int) -> Color:
    """Color of an index in VOC's palette: its bits, lowest first, are dealt to red, green, blue, highest bit first."""
    red, green, blue = (sum((index >> (3 * k + channel) & 1) << (7 - k) for k in range(3)) for channel in range(3))
    return red, green, blue


TAXONOMY = taxonomy_of({name: voc_color(i) for i, name in enumerate(NAMES)}, obstacle=NAMES[1:])
LABELS = label_values(len(NAMES), 255)


class PascalVoc:
    """The images of one split, RGB only.

    Raises:
        DatasetError: a missing list, folder or file; the message prints the expected tree.
    """

    taxonomy = TAXONOMY

    def __init__(self, root: str | Path, split: Split = "train") -> None:
        self.root = Path(root).expanduser()
        listed = self._listed(LAYOUT.choose(split, LISTS))
        self.label_folder = dict.fromkeys(listed, "SegmentationClass")
        if split == "train_aug":
            further = LAYOUT.files(self.root / "SegmentationClassAug", "*.png")
            held_out = frozenset(self._listed("val"))
            for name in (path.stem for path in further if path.stem not in held_out):
                self.label_folder.setdefault(name, "SegmentationClassAug")
        self.names = sorted(self.label_folder)

    def _listed(self, name: str) -> list[str]:
        return LAYOUT.lines(self.root / "ImageSets" / "Segmentation" / f"{name}.txt")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> RgbdSample:
        name = self.names[index]
        annotation = LAYOUT.below(self.root, f"{self.label_folder[name]}/{name}.png")
        rgb = read_rgb(LAYOUT.below(self.root, f"JPEGImages/{name}.jpg"))
        label = read_label(annotation, LABELS)
        check_size(label, rgb, annotation)
        return RgbdSample(rgb, None, label, name)
