# SPDX-License-Identifier: Apache-2.0
"""Procedural road scenes, rendered once into a folder and read from there.

Expected tree (written by `road-kd synth`, or on first use):

    ROOT/NNNNNN_rgb.png     color
    ROOT/NNNNNN_depth.png   uint16 mm, 0 = invalid
    ROOT/NNNNNN_label.png   class ids of the default taxonomy
    ROOT/NNNNNN_wet.png     255 on wet road, else 0; written when it is first asked for
    ROOT/NNNNNN_varied_{rgb,depth,label,wet}.png  the same of the varied scene of that seed
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from road_kd_seg.bags.writer import depth_to_millimeters
from road_kd_seg.frame import IGNORE_INDEX, LabeledFrame
from road_kd_seg.synthetic import render_scene, render_wet_mask
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY, NEGATIVE_OBSTACLE
from road_kd_training.datasets.common.output import write_png
from road_kd_training.datasets.common.sample import RgbdSample, read_image, read_rgb
from road_kd_training.errors import DatasetError

KINDS = ("rgb", "depth", "label")
WET = "wet"


class SyntheticScenes:
    """Scenes with seeds first_seed … first_seed + num_scenes - 1; those that the folder lacks are rendered first.

    Wet patches look like potholes, make depth fail, and are road. Two options are about them:

    Args:
        root: folder of the scenes.
        num_scenes: how many.
        first_seed: seed of the first.
        wrong_wet: share of the scenes, 0 to 1, whose wet patches are labeled negative_obstacle, as CPKD says of the
            labels that a network made for NO-4K. Which scenes depends on their seed alone, and a smaller share is a
            subset of a larger one.
        only_wet: keep the labels of wet patches only, so that a score is theirs; the rest is ignored.
        variety: the varied scenes of these seeds instead: other lenses, masts, terrain, traffic, weather and faults of
            depth; some images are 768x576.
        create: make the folder if it is not there; otherwise a mistyped root is an error instead of new scenes.

    Raises:
        DatasetError: no scene is asked for, a share outside 0 to 1, or a folder that is not there or cannot be written.
    """

    taxonomy = DEFAULT_TAXONOMY

    def __init__(
        self,
        root: str | Path,
        num_scenes: int,
        first_seed: int = 0,
        wrong_wet: float = 0.0,
        only_wet: bool = False,
        variety: bool = False,
        create: bool = False,
    ) -> None:
        self.root = Path(root).expanduser()
        self.seeds = range(first_seed, first_seed + num_scenes)
        if not self.seeds:
            raise DatasetError("synthetic: num_scenes is 0: ask for at least one scene")
        if not 0 <= wrong_wet <= 1:
            raise DatasetError(f"synthetic: wrong_wet is {wrong_wet}: expected a share of the scenes from 0 to 1")
        check_root(self.root, create=create)
        self.wrong_wet, self.only_wet, self.variety = wrong_wet, only_wet, variety
        render_missing(self.root, self.seeds, with_wet=wrong_wet > 0 or only_wet, variety=variety)

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, index: int) -> RgbdSample:
        seed = self.seeds[index]
        rgb, depth, label = (scene_path(self.root, seed, kind, variety=self.variety) for kind in KINDS)
        depth_m = read_image(depth).astype(np.float32) / np.float32(1000)
        id_ = f"synthetic_{seed:06d}{'_varied' if self.variety else ''}"
        return RgbdSample(read_rgb(rgb), depth_m, self._label(seed, label), id_)

    def _label(self, seed: int, path: Path) -> NDArray[np.uint8]:
        label: NDArray[np.uint8] = read_image(path)
        if self.only_wet:
            label = np.where(self._wet(seed), label, np.uint8(IGNORE_INDEX))
        if np.random.default_rng([seed, 8]).random() < self.wrong_wet:
            label = np.where(self._wet(seed), np.uint8(NEGATIVE_OBSTACLE), label)
        return label

    def _wet(self, seed: int) -> NDArray[np.bool_]:
        return np.asarray(read_image(scene_path(self.root, seed, WET, variety=self.variety)) > 0)


def check_root(root: str | Path, *, create: bool = False) -> None:
    """Refuse a folder that is not there and not to be created, before anything is rendered.

    Raises:
        DatasetError: it is not.
    """
    if not create and not (folder := Path(root).expanduser()).is_dir():
        raise DatasetError(
            f"synthetic: root {folder} is no folder: correct it, or render scenes into it with"
            f" 'road-kd synth {folder} --scenes N --first-seed SEED'"
        )


def scene_path(root: Path, seed: int, kind: str, *, variety: bool = False) -> Path:
    """File of one image of one scene."""
    return root / f"{seed:06d}_{'varied_' if variety else ''}{kind}.png"


def render_missing(root: Path, seeds: Iterable[int], *, with_wet: bool = False, variety: bool = False) -> int:
    """Render the scenes, and if asked the masks of wet road, that `root` lacks, on all cores; returns how many scenes.

    Raises:
        DatasetError: the folder cannot be written.
    """
    wanted = list(seeds)
    scenes = _render_each(root, wanted, KINDS[-1], partial(_render, variety=variety), "scenes", variety=variety)
    if with_wet:
        _render_each(root, wanted, WET, partial(_render_wet, variety=variety), "masks of wet road", variety=variety)
    return scenes


def _render_each(
    root: Path, seeds: Sequence[int], kind: str, job: Callable[[Path, int], None], what: str, *, variety: bool
) -> int:
    missing = [seed for seed in seeds if not scene_path(root, seed, kind, variety=variety).is_file()]
    if not missing:
        return 0
    try:
        root.mkdir(parents=True, exist_ok=True)
        # Not forked: a copy of a process whose OpenCV or torch has threads waits for them for ever.
        fresh, workers = multiprocessing.get_context("spawn"), min(os.cpu_count() or 1, len(missing))
        with ProcessPoolExecutor(workers, mp_context=fresh) as pool:
            jobs = pool.map(job, [root] * len(missing), missing, chunksize=4)
            for _ in track(jobs, description=f"rendering {len(missing)} {what}", total=len(missing), transient=True):
                pass
    except OSError as error:
        raise DatasetError(f"synthetic: {root} cannot be written: {error}") from error
    return len(missing)


def _render(root: Path, seed: int, *, variety: bool) -> None:
    cv2.setNumThreads(1)  # one process per core is already enough
    write_scene(root, seed, render_scene(seed, variety=variety), variety=variety)


def _render_wet(root: Path, seed: int, *, variety: bool) -> None:
    cv2.setNumThreads(1)
    mask = render_wet_mask(seed, variety=variety).astype(np.uint8) * np.uint8(255)
    write_png(scene_path(root, seed, WET, variety=variety), mask)


def write_scene(root: Path, seed: int, scene: LabeledFrame, *, variety: bool = False) -> None:
    """Write one scene; the label comes last, so that its presence means that the scene is whole."""
    frame, label = scene
    if frame.depth_m is None or label is None:
        raise DatasetError(f"synthetic: scene {seed} lacks depth or label")
    images: tuple[NDArray[Any], ...] = (
        cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR),
        depth_to_millimeters(frame.depth_m),
        label,
    )
    for kind, image in zip(KINDS, images, strict=True):
        write_png(scene_path(root, seed, kind, variety=variety), image)
