# SPDX-License-Identifier: Apache-2.0
"""Decoded samples on disk: decoding PNGs is four fifths of what a training sample costs."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

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
        path = self.folder / f"{index:06d}.safetensors"
        if not path.is_file():
            self._write(path, self.source[index])
        with safe_open(path, framework="numpy") as stored:
            arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (it is no mapping)
            return RgbdSample(
                arrays["rgb"],
                arrays.get("depth_m"),
                arrays.get("label"),
                stored.metadata()["id"],
                {ROAD_PLANE: arrays[ROAD_PLANE]},
            )

    def _write(self, path: Path, sample: RgbdSample) -> None:
        arrays = {"rgb": sample.rgb, ROAD_PLANE: sample_plane(sample)}
        arrays |= {} if sample.depth_m is None else {"depth_m": sample.depth_m}
        arrays |= {} if sample.label is None else {"label": sample.label}
        # Not npz: its checksums and headers cost as much again as reading the pixels.
        data = save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, {"id": sample.id})
        partial = path.with_suffix(f".{os.getpid()}.part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(data)
            os.replace(partial, path)
        except OSError as error:
            raise DatasetError(
                f"{path} cannot be written: {error}: free some space, or leave sample_cache out"
            ) from error
