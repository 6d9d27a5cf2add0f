# SPDX-License-Identifier: Apache-2.0
"""What a run needs to resume where it stopped."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from road_kd_seg.files import write_file
from road_kd_training.errors import TrainingError

LAST = "last.pt"


def save_checkpoint(folder: Path, state: Mapping[str, Any]) -> None:
    """Write `state` (tensors and plain data) as the run's last checkpoint.

    Raises:
        TrainingError: the disk is full or the folder cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_file(folder / LAST, buffer.getbuffer(), error=TrainingError)


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The run's last checkpoint, or None if it has none.

    Raises:
        TrainingError: the file is damaged.
    """
    path = folder / LAST
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen types for a damaged file
        raise TrainingError(f"{path} is damaged ({type(error).__name__}): delete it to start over") from error
    return state
