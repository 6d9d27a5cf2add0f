# SPDX-License-Identifier: Apache-2.0
"""What tools write: whole files in a folder of their own, or an error that says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg.files import make_folder, write_file
from road_kd_training.errors import DatasetError


def check_new_folder(path: Path) -> None:
    """Refuse what `new_folder` would refuse, before the work whose result it is for; leaves no trace.

    Raises:
        DatasetError: as `new_folder`.
    """
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    make_folder(new_folder(path), error=DatasetError)
    for folder in made:
        folder.rmdir()


def new_folder(path: Path) -> Path:
    """Make a folder that must not hold anything yet; returns it.

    Raises:
        DatasetError: it holds something, which may be somebody's work, or it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise DatasetError(
                f"{path}: holds files already and nothing is overwritten: remove it or choose another folder"
            )
    except OSError as error:
        raise DatasetError(
            f"{path}: cannot be made ({error.strerror}): choose a folder that you may write to"
        ) from error
    return path


def write_png(path: Path, image: NDArray[Any]) -> None:
    """Write an image as OpenCV takes it (gray, or blue first), folders included.

    Raises:
        DatasetError: the folder cannot be written, or the disk is full; no half file stays behind.
    """
    encoded: NDArray[np.uint8] = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
    write_file(path, encoded.tobytes(), error=DatasetError)
