# SPDX-License-Identifier: Apache-2.0
"""Label images in files as annotation tools export them. Replay and training read them here. H W size, K classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.errors import FrameError, RoadKdError
from road_kd_seg.files import read_file
from road_kd_seg.frame import IGNORE_INDEX
from road_kd_seg.image_file import decode_label_image

_MAX_BYTES = 256 << 20
_SUFFIX = ".png"
_TUM_NAME = re.compile(r"(\d+)\.(\d{9})")
"""Seconds and nanoseconds, as in TUM's folders."""


def is_hidden(path: Path, root: Path) -> bool:
    """Whether a file below `root`, or a folder of it, is hidden: ._x.png of macOS, .ipynb_checkpoints of Jupyter."""
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def visible_files(folder: Path) -> list[Path]:
    """What lies below a folder and is not hidden, sorted."""
    return sorted(path for path in folder.rglob("*") if not is_hidden(path, folder))


def label_files(folder: Path) -> dict[str, Path]:
    """The label images below a folder by id (see `file_id`)."""
    return {file_id(path, folder): path for path in visible_files(folder) if path.suffix.lower() == _SUFFIX}


def file_id(path: Path, folder: Path) -> str:
    """Path below a folder without its suffix; `<sec>.<nsec>` becomes nanoseconds."""
    id_ = path.relative_to(folder).as_posix()[: -len(path.suffix)]
    stamp = _TUM_NAME.fullmatch(id_)
    return str(int(stamp.group(1)) * 1_000_000_000 + int(stamp.group(2))) if stamp else id_


def is_stamp(name: str) -> bool:
    """Whether a file's name is a header stamp in ns."""
    return name.isascii() and name.isdigit() and len(name) < 20 and int(name) < 2**63


def read_raw_label(path: Path) -> NDArray[np.uint8]:
    """A label image as it is stored: gray values or palette indices (H, W), or RGB (H, W, 3) of a colored one.

    Three equal channels, an alpha channel and 16 bits that 8 can hold are no difference. 1 bit is 0 and 255.

    Raises:
        FrameError: missing, damaged, a JPEG (which changes ids), or values beyond 8 bits.
    """
    encoded = read_file(path, _MAX_BYTES, error=FrameError)
    if encoded.startswith(b"\xff\xd8"):
        raise FrameError(f"{path}: a JPEG, which changes class ids along every border: export PNG")
    image = decode_label_image(encoded, str(path))
    if image.ndim == 3 and image.shape[2] == 4:
        image = image[..., 2::-1]  # blue first, with alpha
    if image.ndim == 3 and (image[..., :1] == image).all():
        image = image[..., 0]
    if image.dtype != np.uint8 and image.max(initial=0) > np.iinfo(np.uint8).max:
        raise FrameError(f"{path}: values up to {image.max()}, expected class ids of 8 bits")
    return np.ascontiguousarray(image, np.uint8)


def class_ids(num_classes: int) -> NDArray[np.int64]:
    """(256,) table of labels that hold class ids: each stands for itself, -1 for values that are none."""
    table = np.full(256, -1, np.int64)
    table[:num_classes] = np.arange(num_classes)
    table[IGNORE_INDEX] = IGNORE_INDEX
    return table


def parse_label_map(text: str, names: Sequence[str]) -> NDArray[np.int64]:
    """(256,) table of `VALUE=CLASS,…`: a class by its name or `ignore`; other values stand for themselves.

    Raises:
        RoadKdError: no such text, or an unknown class.
    """
    table = class_ids(len(names))
    for part in text.split(","):
        value, _, name = part.strip().partition("=")
        if not value.isdecimal() or int(value) > 255 or name not in (*names, "ignore"):
            raise RoadKdError(
                f"label map '{part.strip()}': expected VALUE=CLASS with a value from 0 to 255 and one of"
                f" {', '.join(names)} or ignore, e.g. 255={names[-1]}"
            )
        table[int(value)] = IGNORE_INDEX if name == "ignore" else list(names).index(name)
    return table


def read_label(path: Path, table: NDArray[np.int64]) -> NDArray[np.uint8]:
    """A label image as class ids, (H, W), IGNORE_INDEX where unknown.

    Args:
        path: a PNG.
        table: (256,) raw value → id, -1 for values that are none.

    Raises:
        FrameError: as `read_raw_label`, a colored image, or a value that the table does not know.
    """
    raw = read_raw_label(path)
    if raw.ndim != 2:
        raise FrameError(
            f"{path}: a colored image, expected one class id per pixel: export index or gray PNG,"
            " or import the tool's own format with 'road-kd import-labels'"
        )
    label = table[raw]
    unknown = np.unique(raw[label < 0])
    if unknown.size:
        known = np.flatnonzero(table >= 0)
        raise FrameError(
            f"{path}: holds the values {', '.join(map(str, unknown[:5]))}, expected class ids"
            f" {known.min()} to {known[known < IGNORE_INDEX].max(initial=0)} or 255 (ignore):"
            " say what they mean with --label-map VALUE=CLASS,…"
        )
    return label.astype(np.uint8)


def only_masks(paths: Sequence[Path]) -> bool:
    """Whether label images hold nothing but 0 and 255: masks of one class, whose 255 does not mean "ignore"."""
    found = set[int]()
    for path in paths:
        found |= set(np.unique(read_raw_label(path)).tolist())
        if not found <= {0, IGNORE_INDEX}:
            return False
    return IGNORE_INDEX in found


def any_holds(paths: Sequence[Path], values: NDArray[np.bool_]) -> bool:
    """Whether one of the label images holds one of these raw values, (256,)."""
    return any(values[read_raw_label(path)].any() for path in paths)


def foreign_labels(folder: Path) -> str:
    """What an annotation tool left in a folder instead of label images, and what to do about it; empty if nothing."""
    files = visible_files(folder)
    names = {path.name.lower() for path in files}
    suffixes = {path.suffix.lower() for path in files}
    if suffixes & {".jpg", ".jpeg"} and _SUFFIX not in suffixes:
        return "it holds JPEG images, which change class ids along every border: export PNG"
    kind = ""
    if "_classes.csv" in names:
        kind = "roboflow"
    elif any(re.match(r"task-\d+-annotation-\d+", name) for name in names):
        kind = "label-studio"
    elif ".xml" in suffixes:
        kind = "cvat"
    else:
        texts = [p for p in files if p.suffix.lower() == ".json" and p.name != "classes.json" and p.is_file()]
        if texts:
            with texts[0].open("rb") as stream:
                head = stream.read(1 << 20)
            kind = "labelme" if b'"shapes"' in head else "coco" if b'"annotations"' in head else ""
    return f"it holds a {kind} export: run 'road-kd import-labels {kind} {folder} --out DATASET' first" if kind else ""
