# SPDX-License-Identifier: Apache-2.0
"""Label images by stamp: a model's predictions on a bag, or the ground truth from a folder of PNG files."""

from __future__ import annotations

import sys
import tempfile
import weakref
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import IO

import cv2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg.errors import RoadKdError
from road_kd_seg.files import write_file
from road_kd_seg.frame import IGNORE_INDEX
from road_kd_seg.label_files import (
    any_holds,
    class_ids,
    foreign_labels,
    is_stamp,
    label_files,
    only_masks,
    parse_label_map,
    read_label,
)
from road_kd_seg.taxonomy import Role, Taxonomy

if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd

Label = NDArray[np.uint8]
_WANTED = "expected one PNG of class ids per labeled frame, named <header stamp in ns>.png"


class LabelStore:
    """Label images by header stamp, compressed in a temporary file: memory does not grow with the drive."""

    def __init__(self) -> None:
        self._stored: dict[int, tuple[tuple[int, int], int, int]] = {}
        """By stamp: size of the image, offset and length in the file."""
        self._end = 0
        self._file: IO[bytes] | None = None

    def __len__(self) -> int:
        return len(self._stored)

    def __contains__(self, stamp_ns: int) -> bool:
        return stamp_ns in self._stored

    @property
    def stamps_ns(self) -> list[int]:
        """In the order of arrival."""
        return list(self._stored)

    def put(self, stamp_ns: int, label: Label) -> None:
        """Keep an (H, W) label; a second one of the same stamp replaces the first.

        Raises:
            RoadKdError: the temporary folder cannot be written.
        """
        height, width = label.shape
        compressed = zstd.compress(np.ascontiguousarray(label).data, level=1)
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115, it lives as long as the store
                weakref.finalize(self, self._file.close)
            self._file.seek(self._end)
            self._file.write(compressed)
        except OSError as error:
            folder = tempfile.gettempdir()
            raise RoadKdError(
                f"{folder}: labels cannot be kept there ({error.strerror}): free some space, or set TMPDIR"
            ) from error
        self._stored[stamp_ns] = (height, width), self._end, len(compressed)
        self._end += len(compressed)

    def items(self) -> Iterator[tuple[int, Label]]:
        """Stamp and label, in the order of arrival."""
        return ((stamp_ns, self.get(stamp_ns)) for stamp_ns in self._stored)

    @classmethod
    def of(cls, labels: Iterable[tuple[int, Label]]) -> LabelStore:
        """A store of (stamp in ns, label) pairs."""
        store = cls()
        for stamp_ns, label in labels:
            store.put(stamp_ns, label)
        return store

    def get(self, stamp_ns: int) -> Label:
        """The (H, W) label of a stamp.

        Raises:
            KeyError: there is none.
        """
        size, start, length = self._stored[stamp_ns]
        assert self._file is not None
        self._file.seek(start)
        return np.frombuffer(zstd.decompress(self._file.read(length)), np.uint8).reshape(size)


def read_label_folder(folder: Path) -> Iterator[tuple[int, Label]]:
    """Header stamp (ns) and (H, W) class ids of every `<stamp in ns>.png` of a folder, by stamp.

    Raises:
        RoadKdError: no such folder, no such file in it, or one that holds no class ids.
    """
    for stamp_ns, path in _stamped(folder).items():
        yield stamp_ns, read_label(path, class_ids(IGNORE_INDEX))


def read_ground_truth(
    folder: Path, frames: Collection[int], taxonomy: Taxonomy, size: tuple[int, int], label_map: str | None = None
) -> LabelStore:
    """The labels of a recording's frames in a folder of `<header stamp in ns>.png` (or `<sec>.<nsec>.png`).

    All is checked before anything is run: names, sizes and values.

    Args:
        folder: PNG files as annotation tools export them.
        frames: stamps in ns.
        taxonomy: of the model.
        size: (H, W) of the images.
        label_map: see `parse_label_map`; None: the files hold class ids.

    Raises:
        RoadKdError: no such folder, no label of any of the frames, or one that does not fit.
    """
    stamped = _stamped(folder)
    chosen = {stamp_ns: path for stamp_ns, path in stamped.items() if stamp_ns in frames}
    if not chosen:
        raise RoadKdError(
            f"labels {folder}: its {len(stamped)} stamps ({min(stamped)} …) are of no frame of this recording"
            f" ({min(frames)} …); {_WANTED}"
        )
    if label_map is None and only_masks(list(chosen.values())):
        obstacles = [c.name for c in taxonomy.classes if c.role is Role.OBSTACLE] or taxonomy.names
        raise RoadKdError(
            f"labels {folder}: masks of 0 and 255 only: say of which class, e.g. --label-map 255={obstacles[0]}"
        )
    table = unmapped = class_ids(len(taxonomy))
    if label_map is not None:
        table = parse_label_map(label_map, taxonomy.names)
        if (table != unmapped).any() and not any_holds(list(chosen.values()), table != unmapped):
            raise RoadKdError(
                f"labels {folder}: none of them holds a value of --label-map {label_map}:"
                " say what the values mean that they hold (those of 1-bit images are 0 and 255)"
            )
    store = LabelStore()
    for stamp_ns, path in chosen.items():
        label = read_label(path, table)
        if label.shape != size:
            raise RoadKdError(
                f"labels {path}: {label.shape[1]}x{label.shape[0]} pixels, the images have {size[1]}x{size[0]}:"
                " export labels at the size of the images"
            )
        store.put(stamp_ns, label)
    return store


def _stamped(folder: Path) -> dict[int, Path]:
    """The label images of a folder that are named by a stamp, by stamp."""
    if not folder.is_dir():
        raise RoadKdError(f"labels {folder}: no such folder, {_WANTED}")
    files = label_files(folder)
    stamped = {int(id_): path for id_, path in files.items() if is_stamp(id_)}
    if not stamped:
        found = foreign_labels(folder) or f"none of its {len(files)} PNG files is named by a stamp"
        raise RoadKdError(f"labels {folder}: {found}; {_WANTED}")
    return dict(sorted(stamped.items()))


def save_label_folder(folder: Path, labels: LabelStore) -> None:
    """Write a folder that `read_label_folder` reads; label images of an earlier run in it are removed.

    Raises:
        RoadKdError: the folder cannot be written.
    """
    for file in folder.glob("*.png"):
        if is_stamp(file.stem):
            file.unlink()
    for stamp_ns, label in labels.items():
        write_file(folder / f"{stamp_ns}.png", cv2.imencode(".png", label)[1].tobytes())
