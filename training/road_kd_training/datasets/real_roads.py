# SPDX-License-Identifier: Apache-2.0
"""Real roads from four countries under permissive licenses: 844 labeled color images without depth.

Sources (authors and changes stand in each folder's SOURCE.txt and LICENSE): survey vehicles in Brazil (MIT, CC BY 4.0),
rural dashcams in Russia (CC BY 4.0), a campus robot in Pakistan (MIT, CC BY 4.0), highways in the USA (MIT). Lane
markings of `cracks_potholes_br`, `road_ru` and `udacity_lanes` are weak labels: a detector of bright, thin paint made
them, and a third of the paint that it missed is labeled road.

Expected tree:

    ROOT/split.csv                       file, label, source, split (train or val) of every image; further columns
    ROOT/SOURCE/rgb/NAME.jpg             color (or .png)
    ROOT/SOURCE/label/NAME.png           class ids of the default taxonomy, 255 = ignore
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.frame import IGNORE_INDEX
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY
from road_kd_training.datasets.common.folder import Layout, check_size
from road_kd_training.datasets.common.sample import RgbdSample, read_image, read_rgb

LAYOUT = Layout.from_doc("real_roads", __doc__)

Split = Literal["train", "validation", "all"]

SPLITS = {"train": ("train",), "validation": ("val",), "all": ("train", "val")}
"""Names in split.csv."""

LANE_MARKING = 2

WEAK_LANES = frozenset({"cracks_potholes_br", "road_ru", "udacity_lanes"})
"""Sources whose lane markings a detector labeled."""


class RealRoads:
    """The images of one split, of all sources or some.

    Args:
        root: the folder.
        split: of split.csv, which keeps neighboring stretches of a drive on one side.
        sources: names of the sources; none: all that split.csv lists.
        weak_lanes: keep the weak lane markings; otherwise they are ignored (255), and so count as nothing.

    Raises:
        DatasetError: a missing folder or file, or an unknown split or source; the message prints the expected tree.
    """

    taxonomy = DEFAULT_TAXONOMY

    def __init__(
        self, root: str | Path, split: Split = "train", sources: list[str] | None = None, weak_lanes: bool = False
    ) -> None:
        self.root = Path(root).expanduser()
        if split not in get_args(Split):
            raise LAYOUT.error(f"split '{split}' is unknown: use one of {', '.join(SPLITS)}")
        rows = self._read_table()
        known = sorted({row["source"] for row in rows})
        for source in sources or ():
            if source not in known:
                raise LAYOUT.error(f"source '{source}' is unknown: {self.root / 'split.csv'} has {', '.join(known)}")
        self.weak_lanes = weak_lanes
        self.rows = [row for row in rows if row["split"] in SPLITS[split] and (not sources or row["source"] in sources)]
        if not self.rows:
            raise LAYOUT.error(f"split '{split}' of {', '.join(sources or known)} is empty")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> RgbdSample:
        row = self.rows[index]
        file, path = (LAYOUT.below(self.root, row[column]) for column in ("file", "label"))
        rgb = read_rgb(file)
        label: NDArray[np.uint8] = read_image(path)
        check_size(label, rgb, path, "label")
        if not self.weak_lanes and row["source"] in WEAK_LANES:
            label = np.where(label == LANE_MARKING, np.uint8(IGNORE_INDEX), label)
        return RgbdSample(rgb, None, label, Path(row["file"]).with_suffix("").as_posix(), {"source": row["source"]})

    def _read_table(self) -> list[dict[str, str]]:
        path = self.root / "split.csv"
        try:
            rows = list(csv.DictReader(LAYOUT.text(path).splitlines()))
        except csv.Error as error:
            raise LAYOUT.error(f"{path} is no table: {error}") from error
        missing = {"file", "label", "source", "split"} - set(rows[0] if rows else ())
        if missing:
            raise LAYOUT.error(f"{path} lacks the columns {', '.join(sorted(missing))}")
        if any(row[column] is None for row in rows for column in ("file", "label", "source", "split")):
            raise LAYOUT.error(f"{path} has a line of fewer columns than its first")
        return rows
