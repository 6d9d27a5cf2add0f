# SPDX-License-Identifier: Apache-2.0
"""Unsupervised LLAMAS (Behrendt and Soussan, ICCV Workshops 2019): 79,113 labeled highway frames of 717x1276.

Expected tree:

    ROOT/color_images/train/RECORDING/NAME_color_rect.png    58,269 frames; also valid (20,844) and test (20,929)
    ROOT/labels/train/RECORDING/NAME.json                    lane markers in 3D; also valid
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg.frame import IGNORE_INDEX
from road_kd_training.datasets.common.folder import Layout
from road_kd_training.datasets.common.sample import RgbdSample, read_json, read_rgb
from road_kd_training.datasets.culane import EGO_LANES
from road_kd_training.errors import DatasetError

Split = Literal["train", "validation", "test", "unlabeled"]

LAYOUT = Layout.from_doc("llamas", __doc__)
SIZE = (717, 1276)
FOLDERS = {
    "train": "train/*",
    "validation": "valid/images-2014-12-22-12-35-10_mapping_280S_ramps",
    "test": "valid/images-2014-12-22-14-19-07_mapping_280S_3rd_lane",
    "unlabeled": "test/*",
}
"""IntRA-KD, Table 1, halves the original validation set: its 10,029 and 10,815 frames are the two recordings."""

MARKER_WIDTH_M = 0.1
MIN_LANE_HEIGHT_PX = 20
MIN_MARKERS = 2
MAX_COORDINATE = 1e6

COLORS = {"l1": (0, 0, 255), "l0": (24, 140, 34), "r0": (255, 0, 0), "r1": (0, 255, 255)}
OTHER_COLOR = (40, 110, 170)
"""BGR, by lane, in the order of classes 1..4. The public scripts draw markers in these colors, with smooth edges, and
a pixel belongs to a lane if it has exactly its color: the values decide which edge pixels do."""


class Llamas:
    """The frames of one split; split unlabeled is the original test set, whose labels are not public.

    Classes are those of CULane: the lane lines l1, l0, r0, r1 as the public scripts number them. Lines farther out are
    background.

    Raises:
        DatasetError: a missing folder, or an empty split; the message prints the expected tree.
    """

    taxonomy = EGO_LANES

    def __init__(self, root: str | Path, split: Split = "train") -> None:
        self.root, self.split = Path(root).expanduser(), split
        folder = LAYOUT.choose(split, FOLDERS)
        self.images = LAYOUT.files(self.root / "color_images", f"{folder}/*_color_rect.png")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> RgbdSample:
        path = self.images[index]
        rgb = read_rgb(path)
        if rgb.shape[:2] != SIZE:
            raise DatasetError(f"{path}: is {rgb.shape[:2]} (H, W), expected {SIZE}: markers are given in its pixels")
        name = path.relative_to(self.root / "color_images").as_posix().removesuffix("_color_rect.png")
        label = None if self.split == "unlabeled" else render_label(self.root / "labels" / f"{name}.json")
        return RgbdSample(rgb, None, label, name)


def render_label(path: Path) -> NDArray[np.uint8]:
    """Class ids of one label file, (717, 1276): markers of 10 cm width, projected into the image.

    As in the public scripts, lanes of fewer than two markers or less than 20 px height are left out, and those that
    stay are renumbered from the car outwards.

    Raises:
        DatasetError: no such file, no JSON (truncated?), or a marker without its coordinates.
    """
    try:
        content = read_json(path)
    except DatasetError as error:
        raise LAYOUT.error(str(error)) from error
    try:
        projection = np.array(content["projection_matrix"], np.float64).reshape(3, 3)
        lanes = {str(lane["lane_id"]): lane["markers"] for lane in content["lanes"] if _is_kept(lane["markers"])}
        canvas = np.zeros((*SIZE, 3), np.uint8)
        for name, markers in _numbered_anew(lanes):
            for marker in markers:
                _draw(canvas, marker, projection, COLORS.get(name, OTHER_COLOR))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise DatasetError(
            f"{path}: not a label file (truncated?), expected JSON with projection_matrix (3x3) and lanes, each with"
            f" lane_id and markers with pixel_start, world_start and world_end: {type(error).__name__}: {error}"
        ) from error
    label = np.zeros(SIZE, np.uint8)
    for index, color in enumerate(COLORS.values(), 1):
        label[(canvas == color).all(-1)] = index
    return label


def _is_kept(markers: list[dict[str, Any]]) -> bool:
    if len(markers) < MIN_MARKERS:
        return False
    rows = [int(marker["pixel_start"]["y"]) for marker in markers]
    return max(rows) - min(rows) >= MIN_LANE_HEIGHT_PX


def _numbered_anew(lanes: dict[str, list[dict[str, Any]]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    numbers = {
        name: f"{side}{number}"
        for side in "lr"
        for number, name in enumerate(sorted(name for name in lanes if name.startswith(side)))
    }
    for name, markers in lanes.items():  # in the file's order: what is drawn later lies on top
        yield numbers.get(name, name), markers


def _draw(
    canvas: NDArray[np.uint8],
    marker: dict[str, Any],
    projection: NDArray[np.float64],
    color: tuple[int, int, int],
) -> None:
    ends = np.array([[float(marker[end][axis]) for axis in "xyz"] for end in ("world_start", "world_end")])
    if (ends[:, 2] <= 0).any():
        return  # behind the camera
    projected = ends @ projection.T
    with np.errstate(all="ignore"):
        x, y = (projected / projected[:, 2:])[:, :2].T
        half = projection[0, 0] * MARKER_WIDTH_M / ends[:, 2] / 2
    corners = np.array([[x[0] - half[0], y[0]], [x[0] + half[0], y[0]], [x[1] + half[1], y[1]], [x[1] - half[1], y[1]]])
    if not (np.abs(corners) < MAX_COORDINATE).all():
        return  # at the camera itself: no number, or one that takes OpenCV seconds to draw
    points = np.round(corners.astype(np.float32)).astype(np.int32)
    if points[0, 1] != points[3, 1]:
        for _ in range(2):  # twice, as the public scripts do: more of the smooth edge reaches the full color
            cv2.fillConvexPoly(canvas, points, color, cv2.LINE_AA)


def average_precision(probabilities: NDArray[np.float32], label: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Area under the precision-recall curve of every class in one image, as the benchmark computes it.

    Probabilities are rounded to 8 bits, as submissions are. Over the 101 thresholds 1.00, 0.99, … 0.00 the area grows
    by the step in recall times the precision before the step; the first one starts from precision 1. Precision is 0
    where nothing reaches the threshold, and so is the area for a class that the image does not hold.

    Args:
        probabilities: (K, H, W).
        label: (H, W); pixels with IGNORE_INDEX are left out.

    Returns:
        (K,).
    """
    num_classes = len(probabilities)
    scored = label != IGNORE_INDEX
    score = np.rint(probabilities[:, scored] * 255).astype(np.int64)
    hit = label[scored] == np.arange(num_classes)[:, None]
    bins = (np.arange(num_classes)[:, None] * 2 + hit) * 256 + score
    counts = np.bincount(bins.ravel(), minlength=num_classes * 512).reshape(num_classes, 2, 256)
    thresholds = (100 - np.arange(101)) / 100
    reached = np.arange(256) / 255 >= thresholds[:, None]
    misses, hits = (counts @ reached.T).swapaxes(0, 1)
    found, actual = hits + misses, np.maximum(counts[:, 1].sum(1), 1)
    precision = hits / np.maximum(found, 1)
    recall = hits / actual[:, None]
    before = np.concatenate([np.ones((num_classes, 1)), precision[:, :-1]], axis=1)
    area: NDArray[np.float64] = (np.diff(recall, axis=1, prepend=0) * before).sum(1)
    return area


class LlamasAp:
    """The benchmark's mean average precision: `average_precision`, mean over images, mean over the four lanes.

    A lane that is not in an image counts as 0 there, whatever was predicted, so that even a perfect result stays below
    1 on real recordings. Images without labels are left out.
    """

    def __init__(self) -> None:
        self.areas: list[NDArray[np.float64]] = []

    def add(self, sample: RgbdSample, probabilities: NDArray[np.float32]) -> None:
        """Score one image; probabilities are (5, 717, 1276)."""
        if sample.label is not None:
            self.areas.append(average_precision(probabilities, sample.label))

    def result(self) -> dict[str, float]:
        """`map` and the average precision of every lane; NaN where no image had labels."""
        if not self.areas:
            return {"map": float("nan")}
        mean = np.mean(self.areas, axis=0)[1:]
        names = EGO_LANES.names[1:]
        return {"map": float(mean.mean()), **{f"ap_{name}": float(ap) for name, ap in zip(names, mean, strict=True)}}
