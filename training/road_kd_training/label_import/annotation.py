# SPDX-License-Identifier: Apache-2.0
"""What every importer yields, and how shapes with names become a map of class ids. H W image size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg.errors import FrameError
from road_kd_seg.frame import IGNORE_INDEX
from road_kd_seg.label_files import visible_files
from road_kd_seg.taxonomy import Taxonomy
from road_kd_training.errors import DatasetError

MAX_EXPORT_BYTES = 1 << 30
_MAX_COORDINATE = 1e6
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")

Images = Mapping[str, Sequence[Path]]
"""Images by file name."""
Paint = Callable[[NDArray[np.uint8], int], None]
"""Paints a shape with a value into a (H, W) map."""


@dataclass(frozen=True)
class Shape:
    """A region and the name of its class."""

    name: str
    paint: Paint


@dataclass(frozen=True)
class Annotation:
    """What was annotated in one image."""

    image: Path
    size: tuple[int, int] | None
    """(H, W) that the export names; None where it names none."""
    shapes: list[Shape]
    """Later ones lie on top. None of them takes the memory of a map before it is painted."""


class ClassNames:
    """Names of an export → class ids. Case, spaces, dashes and underscores are no difference.

    Args:
        taxonomy: the classes.
        other_names: further names: of a class, or `ignore`.

    Raises:
        DatasetError: a further name stands for a class that there is not.
    """

    def __init__(self, taxonomy: Taxonomy, other_names: Mapping[str, str]) -> None:
        self._taxonomy = taxonomy
        self._ids = {_plain(c.name): c.id for c in taxonomy.classes} | {"ignore": IGNORE_INDEX}
        for name, stands_for in other_names.items():
            if _plain(stands_for) not in self._ids:
                raise DatasetError(f"'{name}={stands_for}': expected one of {', '.join(taxonomy.names)} or ignore")
            self._ids[_plain(name)] = self._ids[_plain(stands_for)]

    def id_of(self, name: str, where: Path) -> int:
        """The class id of a name.

        Raises:
            DatasetError: it is none.
        """
        if _plain(name) not in self._ids:
            raise DatasetError(
                f"{where}: class '{name}' is none of {', '.join(self._taxonomy.names)}:"
                f" say what it is, e.g. '{name}={self._taxonomy.names[-1]}' or '{name}=ignore'"
            )
        return self._ids[_plain(name)]


def paint_label(annotation: Annotation, size: tuple[int, int], names: ClassNames, unlabeled: int) -> NDArray[np.uint8]:
    """(H, W) class ids of an annotation; `unlabeled` where no shape is.

    Raises:
        DatasetError: a name that is no class, or another size than the image's.
    """
    if annotation.size not in (None, size):
        raise DatasetError(
            f"{annotation.image}: annotated at {annotation.size} (H, W), the image has {size}: export at its own size"
        )
    label = np.full(size, unlabeled, np.uint8)
    for shape in annotation.shapes:
        try:
            shape.paint(label, names.id_of(shape.name, annotation.image))
        except (ValueError, FrameError) as error:
            raise DatasetError(f"{annotation.image}: {error}") from error
    return label


def polygon(points: Iterable[Iterable[float]]) -> Paint:
    """The inside and the border of a polygon of (x, y).

    Raises:
        ValueError: a corner that no image has.
    """
    exact = np.array([list(point) for point in points], np.float64)
    if not (np.abs(exact) < _MAX_COORDINATE).all():
        raise ValueError(f"a corner beyond {_MAX_COORDINATE:g} pixels, or none at all")
    corners = np.rint(exact).astype(np.int32)
    return lambda label, value: _filled(label, corners, value)


def box(left: float, top: float, right: float, bottom: float) -> Paint:
    """An upright rectangle."""
    return polygon([(left, top), (right, top), (right, bottom), (left, bottom)])


def ellipse(x: float, y: float, radius_x: float, radius_y: float) -> Paint:
    """An upright ellipse."""
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    return polygon(np.stack([x + radius_x * np.cos(angle), y + radius_y * np.sin(angle)], axis=1))


def mask(draw: Callable[[], NDArray[np.bool_]], left: int = 0, top: int = 0) -> Paint:
    """A bitmap whose first pixel lies at (left, top); `draw` makes it, (H, W), when it is painted."""

    def paint(label: NDArray[np.uint8], value: int) -> None:
        inside = draw()
        if inside.ndim != 2:
            raise ValueError(f"a mask of shape {inside.shape}, expected (H, W)")
        height, width = inside.shape
        part = label[max(top, 0) : top + height, max(left, 0) : left + width]
        cut = inside[max(-top, 0) :, max(-left, 0) :][: part.shape[0], : part.shape[1]]
        part[cut] = value

    return paint


def images_by_name(folder: Path) -> Images:
    """Every image below a folder by its file name."""
    found: dict[str, list[Path]] = {}
    for path in visible_files(folder):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            found.setdefault(path.name, []).append(path)
    return found


def image_named(name: str, images: Images, where: Path) -> Path:
    """The image that an export names; folders before it count where several images bear its name.

    Raises:
        DatasetError: it is not there, or may be one of several.
    """
    parts = name.replace("\\", "/").split("/")
    known = images.get(parts[-1], [])
    if not known:
        raise DatasetError(f"{where}: image '{parts[-1]}' is not below the source: say where with --images FOLDER")
    beside = (where.parent / "/".join(parts)).resolve()
    agreeing = [math.inf if path.resolve() == beside else _common_tail(path.parts, parts) for path in known]
    best = [path for path, count in zip(known, agreeing, strict=True) if count == max(agreeing)]
    if len(best) > 1:
        raise DatasetError(
            f"{where}: image '{name}' may be {best[0]} or {best[1]}:"
            " rename one of them, or say which with --images FOLDER"
        )
    return best[0]


def _common_tail(one: Sequence[str], other: Sequence[str]) -> int:
    """How many parts are equal, counted from the end."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(reversed(one), reversed(other), strict=False)))


def _filled(label: NDArray[np.uint8], corners: NDArray[np.int32], value: int) -> None:
    if len(corners):
        cv2.fillPoly(label, [corners], value)


def _plain(name: str) -> str:
    return "".join(c for c in name.casefold() if c not in " -_")
