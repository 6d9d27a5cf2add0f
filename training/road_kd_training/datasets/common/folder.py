# SPDX-License-Identifier: Apache-2.0
"""What datasets made of files share: the expected tree in every error, file lists, label images to class ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from os.path import isfile
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from road_kd_seg import label_files
from road_kd_seg.errors import FrameError, shown
from road_kd_seg.files import read_text
from road_kd_seg.frame import IGNORE_INDEX
from road_kd_seg.label_files import is_hidden
from road_kd_training.datasets.common.sample import MAX_TEXT_BYTES, read_rgb
from road_kd_training.errors import DatasetError

INVALID = 254
"""In a lookup table: a value that the release never holds. 255 is IGNORE_INDEX, so class ids end at 253."""

Item = TypeVar("Item")
Color = tuple[int, int, int]


@dataclass(frozen=True)
class Layout:
    """A dataset's name and the tree that its files are expected in."""

    name: str
    tree: str

    @classmethod
    def from_doc(cls, name: str, module_doc: str | None) -> Layout:
        """Take the tree from a module's docstring: what follows the line 'Expected tree:'."""
        return cls(name, (module_doc or "").partition("Expected tree:")[2].rstrip())

    def error(self, found: str) -> DatasetError:
        """What is wrong (file, found, expected), then the tree."""
        return DatasetError(f"{self.name}: {found}.", self.tree)

    def choose(self, split: str, splits: Mapping[str, Item]) -> Item:
        """The entry of `split`.

        Raises:
            DatasetError: an unknown split; the message lists the known ones.
        """
        if split not in splits:
            raise DatasetError(f"{self.name}: split '{split}' is unknown: use one of {', '.join(splits)}")
        return splits[split]

    def not_empty(self, items: Iterable[Item], split: str, root: Path) -> list[Item]:
        """The items as a list.

        Raises:
            DatasetError: there are none.
        """
        listed = list(items)
        if not listed:
            raise self.error(f"split '{split}' of {root} is empty")
        return listed

    def files(self, folder: Path, pattern: str) -> list[Path]:
        """Files of `folder` that match a glob pattern, sorted.

        Raises:
            DatasetError: there are none.
        """
        found = sorted(path for path in folder.glob(pattern) if path.is_file() and not is_hidden(path, folder))
        if not found:
            raise self.error(f"no {pattern} below {folder}")
        return found

    def lines(self, path: Path) -> list[str]:
        """Lines of a list file, stripped, without the empty ones.

        Raises:
            DatasetError: no such file, no text, or nothing in it.
        """
        listed = [line for line in map(str.strip, self.text(path).splitlines()) if line]
        if not listed:
            raise self.error(f"{path} lists nothing")
        return listed

    def text(self, path: Path) -> str:
        """A text file.

        Raises:
            DatasetError: missing, no regular file, too large, or no text.
        """
        try:
            return read_text(path, MAX_TEXT_BYTES, error=DatasetError)
        except DatasetError as error:
            raise self.error(str(error)) from error

    def below(self, root: Path, name: str) -> Path:
        """The file that a list or an annotation names by its path below `root`.

        Raises:
            DatasetError: the name leads out of `root`: an absolute path, `..`, or a symlink.
        """
        path = root / name
        try:
            inside = ".." not in path.relative_to(root).parts and path.resolve().is_relative_to(root.resolve())
        except (OSError, ValueError, RuntimeError):  # absolute, of characters that no name has, a loop of symlinks
            inside = False
        if not inside:
            raise self.error(f"{shown(name)} is listed, which is no file below {root}")
        return path

    def pairs(
        self, images: Sequence[Path], labels: Sequence[Path], key: Callable[[Path], str]
    ) -> list[tuple[str, Path, Path]]:
        """Match images with labels by key; (key, image, label), sorted by key.

        Raises:
            DatasetError: an image without label, or a label without image; the message names the first.
        """
        image_of, label_of = ({key(path): path for path in paths} for paths in (images, labels))
        for what, having, lacks, other in (
            ("image", image_of, "label", label_of),
            ("label", label_of, "image", image_of),
        ):
            alone = sorted(having.keys() - other.keys())
            if alone:
                raise self.error(f"{having[alone[0]]}: this {what} has no {lacks} ({len(alone)} such {what}s)")
        return [(name, image_of[name], label_of[name]) for name in sorted(image_of)]


