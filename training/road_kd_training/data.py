"""Samples to batches. Which sample comes when is a function of the seed alone, so that a run can be resumed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from road_kd_training.augment import Augment, Example
from road_kd_training.config import DataConfig, TrainConfig
from road_kd_training.datasets import RgbdDataset, build_dataset

Draw = tuple[int, int, int]
"""Position in the run, source, and index in the source."""


class Draws(Sampler[Draw]):
    """What to draw at every position of a run: a source by weight, then the next of its samples in shuffled order."""

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], seed: int, first: int, total: int) -> None:
        self.sizes, self.weights, self.seed = sizes, torch.tensor(weights, dtype=torch.float64), seed
        self.first, self.total = first, total

    def __len__(self) -> int:
        return self.total - self.first

    def __iter__(self) -> Iterator[Draw]:
        generator = torch.Generator().manual_seed(self.seed)
        order: list[list[int]] = [[] for _ in self.sizes]
        sources = torch.multinomial(self.weights, self.total, replacement=True, generator=generator).tolist()
        for position, source in enumerate(sources):
            if not order[source]:
                order[source] = torch.randperm(self.sizes[source], generator=generator).tolist()
            index = order[source].pop()
            if position >= self.first:
                yield position, source, index


class DrawnExamples(Dataset[Example]):
    """Augmented examples by draw; the same draw always gives the same example."""

    def __init__(self, sources: Sequence[RgbdDataset], augment: Augment, seed: int) -> None:
        self.sources, self.augment, self.seed = sources, augment, seed

    def __getitem__(self, draw: Draw) -> Example:
        position, source, index = draw
        sample = self.sources[source][index]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed * 1_000_003 + position)
            return self.augment(sample)


def build_datasets(configs: Sequence[DataConfig]) -> list[RgbdDataset]:
    """The datasets of a recipe, in order."""
    return [build_dataset(config.dataset, **config.options) for config in configs]


def training_loader(config: TrainConfig, first_step: int) -> DataLoader[Example]:
    """Batches from `first_step` to the end of the run."""
    sources = build_datasets(config.train)
    augment = Augment(config.augment, (config.input.height, config.input.width))
    draws = Draws(
        [len(source) for source in sources],
        [source.weight for source in config.train],
        config.seed,
        first_step * config.batch_size,
        config.steps * config.batch_size,
    )
    return DataLoader(
        DrawnExamples(sources, augment, config.seed),
        batch_size=config.batch_size,
        sampler=draws,
        num_workers=config.num_workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=False,
        worker_init_fn=_single_threaded,
    )


def _single_threaded(worker: int) -> None:
    torch.set_num_threads(1)  # the loaders share the cores with the training step
