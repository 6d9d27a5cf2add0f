# SPDX-License-Identifier: Apache-2.0
"""Pothole-600 (Fan et al., ECCV Workshops 2020): road photographs with potholes, 400x400, and transformed disparity.

The release's own split has 240 training, 180 validation and 180 testing frames. CPKD adds all of them to the frames
that its labeling network learns from (`split: all`).

Expected tree:

    ROOT/{training,validation,testing}/rgb/NAME.png     color
    ROOT/{training,validation,testing}/tdisp/NAME.png   plane-removed ("transformed") disparity, in jet colors or gray
    ROOT/{training,validation,testing}/label/NAME.png   0 road, anything else pothole
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from road_kd_seg.taxonomy import DEFAULT_TAXONOMY, NEGATIVE_OBSTACLE, ROAD
from road_kd_training.datasets.common.folder import Layout, check_size, label_table, read_label
from road_kd_training.datasets.common.painted import read_painted
from road_kd_training.datasets.common.sample import RgbdSample, read_rgb
from road_kd_training.datasets.stereo_pothole import nominal_intrinsics, rebuild_depth

Split = Literal["train", "validation", "test", "all"]

LAYOUT = Layout.from_doc("pothole600", __doc__)
FOLDERS = {
    "train": ("training",),
    "validation": ("validation",),
    "test": ("testing",),
    "all": ("training", "validation", "testing"),
}
LABELS = label_table({0: ROAD, **dict.fromkeys(range(1, 256), NEGATIVE_OBSTACLE)})


class Pothole600:
    """The frames of one split, with depth rebuilt from tdisp on the nominal plane that stereo_pothole uses.

    tdisp has no published scale: its full range is assumed to be that of the 16-bit tdisp of stereo_pothole, which is
    of the same authors' camera.

    Raises:
        DatasetError: a missing folder or file, or an image that does not fit; the message prints the expected tree.
    """

    taxonomy = DEFAULT_TAXONOMY

    def __init__(self, root: str | Path, split: Split = "train") -> None:
        self.root = Path(root).expanduser()
        folders = LAYOUT.choose(split, FOLDERS)
        self.images = [path for folder in folders for path in LAYOUT.files(self.root / folder / "rgb", "*.png")]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> RgbdSample:
        image = self.images[index]
        folder, name = image.parent.parent, image.name
        rgb = read_rgb(image)
        label = read_label(folder / "label" / name, LABELS)
        check_size(label, rgb, folder / "label" / name)
        tdisp = read_painted(folder / "tdisp" / name)
        check_size(tdisp, rgb, folder / "tdisp" / name, "tdisp")
        camera = nominal_intrinsics(*tdisp.shape)
        return RgbdSample(rgb, rebuild_depth(tdisp), label, f"{folder.name}/{image.stem}", {"intrinsics": camera})
