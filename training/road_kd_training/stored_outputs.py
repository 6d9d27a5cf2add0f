# SPDX-License-Identifier: Apache-2.0
"""Outputs of frozen teachers on fixed crops of the training images, on disk: a step then costs no teacher.

As "patient and consistent" teachers are taught from (Beyer et al., CVPR 2022), student and teacher see the same crop.
Its geometry is fixed by the run's seed, the image and the crop's number. Colors, weather, depth noise and the mirror
image are the student's alone, drawn afresh at every step: the teacher's prediction is that of the undisturbed crop, and
is mirrored with it.

N crops of an image, K classes, h w size of the teacher's logits.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from road_kd_training.datasets.common.sample import RgbdSample
from road_kd_training.errors import DatasetError

FOLDER = "teacher_outputs"
"""Of all stored outputs, below the cache of samples or a run's own folder."""


@dataclass(frozen=True)
class Place:
    """Where a training image stands in a run."""

    pool: int
    source: int
    index: int
    """In the source."""

    @property
    def name(self) -> str:
        """The beginning of its file's name."""
        return f"{self.pool}_{self.source}_{self.index:06d}"


@dataclass(frozen=True)
class OutputStore:
    """Logits of every teacher on every fixed crop: one file per image, (N, K, h, w) in half precision."""

    folders: Mapping[int, Path]
    """By index of the teacher. Another teacher, recipe of the crops or seed is another folder."""
    crops: int
    """N."""
    seed: int
    """Of the run."""
    mirrored_classes: tuple[int, ...]
    """Which class each channel shows in a mirror image."""

    def crop_seed(self, place: Place, crop: int) -> int:
        """What the crop's window is drawn with."""
        return int(
            np.random.SeedSequence((self.seed, place.pool, place.source, place.index, crop)).generate_state(1)[0]
        )

    def path(self, teacher: int, place: Place, sample: RgbdSample) -> Path:
        """The file of an image. Its name tells the image's pixels, so that changed data do not meet old outputs."""
        return self.folders[teacher] / f"{place.name}_{zlib.crc32(sample.rgb.tobytes()):08x}.npy"

    def missing(self, wanted: Sequence[Place]) -> list[Place]:
        """Those images of which not every teacher's outputs are there."""
        stored = [{path.name.rpartition("_")[0] for path in folder.glob("*.npy")} for folder in self.folders.values()]
        return [place for place in wanted if not all(place.name in names for names in stored)]

    def read(self, place: Place, sample: RgbdSample, crop: int, *, mirrored: bool) -> dict[int, Tensor]:
        """Logits (K, h, w) of one crop, or of its mirror image, by teacher; float16.

        Raises:
            DatasetError: they are missing (the image has changed) or damaged.
        """
        found: dict[int, Tensor] = {}
        for teacher, folder in self.folders.items():
            path = self.path(teacher, place, sample)
            try:
                stored: NDArray[np.float16] = np.load(path, mmap_mode="r")
                logits = stored[crop]
            except FileNotFoundError as error:
                raise DatasetError(
                    f"sample {sample.id} has changed since teacher {teacher}'s outputs were stored: delete {folder},"
                    " and they are stored again"
                ) from error
            except (OSError, ValueError, EOFError, IndexError) as error:
                raise DatasetError(f"{path} cannot be read: {error}: delete it, and it is stored again") from error
            if mirrored:
                logits = logits[list(self.mirrored_classes), :, ::-1]
            found[teacher] = torch.from_numpy(np.array(logits))
        return found


def mirrored_classes(table: NDArray[np.uint8], classes: int) -> tuple[int, ...] | None:
    """Which class each channel shows in a mirror image; None where a class has no mirror image.

    Args:
        table: `Taxonomy.mirror_table`.
        classes: K.
    """
    order = [int(value) for value in table[:classes]]
    return tuple(order) if sorted(order) == list(range(classes)) else None


def places(sizes: Sequence[Sequence[int]]) -> list[Place]:
    """Every training image of a run.

    Args:
        sizes: of each pool the numbers of samples of its sources.
    """
    return [
        Place(pool, source, index)
        for pool, sources in enumerate(sizes)
        for source, size in enumerate(sources)
        for index in range(size)
    ]
