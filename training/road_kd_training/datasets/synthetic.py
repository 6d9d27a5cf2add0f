"""Procedural road scenes, rendered once into a folder and read from there.

Expected tree (written by `road-kd synth`, or on first use):

    ROOT/NNNNNN_rgb.png     colour
    ROOT/NNNNNN_depth.png   uint16 mm, 0 = invalid
    ROOT/NNNNNN_label.png   class ids of the default taxonomy
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from road_kd_seg.frame import LabelledFrame
from road_kd_seg.replay.bag_writer import depth_to_millimetres
from road_kd_seg.synthetic import render_scene
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY
from road_kd_training.datasets.sample import RgbdSample, read_image, read_rgb
from road_kd_training.errors import DatasetError

KINDS = ("rgb", "depth", "label")


class SyntheticScenes:
    """Scenes with seeds first_seed … first_seed + num_scenes - 1; those that the folder lacks are rendered first."""

    taxonomy = DEFAULT_TAXONOMY

    def __init__(self, root: str | Path, num_scenes: int, first_seed: int = 0) -> None:
        self.root = Path(root).expanduser()
        self.seeds = range(first_seed, first_seed + num_scenes)
        if not self.seeds:
            raise DatasetError("synthetic: num_scenes is 0: ask for at least one scene")
        render_missing(self.root, self.seeds)

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, index: int) -> RgbdSample:
        seed = self.seeds[index]
        rgb, depth, label = (scene_path(self.root, seed, kind) for kind in KINDS)
        depth_m = read_image(depth, cv2.IMREAD_UNCHANGED).astype(np.float32) / np.float32(1000)
        return RgbdSample(read_rgb(rgb), depth_m, read_image(label, cv2.IMREAD_GRAYSCALE), f"synthetic_{seed:06d}")


def scene_path(root: Path, seed: int, kind: str) -> Path:
    """File of one image of one scene."""
    return root / f"{seed:06d}_{kind}.png"


def render_missing(root: Path, seeds: Iterable[int]) -> int:
    """Render the scenes that `root` lacks, on all cores; returns how many.

    Raises:
        DatasetError: the folder cannot be written.
    """
    missing = [seed for seed in seeds if not scene_path(root, seed, KINDS[-1]).is_file()]
    if not missing:
        return 0
    try:
        root.mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
            jobs = pool.map(_render, [root] * len(missing), missing, chunksize=4)
            for _ in track(jobs, description=f"rendering {len(missing)} scenes", total=len(missing), transient=True):
                pass
    except OSError as error:
        raise DatasetError(f"synthetic: {root} cannot be written: {error}") from error
    return len(missing)


def _render(root: Path, seed: int) -> None:
    cv2.setNumThreads(1)  # one process per core is already enough
    write_scene(root, seed, render_scene(seed))


def write_scene(root: Path, seed: int, scene: LabelledFrame) -> None:
    """Write one scene; the label comes last, so that its presence means that the scene is whole."""
    frame, label = scene
    if frame.depth_m is None or label is None:
        raise DatasetError(f"synthetic: scene {seed} lacks depth or label")
    images: tuple[NDArray[Any], ...] = (
        cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR),
        depth_to_millimetres(frame.depth_m),
        label,
    )
    for kind, image in zip(KINDS, images, strict=True):
        path = scene_path(root, seed, kind)
        if not cv2.imwrite(str(path), image, [cv2.IMWRITE_PNG_COMPRESSION, 1]):
            raise DatasetError(f"{path}: could not be written: is the disk full?")
