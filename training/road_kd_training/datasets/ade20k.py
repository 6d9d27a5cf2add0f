# SPDX-License-Identifier: Apache-2.0
"""ADE20K scene parsing (Zhou et al., CVPR 2017): indoor and outdoor scenes, 150 classes, 20,210 / 2,000 images.

Expected tree:

    ROOT/images/{training,validation}/NAME.jpg       color (ROOT is ADEChallengeData2016)
    ROOT/annotations/{training,validation}/NAME.png  label 1..150, 0 = other, ignored
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from road_kd_seg.frame import IGNORE_INDEX
from road_kd_seg.taxonomy import Role, SemanticClass, Taxonomy
from road_kd_training.datasets.common.folder import Layout, check_size, label_table, read_label
from road_kd_training.datasets.common.sample import RgbdSample, read_rgb

Split = Literal["train", "validation"]

LAYOUT = Layout.from_doc("ade20k", __doc__)
CLASS_FILE = Path(__file__).parent / "common" / "ade20k_classes.txt"


def read_classes(path: Path) -> Taxonomy:
    """Read a class list: one line 'red green blue role name' per class, in the order of ids; '#' starts a remark."""
    lines = (line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    classes = []
    for i, (red, green, blue, role, name) in enumerate(line.split(maxsplit=4) for line in lines):
        classes.append(SemanticClass(i, name, Role(role), (int(red), int(green), int(blue))))
    return Taxonomy(tuple(classes))


TAXONOMY = read_classes(CLASS_FILE)
LABELS = label_table({0: IGNORE_INDEX, **{value: value - 1 for value in range(1, len(TAXONOMY) + 1)}})


class Ade20k:
    """The images of one split, RGB only.

    Raises:
        DatasetError: a missing folder, or files that do not match; the message prints the expected tree.
    """

    taxonomy = TAXONOMY

    def __init__(self, root: str | Path, split: Split = "train") -> None:
        self.root = Path(root).expanduser()
        folder = LAYOUT.choose(split, {"train": "training", "validation": "validation"})
        images = LAYOUT.files(self.root / "images" / folder, "*.jpg")
        labels = LAYOUT.files(self.root / "annotations" / folder, "*.png")
        self.frames = LAYOUT.pairs(images, labels, lambda path: path.stem)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> RgbdSample:
        name, image, annotation = self.frames[index]
        rgb, label = read_rgb(image), read_label(annotation, LABELS)
        check_size(label, rgb, annotation)
        return RgbdSample(rgb, None, label, name)
