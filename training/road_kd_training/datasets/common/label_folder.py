# SPDX-License-Identifier: Apache-2.0
"""A folder of label images, one per frame: annotated, or predicted. `replay_eval --labels` reads it too."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.errors import RoadKdError
from road_kd_seg.files import read_file, write_file
from road_kd_seg.frame import IGNORE_INDEX
from road_kd_seg.label_files import foreign_labels, label_files
from road_kd_seg.plain_data import MAX_BYTES, Field, parse_json
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY, Taxonomy
from road_kd_training.datasets.common.folder import check_size, label_values, read_label
from road_kd_training.datasets.common.output import write_png
from road_kd_training.errors import DatasetError

LEGEND = "classes.json"


class LabelFolder:
    """`ID.png` (8-bit class ids, 255 = ignore) for each labeled frame, and `classes.json`, which says what they mean.

    The ids of frames of a bag are their header stamps in ns. Without a legend the default taxonomy counts.

    Raises:
        DatasetError: no such folder, or a legend that cannot be read.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()
        if not self.folder.is_dir():
            raise DatasetError(f"labels {self.folder}: no such folder, expected one with ID.png per labeled frame")
        self.taxonomy = read_legend(self.folder)
        self._files = label_files(self.folder)
        self.ids = frozenset(self._files)
        foreign = foreign_labels(self.folder)
        if foreign and not (self.folder / LEGEND).is_file():  # its ids would pass, and mean other classes
            raise DatasetError(f"labels {self.folder}: {foreign}")
        self._values = label_values(len(self.taxonomy), IGNORE_INDEX)

    def mask(self, ids: Iterable[str]) -> list[bool]:
        """Which of these frames have a label.

        Raises:
            DatasetError: none of them.
        """
        known = [id_ in self.ids for id_ in ids]
        if not any(known):
            raise DatasetError(
                f"labels {self.folder}: none of its {len(self.ids)} labels is named like a frame: expected ID.png,"
                " where ID is the frame's, for a bag its header stamp in ns"
            )
        return known

    def read(self, id_: str, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The (H, W) label of a frame; `rgb` is its image.

        Raises:
            DatasetError: not an 8-bit label, an id that is no class, or another size than the image.
        """
        path = self._files[id_]
        label = read_label(path, self._values)
        check_size(label, rgb, path)
        return label


def frame_id(path: Path, folder: Path) -> str:
    """Name of a file below a folder, without its suffix."""
    return path.relative_to(folder).with_suffix("").as_posix()


def image_path(folder: Path, id_: str) -> Path:
    """The PNG file of a frame."""
    return folder / f"{id_}.png"


def read_legend(folder: Path) -> Taxonomy:
    """The classes of a label folder; the default taxonomy if it has no legend.

    Raises:
        DatasetError: a legend that is none.
    """
    path = folder / LEGEND
    if not path.is_file():
        return DEFAULT_TAXONOMY
    try:
        content = parse_json(read_file(path, MAX_BYTES), "it")
        return Taxonomy.from_dicts(Field(content, "")["classes"].value)
    except RoadKdError as error:
        raise DatasetError(
            f"{path}: no legend ({error}): expected classes with id, name, role, color; remove it for the default ones"
        ) from error


def write_legend(folder: Path, taxonomy: Taxonomy) -> None:
    """Write what the ids of a label folder mean.

    Raises:
        DatasetError: the folder cannot be written.
    """
    text = json.dumps({"classes": taxonomy.to_dicts(), "ignore": IGNORE_INDEX}, indent=2) + "\n"
    write_file(folder / LEGEND, text.encode(), error=DatasetError)


def write_label(folder: Path, id_: str, label: NDArray[np.uint8]) -> None:
    """Write the (H, W) label of a frame.

    Raises:
        DatasetError: there is one already, which may be somebody's work; or the folder cannot be written.
    """
    path = image_path(folder, id_)
    if path.exists():
        raise DatasetError(f"{path}: exists already and is not overwritten: choose another folder")
    write_png(path, label)
