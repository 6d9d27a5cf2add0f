# SPDX-License-Identifier: Apache-2.0
"""What every dataset yields, and how its files are read. H W image size."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from os.path import isfile
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.errors import FrameError
from road_kd_seg.files import read_file, read_text
from road_kd_seg.image_file import decode_image, decode_rgb
from road_kd_seg.taxonomy import Taxonomy
from road_kd_training.errors import DatasetError


@dataclass(frozen=True, slots=True)
class RgbdSample:
    """One labeled (or unlabeled) frame."""

    rgb: NDArray[np.uint8]
    """(H, W, 3)."""
    depth_m: NDArray[np.float32] | None
    """(H, W), 0 where invalid."""
    label: NDArray[np.uint8] | None
    """(H, W) class ids, 255 where unknown."""
    id: str
    meta: Mapping[str, Any] = field(default_factory=dict)


class RgbdDataset(Protocol):
    """Random access to samples; the length is known."""

    @property
    def taxonomy(self) -> Taxonomy:
        """What the label values mean; sources that are mixed in one run must agree on it."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> RgbdSample: ...


class DatasetMetric(Protocol):
    """A dataset's own metric, gathered sample by sample."""

    def add(self, sample: RgbdSample, probabilities: NDArray[np.float32]) -> None:
        """Take in one sample; probabilities are (K, H, W) at the size of `sample.rgb`."""

    def result(self) -> dict[str, float]:
        """The metrics by name, over all samples so far."""


_MAX_BYTES = 200_000_000
MAX_TEXT_BYTES = 64_000_000
"""Of a list, a table or an annotation of one image; the longest list known has a sixth of that."""
Decoder = Callable[[bytes, str], NDArray[Any]]


def read_image(path: Path, decode: Decoder = decode_image) -> NDArray[Any]:
    """Read a JPEG or PNG file, as it is stored: (H, W), or blue first (H, W, 3 or 4).

    Args:
        path: the file.
        decode: of `road_kd_seg.image_file`, for other forms.

    Raises:
        DatasetError: the file is missing, cut short or not such an image.
    """
    if not isfile(path):
        raise DatasetError(f"{path}: no such file: the dataset is incomplete, fetch it again")
    try:
        return decode(read_file(path, _MAX_BYTES, error=DatasetError), "the file")
    except FrameError as error:
        raise DatasetError(f"{path}: not a readable image (truncated?): {error}: fetch it again") from error


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read a color image, red first; errors as `read_image`."""
    return read_image(path, decode_rgb)


def read_json(
    path: Path, object_hook: Callable[[dict[str, Any]], Any] | None = None, limit: int = MAX_TEXT_BYTES
) -> Any:
    """Content of a JSON file.

    Args:
        path: the file.
        object_hook: takes the place of each map, as of `json.loads`.
        limit: bytes that it may have.

    Raises:
        DatasetError: missing, no regular file, too large, or no JSON.
    """
    try:
        return json.loads(read_text(path, limit, error=DatasetError), object_hook=object_hook)
    except RecursionError as error:
        raise DatasetError(f"{path} is no JSON: nested too deeply") from error
    except ValueError as error:
        raise DatasetError(f"{path} is no JSON (truncated?): {error}") from error
