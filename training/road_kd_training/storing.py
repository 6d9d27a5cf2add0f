# SPDX-License-Identifier: Apache-2.0
"""Runs the teachers once on every fixed crop and stores their logits; says what cannot be stored.

B batch of images, N crops of each, K classes, H W size of a crop, h w size of the teacher's logits.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from road_kd_seg.errors import RoadKdError
from road_kd_seg.files import make_folder, write_file
from road_kd_seg.taxonomy import Taxonomy
from road_kd_training.augment import Augment, Crop, windows_alone
from road_kd_training.config import TrainConfig
from road_kd_training.data import Pool, from_worker, sample_at, single_threaded
from road_kd_training.distillers.common.taps import LOGITS
from road_kd_training.errors import TrainingError
from road_kd_training.objective import ActiveMethod
from road_kd_training.stored_outputs import FOLDER, OutputStore, Place, mirrored_classes, places
from road_kd_training.teachers import Teacher

BATCH = 8
"""Crops that a teacher sees at once, or the crops of one image where they are more."""


def check_storable(config: TrainConfig, methods: Mapping[str, ActiveMethod], taxonomy: Taxonomy) -> None:
    """Refuse a run whose teachers' outputs cannot be stored.

    Raises:
        TrainingError: it has no teacher or one that learns, mixes images, compares features, or draws mirror images of
            a class that has none.
    """
    if not config.stored_crops:
        return
    reasons = [f"teacher {i} learns beside the student" for i, t in enumerate(config.teachers) if t.network is not None]
    reasons += [] if config.teachers else ["there is no teacher"]
    reasons += ["mixtures (mixup) are other images at every step"] if config.mixup else []
    reasons += [
        f"{name} compares features ({', '.join(sorted(taps)) or 'of its own choice'})"
        for name, method in methods.items()
        if method.distiller.needs.features and method.teachers and (taps := _teacher_taps(method)) != {LOGITS}
    ]
    if config.augment.flip and mirrored_classes(taxonomy.mirror_table, len(taxonomy)) is None:
        reasons.append("a class has no mirror image (augment.flip)")
    if reasons:
        raise TrainingError(
            f"stored_crops is {config.stored_crops}, but {'; '.join(reasons)}: only logits of frozen teachers can be"
            " stored; set it to 0, or change that"
        )


def _teacher_taps(method: ActiveMethod) -> set[str]:
    return {str(theirs) for _, theirs in getattr(method.distiller.config, "taps", ())}


class _Crops(Dataset[Any]):
    """All undisturbed crops of an image: its place, its file's name by teacher, and color, depth and plane of each."""

    def __init__(self, config: TrainConfig, pools: Sequence[Pool], store: OutputStore) -> None:
        taxonomy = pools[0].sources[0].taxonomy
        self.augment = Augment(windows_alone(config.augment), config.input, taxonomy, config.teacher_view)
        self.config, self.pools, self.store = config, pools, store

    def __getitem__(self, place: Place) -> tuple[list[dict[int, str]], Tensor, Tensor, Tensor]:
        sample = sample_at(self.pools, place)
        crops = [
            self.augment(sample, Crop(self.store.crop_seed(place, number), mirrored=False))
            for number in range(self.store.crops)
        ]
        rgb, depth_m, _, plane = (torch.stack(parts) for parts in zip(*crops, strict=True))
        paths = {teacher: str(self.store.path(teacher, place, sample)) for teacher in self.store.folders}
        return [paths], rgb, depth_m, plane


