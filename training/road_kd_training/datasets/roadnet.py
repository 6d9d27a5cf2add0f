# SPDX-License-Identifier: Apache-2.0
"""RoadNet (Liu et al., IEEE T-GRS 2018): aerial images of Ottawa, 0.21 m per pixel, with roads; SSLKD's dataset.

SSLKD reports 455 training and 387 validation patches of 512x512, with one labeled patch to four unlabeled ones; how
they were cut is not published. From the release (one folder per region)

    python -m road_kd_training.datasets.common.cut_roadnet RELEASE ROOT

cuts regions 2-15 (train) and 1, 16-20 (validation), as the release assigns them, into a grid of patches.

Expected tree:

    ROOT/{train,test}_image/NAME.png     color
    ROOT/{train,test}_segment/NAME.png   red road on white, or a gray mask (above 127 is road)
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.taxonomy import DEFAULT_TAXONOMY
from road_kd_training.datasets.common.folder import Layout, check_size
from road_kd_training.datasets.common.labeled import Part, choose_part, draw_labeled
from road_kd_training.datasets.common.sample import RgbdSample, read_image, read_rgb
from road_kd_training.errors import DatasetError

Split = Literal["train", "validation", "all"]

LAYOUT = Layout.from_doc("roadnet", __doc__)
PREFIXES = {"train": ("train",), "validation": ("test",), "all": ("train", "test")}
BACKGROUND, ROAD = 0, 1


class RoadNet:
    """Patches of one split; road and background of the default taxonomy, no depth.

    Args:
        root: folder of the patches.
        split: the release's test patches are `validation`, as SSLKD calls them.
        labeled: share of the patches that keep their label; 0.2 is SSLKD's one to four. Which ones depends on their
            names and `seed` alone, and a smaller share is a subset of a larger one.
        seed: of that draw.
        part: `labeled` and `unlabeled` yield these patches only, `all` yields both.

    Raises:
        DatasetError: a missing folder or file, or an image that does not fit; the message prints the expected tree.
    """

    taxonomy = DEFAULT_TAXONOMY

    def __init__(
        self, root: str | Path, split: Split = "train", labeled: float = 1.0, seed: int = 0, part: Part = "all"
    ) -> None:
        self.root = Path(root).expanduser()
        prefixes = LAYOUT.choose(split, PREFIXES)
        found = [path for prefix in prefixes for path in LAYOUT.files(self.root / f"{prefix}_image", "*.png")]
        with_label = draw_labeled([path.stem for path in found], labeled, seed)
        chosen = choose_part(LAYOUT, part, with_label, self.root)
        self.images = [(found[i], with_label[i]) for i in chosen]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> RgbdSample:
        image, with_label = self.images[index]
        rgb = read_rgb(image)
        if not with_label:
            return RgbdSample(rgb, None, None, image.stem)
        segment = image.parent.with_name(image.parent.name.replace("_image", "_segment")) / image.name
        label = read_segment(segment)
        check_size(label, rgb, segment)
        return RgbdSample(rgb, None, label, image.stem)


def read_segment(path: Path) -> NDArray[np.uint8]:
    """Read a label: red on white in color images, above 127 in gray ones.

    Returns:
        (H, W), ROAD or BACKGROUND.

    Raises:
        DatasetError: missing, truncated, or a black-and-white mask stored in color, where white could mean either.
    """
    raw = read_image(path)
    if raw.ndim == 2:
        return np.where(raw > 127, ROAD, BACKGROUND).astype(np.uint8)
    green, red = raw[..., 1].astype(np.int16), raw[..., 2].astype(np.int16)
    if (red < 128).any():
        raise DatasetError(
            f"{path}: a color image with pixels that are neither red (road) nor white: store masks as gray images"
        )
    return np.where(red - green > 127, ROAD, BACKGROUND).astype(np.uint8)
