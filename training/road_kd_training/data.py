# SPDX-License-Identifier: Apache-2.0
"""Samples to batches. Which sample comes when is a function of the seed alone, so that a run can be resumed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from road_kd_seg.errors import RoadKdError
from road_kd_seg.taxonomy import Taxonomy
from road_kd_training.augment import Augment, Crop, Example
from road_kd_training.config import DataConfig, TrainConfig
from road_kd_training.datasets import RgbdDataset, RgbdSample, build_dataset
from road_kd_training.datasets.synthetic import check_root
from road_kd_training.errors import DatasetError, TrainingError
from road_kd_training.sample_cache import SampleCache
from road_kd_training.stored_outputs import OutputStore, Place


@dataclass(frozen=True)
class Pool:
    """Sources that are drawn from by weight; so many of them in each batch."""

    sources: Sequence[RgbdDataset]
    weights: Sequence[float]
    batch_size: int
    labeled: bool


@dataclass(frozen=True)
class Draw:
    """One sample of a run."""

    position: int
    """In the run."""
    pool: int
    source: int
    index: int
    """In the source."""


class Draws(Sampler[Draw]):
    """What to draw at every position of a run: each batch takes its share of every pool in turn."""

    def __init__(self, pools: Sequence[Pool], seed: int, first_batch: int, batches: int) -> None:
        self.pools, self.seed, self.first_batch, self.batches = pools, seed, first_batch, batches
        self.batch_size = sum(pool.batch_size for pool in pools)

    def __len__(self) -> int:
        return (self.batches - self.first_batch) * self.batch_size

    def __iter__(self) -> Iterator[Draw]:
        orders = [
            _shuffled(pool, self.seed + 7919 * number, self.batches * pool.batch_size)
            for number, pool in enumerate(self.pools)
        ]
        position = 0
        for batch in range(self.batches):
            for number, pool in enumerate(self.pools):
                for _ in range(pool.batch_size):
                    source, index = next(orders[number])
                    if batch >= self.first_batch:
                        yield Draw(position, number, source, index)
                    position += 1


def _shuffled(pool: Pool, seed: int, total: int) -> Iterator[tuple[int, int]]:
    """A source by weight, then the next of its samples in shuffled order, `total` times."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.tensor(pool.weights, dtype=torch.float64)
    order: list[list[int]] = [[] for _ in pool.sources]
    for source in torch.multinomial(weights, total, replacement=True, generator=generator).tolist():
        if not order[source]:
            order[source] = torch.randperm(len(pool.sources[source]), generator=generator).tolist()
        yield source, order[source].pop()


class DrawnExamples(Dataset[Any]):
    """Augmented examples by draw; the same draw always gives the same example.

    With a store of teachers' outputs, examples are of its fixed crops and end with the outputs, by teacher.
    """

    def __init__(self, pools: Sequence[Pool], augment: Augment, seed: int, store: OutputStore | None = None) -> None:
        self.pools, self.augment, self.seed, self.store = pools, augment, seed, store

    def __getitem__(self, draw: Draw) -> Example | tuple[Any, ...]:
        place = Place(draw.pool, draw.source, draw.index)
        sample = sample_at(self.pools, place)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed * 1_000_003 + draw.position)
            if self.store is None:
                return self.augment(sample)
            number = int(torch.randint(self.store.crops, ()))
            crop = Crop(self.store.crop_seed(place, number), float(torch.rand(())) < self.augment.config.flip)
            outputs = self.store.read(place, sample, number, mirrored=crop.mirrored)
            return (*self.augment(sample, crop), outputs)


def sample_at(pools: Sequence[Pool], place: Place) -> RgbdSample:
    """A training sample; of an unlabeled pool, without its label.

    Raises:
        DatasetError: it should have a label, and has none.
    """
    pool = pools[place.pool]
    sample = pool.sources[place.source][place.index]
    if not pool.labeled:
        return replace(sample, label=None)
    if sample.label is None:
        raise DatasetError(f"sample {sample.id} has no label: list its dataset under unlabeled, or label it")
    return sample


