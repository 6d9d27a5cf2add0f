# SPDX-License-Identifier: Apache-2.0
"""Decoded samples on disk: decoding PNGs is four fifths of what a training sample costs."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from road_kd_seg.taxonomy import Taxonomy
from road_kd_training.config import DataConfig
from road_kd_training.datasets import RgbdDataset, RgbdSample
from road_kd_training.errors import DatasetError
from road_kd_training.windows import ROAD_PLANE, sample_plane


class SampleCache:
    """Another dataset whose samples are written, decoded and with their road plane, when they are first read.

    Of `meta` nothing but the road plane is kept.

    Args:
        source: the dataset.
        folder: of all caches; this one's lies in it, named after the dataset and its options.
        config: what `source` was built from.
    """

    def __init__(self, source: RgbdDataset, folder: Path, config: DataConfig) -> None:
        self.source = source
        options = json.dumps(config.options, sort_keys=True, default=str)
        self.folder = folder / f"{config.dataset}-{hashlib.sha256(options.encode()).hexdigest()[:12]}"

    @property
    def taxonomy(self) -> Taxonomy:
        """The source's."""
        return self.source.taxonomy

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> RgbdSample:
        path = self.folder / f"{index:06d}.npz"
        if not path.is_file():
            self._write(path, self.source[index])
        with np.load(path) as stored:
            return RgbdSample(
                stored["rgb"],
                stored.get("depth_m"),
                stored.get("label"),
                str(stored["id"]),
                {ROAD_PLANE: stored[ROAD_PLANE]},
            )

    def _write(self, path: Path, sample: RgbdSample) -> None:
        arrays: dict[str, Any] = {"rgb": sample.rgb, "id": np.array(sample.id), ROAD_PLANE: sample_plane(sample)}
        arrays |= {} if sample.depth_m is None else {"depth_m": sample.depth_m}
        arrays |= {} if sample.label is None else {"label": sample.label}
        partial = path.with_suffix(f".{os.getpid()}.part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                np.savez(file, **arrays)
            os.replace(partial, path)
        except OSError as error:
            raise DatasetError(
                f"{path} cannot be written: {error}: free some space, or leave sample_cache out"
            ) from error
