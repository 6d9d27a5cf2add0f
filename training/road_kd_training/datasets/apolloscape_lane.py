# SPDX-License-Identifier: Apache-2.0
"""ApolloScape lane marks (Huang et al., CVPR Workshops 2018): 113,653 labeled frames of roads 02-04, 2710x3384.

Expected tree:

    ROOT/ColorImage_roadNN/ColorImage/RECORD/CAMERA/NAME.jpg      roads 02, 03, 04: train and validation
    ROOT/Labels_roadNN/Label/RECORD/CAMERA/NAME_bin.png           ids as gray or palette image, or their colors
    ROOT/ColorImage_road05/…/NAME.jpg                             test, 885 frames; labels are with the server only
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.frame import IGNORE_INDEX
from road_kd_seg.taxonomy import Role, SemanticClass, Taxonomy
from road_kd_training.datasets.common.folder import (
    Color,
    Layout,
    check_size,
    color_to_class,
    label_table,
    read_raw_label,
    value_to_class,
)
from road_kd_training.datasets.common.sample import RgbdSample, read_rgb

Split = Literal["train", "validation", "test"]

LAYOUT = Layout.from_doc("apolloscape_lane", __doc__)
TEST_ROAD = "road05"

CLASSES: tuple[tuple[str, int, bool, Color], ...] = (
    ("void", 0, True, (0, 0, 0)),
    ("s_w_d", 200, True, (70, 130, 180)),
    ("s_y_d", 204, True, (220, 20, 60)),
    ("ds_w_dn", 213, False, (128, 0, 128)),
    ("ds_y_dn", 209, True, (255, 0, 0)),
    ("sb_w_do", 206, False, (0, 0, 60)),
    ("sb_y_do", 207, False, (0, 60, 100)),
    ("b_w_g", 201, True, (0, 0, 142)),
    ("b_y_g", 203, True, (119, 11, 32)),
    ("db_w_g", 211, False, (244, 35, 232)),
    ("db_y_g", 208, False, (0, 0, 160)),
    ("db_w_s", 216, False, (153, 153, 153)),
    ("s_w_s", 217, True, (220, 220, 0)),
    ("ds_w_s", 215, False, (250, 170, 30)),
    ("s_w_c", 218, False, (102, 102, 156)),
    ("s_y_c", 219, False, (128, 0, 0)),
    ("s_w_p", 210, True, (128, 64, 128)),
    ("s_n_p", 232, False, (238, 232, 170)),
    ("c_wy_z", 214, True, (190, 153, 153)),
    ("a_w_u", 202, False, (0, 0, 230)),
    ("a_w_t", 220, True, (128, 128, 0)),
    ("a_w_tl", 221, True, (128, 78, 160)),
    ("a_w_tr", 222, True, (150, 100, 100)),
    ("a_w_tlr", 231, False, (255, 165, 0)),
    ("a_w_l", 224, True, (180, 165, 180)),
    ("a_w_r", 225, True, (107, 142, 35)),
    ("a_w_lr", 226, True, (201, 255, 229)),
    ("a_n_lu", 230, False, (0, 191, 255)),
    ("a_w_tu", 228, False, (51, 255, 51)),
    ("a_w_m", 229, False, (250, 128, 114)),
    ("a_y_t", 233, False, (127, 255, 0)),
    ("b_n_sr", 205, True, (255, 128, 0)),
    ("d_wy_za", 212, False, (0, 255, 255)),
    ("r_wy_np", 227, True, (178, 132, 190)),
    ("vom_wy_n", 223, False, (128, 128, 64)),
    ("om_n_n", 250, True, (102, 0, 204)),
)
"""By class id: the release's name, its id in label images, whether the benchmark evaluates it, and its color.

A name says shape, color and use: s_w_d is a solid white dividing line, b_y_g a broken yellow guiding line, a_w_tl a
white arrow through-left, c_wy_z a crosswalk."""

IGNORED: tuple[tuple[int, Color], ...] = ((249, (0, 153, 153)), (255, (255, 255, 255)))
"""Id and color of noise, and of what was not labeled."""

LANE_MARKS = Taxonomy(
    tuple(
        SemanticClass(index, name, Role.LANE if index else Role.BACKGROUND, color)
        for index, (name, _, _, color) in enumerate(CLASSES)
    ),
    {
        "a_w_l": "a_w_r",
        "a_w_r": "a_w_l",
        "a_w_tl": "a_w_tr",
        "a_w_tr": "a_w_tl",
        # Arrows to the left without one to the right: U-turns, and left with U-turn.
        "a_w_u": None,
        "a_w_tu": None,
        "a_n_lu": None,
    },
)


class ApolloscapeLane:
    """The frames of one split.

    The paper's 10,000 validation frames (IntRA-KD, Table 1) are a random subset that was never published. Here every
    11th record, from the second on, is kept for validation, whole: neighboring frames of one drive look alike.

    Args:
        root: the folder of the tree.
        split: train, validation, or test, whose labels are None.
        evaluated_only: labels of the 18 classes that the benchmark evaluates; the others become ignore. The mean IoU
            is then the benchmark's: pixels of other classes are not scored, and predicting one is a miss.

    Raises:
        DatasetError: a missing folder, or an empty split; the message prints the expected tree.
    """

    taxonomy = LANE_MARKS

    def __init__(self, root: str | Path, split: Split = "train", evaluated_only: bool = False) -> None:
        self.root, self.split = Path(root).expanduser(), split
        self.images = LAYOUT.not_empty(_images(self.root, split), split, self.root)
        self._class_of_id: dict[int, int] = {raw: IGNORE_INDEX for raw, _ in IGNORED}
        self._class_of_color: dict[Color, int] = {color: IGNORE_INDEX for _, color in IGNORED}
        for index, (_, raw, evaluated, color) in enumerate(CLASSES):
            value = index if evaluated or not evaluated_only else IGNORE_INDEX
            self._class_of_id[raw] = self._class_of_color[color] = value

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> RgbdSample:
        path = self.images[index]
        rgb = read_rgb(path)
        name = "/".join(path.relative_to(self.root).with_suffix("").parts)
        label = None if self.split == "test" else self._read_label(label_path(self.root, path), rgb)
        return RgbdSample(rgb, None, label, name)

    def _read_label(self, path: Path, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        raw = read_raw_label(path)
        # The frames for training are colored; the benchmark's own examples hold ids behind a palette.
        if raw.ndim == 3:
            label = color_to_class(raw, self._class_of_color, path)
        else:
            label = value_to_class(raw, label_table(self._class_of_id), path)
        check_size(label, rgb, path)
        return label


def label_path(root: Path, image: Path) -> Path:
    """Label file of a frame of roads 02-04."""
    kind, _, record, camera, name = image.relative_to(root).parts
    road = kind.removeprefix("ColorImage_")
    return root / f"Labels_{road}" / "Label" / record / camera / f"{Path(name).stem}_bin.png"


def _images(root: Path, split: str) -> list[Path]:
    LAYOUT.choose(split, dict.fromkeys(get_args(Split)))
    if split == "test":
        return LAYOUT.files(root, f"ColorImage_{TEST_ROAD}/**/*.jpg")
    found = LAYOUT.files(root, "ColorImage_road*/ColorImage/*/*/*.jpg")
    images = [path for path in found if path.relative_to(root).parts[0] != f"ColorImage_{TEST_ROAD}"]
    held_out = set(sorted({path.parents[1] for path in images})[1::11])
    return [path for path in images if (path.parents[1] in held_out) == (split == "validation")]