def build_datasets(configs: Sequence[DataConfig]) -> list[RgbdDataset]:
    """The datasets of a recipe, in order; those that render scenes are built last, when all others and every folder
    stand."""
    for config in configs:
        if config.dataset == "synthetic" and "root" in config.options:
            check_root(config.options["root"], create=config.options.get("create", False))
    rank = sorted(range(len(configs)), key=lambda i: configs[i].dataset == "synthetic")
    built = {i: build_dataset(configs[i].dataset, **configs[i].options) for i in rank}
    return [built[i] for i in range(len(configs))]


def run_data(config: TrainConfig) -> tuple[list[Pool], list[RgbdDataset]]:
    """What a run trains on, the labeled samples and the unlabeled ones if it has any, and what it is validated on.

    Raises:
        TrainingError: no source, unlabeled sources without a share of the batch, or the reverse.
    """
    for name, sources in (("train", config.train), ("validation", config.validation)):
        if not sources:
            raise TrainingError(f"{name} lists no dataset: name at least one ('road-kd list datasets')")
    cache = None if config.sample_cache is None else Path(config.sample_cache)
    if bool(config.unlabeled) != (config.unlabeled_batch_size > 0):
        raise TrainingError(
            f"unlabeled lists {len(config.unlabeled)} sources and unlabeled_batch_size is"
            f" {config.unlabeled_batch_size}: set both, or neither"
        )
    parts = (config.train, config.unlabeled, config.validation)
    built = iter(build_datasets([source for part in parts for source in part]))
    train, unlabeled, validation = ([next(built) for _ in part] for part in parts)
    pools = [_pool(train, config.train, config.batch_size, labeled=True, cache=cache)]
    if config.unlabeled:
        pools.append(_pool(unlabeled, config.unlabeled, config.unlabeled_batch_size, labeled=False, cache=cache))
    return pools, validation


def _pool(
    sources: list[RgbdDataset],
    configs: Sequence[DataConfig],
    batch_size: int,
    *,
    labeled: bool,
    cache: Path | None,
) -> Pool:
    if cache is not None:
        sources = [SampleCache(source, cache, config) for source, config in zip(sources, configs, strict=True)]
    return Pool(sources, [config.weight for config in configs], batch_size, labeled)


def common_taxonomy(configs: Sequence[DataConfig], datasets: Sequence[RgbdDataset]) -> Taxonomy:
    """The classes that all datasets of a run share.

    Raises:
        TrainingError: two datasets have different classes.
    """
    first = datasets[0].taxonomy
    for config, dataset in zip(configs, datasets, strict=True):
        if dataset.taxonomy.names != first.names:
            raise TrainingError(
                f"dataset '{config.dataset}' has classes {dataset.taxonomy.names}, '{configs[0].dataset}' has"
                f" {first.names}: a run needs datasets of the same classes"
            )
    return first


def training_loader(
    config: TrainConfig, pools: Sequence[Pool], first_step: int, processes: int, store: OutputStore | None = None
) -> DataLoader[Any]:
    """Batches from `first_step` to the end of the run, for all processes together; see `DrawnExamples`."""
    draws = Draws(pools, config.seed, first_step * processes, config.steps * processes)
    augment = Augment(config.augment, config.input, pools[0].sources[0].taxonomy, config.teacher_view)
    return DataLoader(
        DrawnExamples(pools, augment, config.seed, store),
        batch_size=draws.batch_size,
        sampler=draws,
        num_workers=config.num_workers,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=single_threaded,
    )


def single_threaded(worker: int) -> None:
    """For a loader's process."""
    torch.set_num_threads(1)  # the loaders share the cores with the training step


def from_worker(error: Exception) -> Exception:
    """The error itself, of one that a loader's process has wrapped into the text of its traceback."""
    message = str(error.args[0]) if error.args else ""
    if not isinstance(error, RoadKdError) or "Original Traceback" not in message:
        return error
    return type(error)(re.split(r"(?m)^[\w.]+Error: ", message)[-1].rstrip())
