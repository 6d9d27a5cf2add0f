"""Label images by stamp: a model's predictions on a bag, or the ground truth from a folder of PNG files."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg.errors import RoadKdError
from road_kd_seg.files import read_file, write_file
from road_kd_seg.image_file import decode_label_image

Label = NDArray[np.uint8]
_MAX_BYTES = 200_000_000


class LabelStore:
    """Label images by header stamp, compressed in memory: a minute of them at 576x1024 takes some 20 MB."""

    def __init__(self) -> None:
        self._stored: dict[int, tuple[tuple[int, int], bytes]] = {}

    def __len__(self) -> int:
        return len(self._stored)

    def __contains__(self, stamp_ns: int) -> bool:
        return stamp_ns in self._stored

    @property
    def stamps_ns(self) -> list[int]:
        """In the order of arrival."""
        return list(self._stored)

    def put(self, stamp_ns: int, label: Label) -> None:
        """Keep an (H, W) label; a second one of the same stamp replaces the first."""
        height, width = label.shape
        self._stored[stamp_ns] = (height, width), zlib.compress(label.tobytes(), level=1)

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
        size, compressed = self._stored[stamp_ns]
        return np.frombuffer(zlib.decompress(compressed), np.uint8).reshape(size)


def read_label_folder(folder: Path) -> Iterator[tuple[int, Label]]:
    """Header stamp (ns) and (H, W) class ids of every `<stamp in ns>.png` of a folder, by stamp.

    Raises:
        RoadKdError: no such folder, no such file in it, or a file that is no 8-bit gray PNG.
    """
    wanted = "one 8-bit gray PNG of class ids per labeled frame, named <header stamp in ns>.png"
    if not folder.is_dir():
        raise RoadKdError(f"labels {folder}: no such folder, expected {wanted}")
    files = sorted((f for f in folder.glob("*.png") if is_stamp(f.stem)), key=lambda f: int(f.stem))
    if not files:
        raise RoadKdError(f"labels {folder}: no file is named by a stamp, expected {wanted}")
    for file in files:
        try:
            label = decode_label_image(read_file(file, _MAX_BYTES), "it")
        except RoadKdError as error:
            raise RoadKdError(f"labels {file}: {error}, expected {wanted}") from error
        if label.ndim == 3 and (label[..., :1] == label).all():  # as tools write that know RGB only
            label = np.ascontiguousarray(label[..., 0])
        if label.dtype != np.uint8 or label.ndim != 2:
            raise RoadKdError(f"labels {file}: {label.dtype} {label.shape}, expected {wanted}")
        yield int(file.stem), label


def is_stamp(name: str) -> bool:
    """Whether a file's name is a header stamp in ns."""
    return name.isascii() and name.isdigit() and len(name) < 20 and int(name) < 2**63


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
