# SPDX-License-Identifier: Apache-2.0
"""Images with boxes, and boxes from label images. N boxes, H W image size; boxes are (left, top, right, bottom)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg.taxonomy import Role
from road_kd_training.datasets import RgbdDataset
from road_kd_training.errors import DatasetError


@dataclass(frozen=True, slots=True)
class Boxes:
    """Objects of one image."""

    corners: NDArray[np.float32]
    """(N, 4) in pixels; right and bottom lie outside, so that width = right - left."""
    classes: NDArray[np.int64]
    """(N,) from 0."""
    areas: NDArray[np.float32]
    """(N,) in pixels, of the objects themselves: the size by which COCO calls them small, medium or large."""
    crowd: NDArray[np.bool_]
    """(N,) whether the box holds many objects: not learned, and neither hit nor miss in the score."""

    def __len__(self) -> int:
        return len(self.classes)


@dataclass(frozen=True, slots=True)
class BoxSample:
    """One image with its objects."""

    rgb: NDArray[np.uint8]
    """(H, W, 3)."""
    boxes: Boxes
    id: str


class BoxDataset(Protocol):
    """Random access to samples with boxes."""

    @property
    def class_names(self) -> Sequence[str]:
        """By class."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> BoxSample: ...


def boxes_of_label(label: NDArray[np.uint8], class_ids: Sequence[int], min_area: int = 1) -> Boxes:
    """One box around each connected region of a class.

    Args:
        label: (H, W) class ids.
        class_ids: which of them are objects; the box's class is the position in this list.
        min_area: pixels; smaller regions are no objects.

    Returns:
        Boxes by class, then in the order of their topmost pixels. Regions that touch, if only by a corner, are one:
        a label image does not tell two objects from one.
    """
    corners: list[list[int]] = []
    classes: list[int] = []
    areas: list[int] = []
    for index, class_id in enumerate(class_ids):
        mask = (label == class_id).astype(np.uint8)
        _, _, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        for left, top, width, height, area in statistics[1:].tolist():
            if area >= min_area:
                corners.append([left, top, left + width, top + height])
                classes.append(index)
                areas.append(area)
    return Boxes(
        np.array(corners, np.float32).reshape(-1, 4),
        np.array(classes, np.int64),
        np.array(areas, np.float32),
        np.zeros(len(classes), np.bool_),
    )


class LabeledObstacles:
    """The obstacles of a segmentation dataset as boxes, a class for each of its obstacle classes.

    Args:
        dataset: with label images.
        min_area: pixels; smaller regions are no objects.

    Raises:
        DatasetError: its taxonomy has no obstacles.
    """

    def __init__(self, dataset: RgbdDataset, min_area: int = 100) -> None:
        obstacles = [one for one in dataset.taxonomy.classes if one.role is Role.OBSTACLE]
        if not obstacles:
            raise DatasetError(f"classes {dataset.taxonomy.names} hold no obstacles: there is nothing to put boxes on")
        self.dataset, self.min_area = dataset, min_area
        self.class_ids = [one.id for one in obstacles]
        self.class_names = [one.name for one in obstacles]

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> BoxSample:
        sample = self.dataset[index]
        if sample.label is None:
            raise DatasetError(f"sample {sample.id} has no label: its obstacles have no boxes")
        return BoxSample(sample.rgb, boxes_of_label(sample.label, self.class_ids, self.min_area), sample.id)
