# SPDX-License-Identifier: Apache-2.0
"""MS COCO 2017 (Lin et al., ECCV 2014): boxes of 80 classes, 118,287 / 5,000 images.

Expected tree:

    ROOT/train2017/NAME.jpg                             color
    ROOT/val2017/NAME.jpg
    ROOT/annotations/instances_{train2017,val2017}.json boxes
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from road_kd_training.datasets.common.folder import Layout
from road_kd_training.datasets.common.sample import read_json, read_rgb
from road_kd_training.detection.boxes import Boxes, BoxSample
from road_kd_training.errors import DatasetError

LAYOUT = Layout.from_doc("coco", __doc__)
MAX_ANNOTATION_BYTES = 1 << 30
FOLDERS = {"train": "train2017", "validation": "val2017"}


class Coco:
    """One split. Of `train`, images without a box to learn from are left out, as in mmdetection.

    Args:
        root: of the tree above.
        split: train or validation.

    Raises:
        DatasetError: a missing folder or annotation file (the message prints the expected tree), or a damaged one.
    """

    def __init__(self, root: str | Path, split: Literal["train", "validation"] = "train") -> None:
        root = Path(root).expanduser()
        name = LAYOUT.choose(split, FOLDERS)
        path = root / "annotations" / f"instances_{name}.json"
        self.folder = root / name
        for needed in (path, self.folder):
            if not needed.exists():
                raise LAYOUT.error(f"{needed} is missing")
        try:
            data = read_json(path, limit=MAX_ANNOTATION_BYTES)
            categories = sorted(data["categories"], key=lambda one: one["id"])
            self.class_names = [one["name"] for one in categories]
            class_of = {one["id"]: index for index, one in enumerate(categories)}
            found = _boxes_by_image(data["annotations"], class_of)
            self.images = [(one["id"], str(one["file_name"])) for one in data["images"]]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
            raise DatasetError(f"{path}: not COCO's annotation of instances ({error!r}): fetch it again") from error
        self.boxes = {id_: found.get(id_) or _boxes([], class_of) for id_, _ in self.images}
        if split == "train":
            self.images = [image for image in self.images if not self.boxes[image[0]].crowd.all()]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> BoxSample:
        id_, name = self.images[index]
        return BoxSample(read_rgb(LAYOUT.below(self.folder, name)), self.boxes[id_], name)


def _boxes_by_image(annotations: Sequence[Mapping[str, Any]], class_of: Mapping[int, int]) -> dict[int, Boxes]:
    by_image: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for one in annotations:
        if min(one["bbox"][2:]) >= 1:  # a handful have no width or height
            by_image[one["image_id"]].append(one)
    return {image: _boxes(found, class_of) for image, found in by_image.items()}


def _boxes(annotations: Sequence[Mapping[str, Any]], class_of: Mapping[int, int]) -> Boxes:
    boxes = np.array([one["bbox"] for one in annotations], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return Boxes(
        boxes,
        np.array([class_of[one["category_id"]] for one in annotations], np.int64),
        np.array([one["area"] for one in annotations], np.float32),
        np.array([bool(one.get("iscrowd", 0)) for one in annotations], np.bool_),
    )