def store_outputs(
    config: TrainConfig,
    pools: Sequence[Pool],
    teachers: Mapping[int, Teacher],
    accelerator: Accelerator,
    console: Console,
) -> OutputStore | None:
    """The store of a run, completed by its first process, which may be interrupted at any time; None if there is none.

    Args:
        config: of the run.
        pools: what it trains on.
        teachers: the frozen ones, by index.
        accelerator: of the run; its precision is the teachers', too.
        console: for the size and the progress.

    Raises:
        TrainingError: the disk has no room, or a teacher's logits do not fit half precision.
        DatasetError: a sample that cannot be read.
    """
    if not config.stored_crops:
        return None
    sizes = [[len(source) for source in pool.sources] for pool in pools]
    taxonomy = pools[0].sources[0].taxonomy
    above = Path(config.sample_cache or config.output) / FOLDER
    precision = str(accelerator.mixed_precision)
    folders = {i: above / _key(config, teacher, sizes, precision) for i, teacher in teachers.items()}
    order = mirrored_classes(taxonomy.mirror_table, len(taxonomy)) if config.augment.flip else ()
    store = OutputStore(folders, config.stored_crops, config.seed, order or ())
    with accelerator.main_process_first():
        missing = store.missing(places(sizes))
        if missing:
            dataset = _Crops(config, pools, store)
            size = sum(_logits_bytes(teacher, dataset.augment.size) for teacher in teachers.values())
            _make_room(store, len(missing), len(missing) * config.stored_crops * size, console)
            _fill(dataset, missing, teachers, accelerator, console)
    return store


def _fill(
    dataset: _Crops,
    missing: Sequence[Place],
    teachers: Mapping[int, Teacher],
    accelerator: Accelerator,
    console: Console,
) -> None:
    loader = DataLoader(
        dataset,
        batch_size=max(1, BATCH // dataset.store.crops),
        sampler=missing,
        num_workers=dataset.config.num_workers,
        worker_init_fn=single_threaded,
        collate_fn=_collate,
    )
    try:
        for paths, rgb, depth_m, plane in track(loader, f"{dataset.config.name}: teachers", console=console):
            seen = (rgb.to(accelerator.device), depth_m.to(accelerator.device), plane.to(accelerator.device))
            for index, teacher in teachers.items():
                with accelerator.autocast():
                    logits = teacher(*seen).logits.half().cpu()
                for path, image in zip(paths, logits.split(dataset.store.crops), strict=True):
                    _write(Path(path[index]), image)
    except RoadKdError as error:
        raise from_worker(error) from error


def _collate(images: Sequence[tuple[list[dict[int, str]], Tensor, Tensor, Tensor]]) -> tuple[Any, ...]:
    paths, *tensors = zip(*images, strict=True)
    return [path for one in paths for path in one], *(torch.cat(parts) for parts in tensors)


def _key(config: TrainConfig, teacher: Teacher, sizes: Sequence[Sequence[int]], precision: str) -> str:
    """Of all that the outputs depend on, but for the images' pixels, which each file's name tells."""
    bundle = teacher.bundle
    told = [
        [bundle.weights_sha256, bundle.network, dict(bundle.network_kwargs), dataclasses.asdict(bundle.input)],
        [[source.dataset, source.options] for source in (*config.train, *config.unlabeled)],
        [sizes, dataclasses.asdict(config.input), dataclasses.asdict(windows_alone(config.augment))],
        [config.teacher_view, config.stored_crops, config.seed, precision],
    ]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _logits_bytes(teacher: Teacher, size: tuple[int, int]) -> int:
    height, width = (-(-side // teacher.network.logits_stride) for side in size)
    return 2 * teacher.network.num_classes * height * width


def _make_room(store: OutputStore, images: int, needed: int, console: Console) -> None:
    for folder in store.folders.values():
        make_folder(folder, error=TrainingError)
    above = next(iter(store.folders.values())).parent
    crops = f"{store.crops} crop{'s' * (store.crops > 1)} of {images} image{'s' * (images > 1)}"
    console.print(f"stored_crops: the teachers see {crops} once: {needed / 1e6:.0f} MB in {above}")
    free = shutil.disk_usage(above).free
    if needed > free:
        raise TrainingError(
            f"stored_crops: the teachers' outputs on {crops} need {needed / 1e6:.0f} MB, and {free / 1e6:.0f} MB are"
            f" free for {above}: free some space, lower stored_crops, or set it to 0"
        )


def _write(path: Path, logits: Tensor) -> None:
    if not bool(torch.isfinite(logits).all()):
        raise TrainingError(f"{path.name}: a teacher's logits do not fit half precision: set stored_crops to 0")
    content = io.BytesIO()
    np.save(content, logits.numpy())
    write_file(path, content.getbuffer(), error=TrainingError)
