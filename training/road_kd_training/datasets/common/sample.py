"""What every dataset yields. H W image size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

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


def read_image(path: Path, flags: int) -> NDArray[Any]:
    """Read an image file with OpenCV.

    Raises:
        DatasetError: the file is missing, cut short or not an image.
    """
    if not path.is_file():
        raise DatasetError(f"{path}: no such file: the dataset is incomplete, fetch it again")
    encoded = path.read_bytes()
    # A JPEG that was cut short still decodes, with gray where the rest was: look for its end marker.
    cut_short = not encoded or (encoded.startswith(b"\xff\xd8") and b"\xff\xd9" not in encoded[-4096:])
    image = None if cut_short else cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    if image is None:
        raise DatasetError(f"{path}: not a readable image (truncated?): fetch it again")
    return image


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read a color image, red first."""
    return cv2.cvtColor(read_image(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
