# SPDX-License-Identifier: Apache-2.0
"""Real road photographs with potholes from a stereo camera (Fan et al., IEEE T-IP 2019), 52 frames, 576x1024.

Expected tree:

    ROOT/rgb/NAME.jpg     color
    ROOT/tdisp/NAME.png   uint16, plane-removed ("transformed") disparity, scaled image by image; 0 = invalid
    ROOT/label/NAME.png   0 road, 255 pothole
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.frame import Intrinsics
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY, NEGATIVE_OBSTACLE, ROAD
from road_kd_training.datasets.common.sample import RgbdSample, read_image, read_rgb
from road_kd_training.errors import DatasetError

Split = Literal["train", "validation", "all"]

POTHOLES: tuple[tuple[str, int, int], ...] = (
    ("d1", 1, 5), ("d1", 6, 8), ("d1", 9, 14), ("d1", 15, 22), ("d2", 1, 5), ("d2", 6, 8), ("d2", 9, 12),
    ("d2", 13, 15), ("d2", 16, 18), ("d2", 19, 20), ("d2", 21, 23), ("d2", 24, 26), ("d2", 27, 27), ("d2", 37, 39),
)  # fmt: skip
"""Frames that show the same pothole (first and last number), in order of their names, told apart by eye.

A random split would put views of one pothole on both sides. Every fifth pothole, from the second on, is kept for
validation: 10 frames. (The potholes of d1 look alike; some may be one pothole under another light.)"""

NOMINAL_HEIGHT_M = 1.2
NOMINAL_PITCH_RAD = np.deg2rad(45.0)
NOMINAL_FOCAL_PX = 900.0
"""The dataset gives no calibration. Depth is rebuilt on this nominal plane, which only has to be plausible: the plane
is what `plane_residual` removes again."""
INVERSE_DEPTH_PER_UNIT = 2e-6
"""1/m per unit of tdisp: puts a typical pothole (17,000 units) at -0.034 1/m, as 5 cm look at this height and pitch."""


class StereoPothole:
    """The frames of one split, with depth rebuilt from tdisp.

    Args:
        root: the folder.
        split: `train`, `validation` or `all`.
        tdisp_scale: multiplies what leaves the plane. The dataset gives no scale: a model should not depend on ours.

    Raises:
        DatasetError: a missing folder, or files that do not match; the message prints the expected tree.
    """

    taxonomy = DEFAULT_TAXONOMY

    def __init__(self, root: str | Path, split: Split = "train", tdisp_scale: float = 1.0) -> None:
        self.root = Path(root).expanduser()
        self.tdisp_scale = tdisp_scale
        names = sorted(path.stem for path in (self.root / "rgb").glob("*.jpg"))
        if not names:
            raise DatasetError(f"stereo_pothole: no rgb/*.jpg below {self.root}.", _tree())
        held_out = validation_names()
        splits = {
            "train": [name for name in names if name not in held_out],
            "validation": [name for name in names if name in held_out],
            "all": names,
        }
        if split not in splits:
            raise DatasetError(f"stereo_pothole: split '{split}' is unknown: use one of {', '.join(splits)}")
        self.names = splits[split]
        if not self.names:
            raise DatasetError(f"stereo_pothole: split '{split}' of {self.root} is empty.", _tree())

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> RgbdSample:
        name = self.names[index]
        rgb = read_rgb(self.root / "rgb" / f"{name}.jpg")
        label = self.pothole_mask(index)
        classes = np.where(label, NEGATIVE_OBSTACLE, ROAD).astype(np.uint8)
        depth_m = rebuild_depth(self.tdisp(index), self.tdisp_scale)
        return RgbdSample(rgb, depth_m, classes, name, {"intrinsics": nominal_intrinsics(*rgb.shape[:2])})

    def tdisp(self, index: int) -> NDArray[np.uint16]:
        """(H, W) as stored."""
        path = self.root / "tdisp" / f"{self.names[index]}.png"
        tdisp = read_image(path)
        if tdisp.dtype != np.uint16 or tdisp.ndim != 2:
            raise DatasetError(f"{path}: got {tdisp.dtype} {tdisp.shape}, expected a uint16 gray image.", _tree())
        return tdisp

    def pothole_mask(self, index: int) -> NDArray[np.bool_]:
        """(H, W), where the pothole is."""
        path = self.root / "label" / f"{self.names[index]}.png"
        label = read_image(path)
        if not np.isin(label, (0, 255)).all():
            raise DatasetError(f"{path}: holds values other than 0 (road) and 255 (pothole).", _tree())
        return np.asarray(label == 255)


def validation_names() -> frozenset[str]:
    """Names of the frames kept for validation: every fifth pothole, from the second on."""
    return frozenset(f"{s}_{n:02d}" for s, first, last in POTHOLES[1::5] for n in range(first, last + 1))


def rebuild_depth(tdisp: NDArray[np.uint16], scale: float = 1.0) -> NDArray[np.float32]:
    """Metric depth on the nominal plane: 1/z = plane + (tdisp - its median) x INVERSE_DEPTH_PER_UNIT x scale.

    Args:
        tdisp: (H, W), 0 = invalid.
        scale: of what leaves the plane.

    Returns:
        depth_m, (H, W), 0 = invalid.
    """
    height, width = tdisp.shape
    camera = nominal_intrinsics(height, width)
    slope = (np.arange(height) - camera.cy) / camera.fy
    # A ray (x, slope, 1) of a camera pitched down meets the ground where z (slope cos p + sin p) = height.
    plane = (slope * np.cos(NOMINAL_PITCH_RAD) + np.sin(NOMINAL_PITCH_RAD)) / NOMINAL_HEIGHT_M
    valid = tdisp > 0
    if not valid.any():
        return np.zeros(tdisp.shape, np.float32)
    offset = tdisp.astype(np.float32) - np.median(tdisp[valid])
    inverse_depth = plane[:, None] + offset * np.float32(INVERSE_DEPTH_PER_UNIT * scale)
    return np.where(valid, 1 / np.maximum(inverse_depth, 1e-3), 0).astype(np.float32)


def nominal_intrinsics(height: int = 576, width: int = 1024) -> Intrinsics:
    """The camera that `rebuild_depth` supposes."""
    return Intrinsics(NOMINAL_FOCAL_PX, NOMINAL_FOCAL_PX, (width - 1) / 2, (height - 1) / 2, width, height)


def _tree() -> str:
    return (__doc__ or "").split("Expected tree:")[1].rstrip()


def threshold_baseline(dataset: StereoPothole) -> dict[str, Any]:
    """How far one global threshold on tdisp gets, without learning: pixels that far below their frame's median.

    Returns:
        The best threshold and its pothole IoU over all frames; the best one on the training split, scored on
        validation; and a sentence that says both.
    """
    splits = {split: StereoPothole(dataset.root, split) for split in ("all", "train", "validation")}
    thresholds = np.arange(-25_000, -2_999, 500)
    ious = {split: _threshold_ious(frames, thresholds) for split, frames in splits.items()}
    best, trained = int(ious["all"].argmax()), int(ious["train"].argmax())
    result = {
        "all": {"threshold": int(thresholds[best]), "iou": round(float(ious["all"][best]), 4)},
        "validation": {"threshold": int(thresholds[trained]), "iou": round(float(ious["validation"][trained]), 4)},
    }
    sentence = (
        f"baseline, one threshold on tdisp and no learning: negative_obstacle IoU {result['all']['iou']} over all"
        f" {len(splits['all'])} frames (threshold {result['all']['threshold']} chosen on them);"
        f" {result['validation']['iou']} on the {len(splits['validation'])} validation frames"
        f" (threshold {result['validation']['threshold']} chosen on the training frames)"
    )
    return {"description": sentence, **result}


def _threshold_ious(frames: StereoPothole, thresholds: NDArray[np.int64]) -> NDArray[np.float64]:
    intersection, union = np.zeros(len(thresholds)), np.zeros(len(thresholds))
    for index in range(len(frames)):
        tdisp, mask = frames.tdisp(index), frames.pothole_mask(index)
        valid = tdisp > 0
        below = tdisp.astype(np.float64) - np.median(tdisp[valid])
        # Histograms of both classes give every threshold's counts in one pass.
        edges = np.concatenate([[-np.inf], thresholds.astype(np.float64)])
        hits = np.cumsum(np.histogram(below[valid & mask], edges)[0])
        false_alarms = np.cumsum(np.histogram(below[valid & ~mask], edges)[0])
        intersection += hits
        union += mask.sum() + false_alarms
    return intersection / union