def label_table(class_of: Mapping[int, int]) -> NDArray[np.uint8]:
    """(256,) lookup table: raw label value → class id or IGNORE_INDEX; INVALID for every value that is not named."""
    table = np.full(256, INVALID, np.uint8)
    table[list(class_of)] = list(class_of.values())
    return table


def label_values(num_classes: int, *ignored: int) -> NDArray[np.uint8]:
    """(256,) table for labels that already hold class ids 0..K-1; `ignored` raw values become IGNORE_INDEX."""
    return label_table({**{i: i for i in range(num_classes)}, **dict.fromkeys(ignored, IGNORE_INDEX)})


def read_label(path: Path, table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Read a label image and map its raw values to class ids.

    Args:
        path: an 8-bit image: gray, of three equal channels, or with a palette, whose indices are then the values (the
            colors are for people; ApolloScape gives several classes the same one).
        table: from `label_table`.

    Returns:
        (H, W) class ids, IGNORE_INDEX where unknown.

    Raises:
        DatasetError: missing, truncated, colored or 16-bit, or a value that the table does not know.
    """
    raw = read_raw_label(path)
    if raw.ndim != 2:
        raise DatasetError(f"{path}: a color image of shape {raw.shape}, expected an 8-bit gray or palette label image")
    return value_to_class(raw, table, path)


def value_to_class(raw: NDArray[np.uint8], table: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    """`read_label` for values that are read already; `path` is for the error."""
    label: NDArray[np.uint8] = table[raw]
    unknown = np.unique(raw[label == INVALID])
    if unknown.size:
        known = _ranges(np.flatnonzero(table != INVALID))
        raise DatasetError(f"{path}: holds label values {_some(unknown.tolist())}, expected {known}")
    return label


def read_raw_label(path: Path) -> NDArray[np.uint8]:
    """Read a label image as it is stored: (H, W) gray values or palette indices, or (H, W, 3) RGB; 1 bit is 0 and 255.

    Raises:
        DatasetError: missing, truncated, or not 8-bit.
    """
    if not isfile(path):
        raise DatasetError(f"{path}: no such file: the dataset is incomplete, fetch it again")
    try:
        return label_files.read_raw_label(path)
    except FrameError as error:
        raise DatasetError(f"{path}: not a readable image of class ids: {error}") from error


def read_color_label(path: Path, class_of: Mapping[Color, int]) -> NDArray[np.uint8]:
    """Read a label image whose classes are colors.

    Args:
        path: an 8-bit color image, also one with a palette, whose colors then count.
        class_of: RGB color → class id or IGNORE_INDEX.

    Returns:
        (H, W) class ids, IGNORE_INDEX where unknown.

    Raises:
        DatasetError: missing, truncated, or a color that is no class.
    """
    return color_to_class(read_rgb(path), class_of, path)


def color_to_class(rgb: NDArray[np.uint8], class_of: Mapping[Color, int], path: Path) -> NDArray[np.uint8]:
    """`read_color_label` for an image that is read already; `path` is for the error."""
    code = (rgb.astype(np.int32) << (16, 8, 0)).sum(-1, dtype=np.int32)
    label: NDArray[np.uint8] = _color_table(tuple(class_of.items()))[code]
    unknown = np.unique(rgb[label == INVALID], axis=0)
    if unknown.size:
        found = _some([tuple(color) for color in unknown.tolist()])
        raise DatasetError(f"{path}: holds RGB colors {found}, which are none of the {len(class_of)} known ones")
    return label


def check_size(image: NDArray[Any], rgb: NDArray[np.uint8], path: Path, what: str = "label") -> None:
    """Refuse a label or depth image that does not lie over its color image.

    Raises:
        DatasetError: the sizes differ; `path` is the file that does not fit.
    """
    if image.shape != rgb.shape[:2]:
        raise DatasetError(f"{path}: {what} is {image.shape} (H, W), expected {rgb.shape[:2]} as its image")


@lru_cache(maxsize=4)  # 16 MB each
def _color_table(class_of: tuple[tuple[Color, int], ...]) -> NDArray[np.uint8]:
    table = np.full(1 << 24, INVALID, np.uint8)
    for (red, green, blue), value in class_of:
        table[red << 16 | green << 8 | blue] = value
    return table


def _some(values: Sequence[object], limit: int = 5) -> str:
    return ", ".join(map(str, values[:limit])) + (f" and {len(values) - limit} more" if len(values) > limit else "")


def _ranges(values: NDArray[np.int64]) -> str:
    runs = np.split(values, np.flatnonzero(np.diff(values) > 1) + 1)
    return ", ".join(f"{run[0]}..{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
