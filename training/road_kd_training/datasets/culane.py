# SPDX-License-Identifier: Apache-2.0
"""CULane (Pan et al., AAAI 2018): 133,235 frames of 590x1640, four lanes by their place relative to the car.

Expected tree:

    ROOT/driver_*/VIDEO/NAME.jpg                             color
    ROOT/driver_*/VIDEO/NAME.lines.txt                       one lane a line: x y x y …, in px
    ROOT/laneseg_label_w16/driver_*/VIDEO/NAME.png           0 background, 1..4 lanes from left to right
    ROOT/laneseg_label_w16_test/driver_*/VIDEO/NAME.png      the same for the test split; may be left out
    ROOT/list/train_gt.txt, ROOT/list/val_gt.txt             IMAGE LABEL E1 E2 E3 E4; E1..E4 say which lanes exist
    ROOT/list/test.txt                                       IMAGE
    ROOT/list/test_split/test0_normal.txt … test8_night.txt  the test images by category
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.taxonomy import Role, SemanticClass, Taxonomy
from road_kd_training.datasets.common.folder import Layout, check_size, label_values, read_label
from road_kd_training.datasets.common.lane_lines import Lane, lanes_from_probabilities, match_lanes
from road_kd_training.datasets.common.sample import RgbdSample, read_rgb
from road_kd_training.errors import DatasetError

Split = Literal["train", "validation", "test"]

LAYOUT = Layout.from_doc("culane", __doc__)
SIZE = (590, 1640)
LISTS = {"train": "train_gt.txt", "validation": "val_gt.txt", "test": "test.txt"}
CATEGORIES = ("normal", "crowd", "hlight", "shadow", "noline", "arrow", "curve", "cross", "night")
"""Of the test split, in the order of their files. Images of `cross` hold no lanes."""

MAX_LANES, MAX_POINTS, MAX_COORDINATE = 16, 1000, 1e6
"""Of one image: the time that matching lanes takes grows with the fourth power of the first."""

EGO_LANES = Taxonomy(
    (
        SemanticClass(0, "background", Role.BACKGROUND, (70, 70, 70)),
        SemanticClass(1, "far_left_lane", Role.LANE, (230, 25, 75)),
        SemanticClass(2, "left_lane", Role.LANE, (255, 225, 25)),
        SemanticClass(3, "right_lane", Role.LANE, (60, 180, 75)),
        SemanticClass(4, "far_right_lane", Role.LANE, (0, 130, 200)),
    ),
    {
        "far_left_lane": "far_right_lane",
        "left_lane": "right_lane",
        "right_lane": "left_lane",
        "far_right_lane": "far_left_lane",
    },
)
"""The lane lines on both sides of the car, and the next ones beyond."""

LABELS = label_values(len(EGO_LANES))


class CuLane:
    """The frames of one split.

    `meta` holds `lanes` (the annotated polylines, each (N, 2) in px), for train and validation `existence` (four
    flags), and for test `category`. Labels of the test split are None where laneseg_label_w16_test is left out.

    Raises:
        DatasetError: a missing list, a malformed line, or an empty split; the message prints the expected tree.
    """

    taxonomy = EGO_LANES

    def __init__(self, root: str | Path, split: Split = "train") -> None:
        self.root, self.split = Path(root).expanduser(), split
        LAYOUT.choose(split, dict.fromkeys(get_args(Split)))
        path = self.root / "list" / LISTS[split]
        columns = 1 if split == "test" else 6
        self.entries = [line.split() for line in LAYOUT.lines(path)]
        for number, entry in enumerate(self.entries, 1):
            if len(entry) != columns or not set(entry[2:]) <= {"0", "1"}:
                form = "IMAGE" if split == "test" else "IMAGE LABEL and four flags, each 0 or 1"
                raise LAYOUT.error(f"{path}, entry {number}: '{' '.join(entry)}', expected {form}")
        self._categories = _categories(self.root) if split == "test" else {}

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> RgbdSample:
        path = self._file(self.entries[index][0])
        rgb = read_rgb(path)
        if rgb.shape[:2] != SIZE:
            raise DatasetError(f"{path}: is {rgb.shape[:2]} (H, W), expected {SIZE}: lanes are given in its pixels")
        meta: dict[str, Any] = {"lanes": read_lanes(path.with_suffix(".lines.txt"))}
        if self.split == "test":
            meta["category"] = self._categories.get(self.entries[index][0].lstrip("/"))
        else:
            meta["existence"] = tuple(flag == "1" for flag in self.entries[index][2:])
        name = path.relative_to(self.root).with_suffix("").as_posix()
        return RgbdSample(rgb, None, self._label(index, rgb), name, meta)

    def _file(self, listed: str) -> Path:
        return LAYOUT.below(self.root, listed.lstrip("/"))

    def _label(self, index: int, rgb: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        if self.split == "test":
            folder = self.root / "laneseg_label_w16_test"
            if not folder.is_dir():
                return None
            image = self._file(self.entries[index][0]).relative_to(self.root)
            path = LAYOUT.below(folder, str(image.with_suffix(".png")))
        else:
            path = self._file(self.entries[index][1])
        label = read_label(path, LABELS)
        check_size(label, rgb, path)
        return label


def read_lanes(path: Path) -> list[Lane]:
    """Lanes of a .lines.txt file, which is empty where there are none.

    Raises:
        DatasetError: no such file, a line that is not pairs of numbers, or more than a road has.
    """
    lanes = []
    for number, line in enumerate(LAYOUT.text(path).splitlines(), 1):
        try:
            points = np.array(line.split(), np.float32).reshape(-1, 2)
        except ValueError as error:
            raise LAYOUT.error(f"{path}, line {number}: expected pairs of numbers x y x y …, got '{line}'") from error
        if len(points) > MAX_POINTS or not (np.abs(points) < MAX_COORDINATE).all():
            raise LAYOUT.error(
                f"{path}, line {number}: {len(points)} points, expected at most {MAX_POINTS}, each coordinate a finite"
                f" number below {MAX_COORDINATE:g} px"
            )
        if len(points):
            lanes.append(points)
    if len(lanes) > MAX_LANES:
        raise LAYOUT.error(f"{path}: {len(lanes)} lanes, expected at most {MAX_LANES}")
    return lanes


def _categories(root: Path) -> dict[str, str]:
    of_image = {}
    for number, category in enumerate(CATEGORIES):
        for line in LAYOUT.lines(root / "list" / "test_split" / f"test{number}_{category}.txt"):
            of_image[line.lstrip("/")] = category
    return of_image


class CuLaneF1:
    """The benchmark's F1: lanes 30 px wide, a true positive above an IoU of 0.5, counted over all images.

    See `lane_lines` for how lanes are read off the probabilities and matched.
    """

    def __init__(self) -> None:
        self.counts: dict[str | None, NDArray[np.int64]] = {}
        """By category: true positives, false positives, false negatives."""

    def add(self, sample: RgbdSample, probabilities: NDArray[np.float32]) -> None:
        """Count the lanes of one image.

        Args:
            sample: from `CuLane`; its `meta` holds the true lanes.
            probabilities: (5, 590, 1640).
        """
        found = match_lanes(sample.meta["lanes"], lanes_from_probabilities(probabilities), probabilities.shape[1:])
        category = sample.meta.get("category")
        self.counts[category] = self.counts.get(category, np.zeros(3, np.int64)) + found

    def result(self) -> dict[str, float]:
        """F1, precision and recall over all images, and F1 by category; for `cross` its false positives, as usual."""
        total = sum(self.counts.values(), np.zeros(3, np.int64))
        hits, false_positives, false_negatives = (int(n) for n in total)
        report = {
            "f1": culane_f1(*total),
            "precision": _ratio(hits, hits + false_positives),
            "recall": _ratio(hits, hits + false_negatives),
        }
        for category in CATEGORIES:
            if category in self.counts:
                counts = self.counts[category]
                cross = category == "cross"
                key = "cross_false_positives" if cross else f"f1_{category}"
                report[key] = float(counts[1]) if cross else culane_f1(*counts)
        return report


def culane_f1(true_positives: int, false_positives: int, false_negatives: int) -> float:
    """F1 = 2 P R / (P + R) from counts of lanes; NaN where there are none at all."""
    return _ratio(2 * true_positives, 2 * true_positives + false_positives + false_negatives)


def _ratio(numerator: int, denominator: int) -> float:
    return float(numerator / denominator) if denominator else float("nan")
