# SPDX-License-Identifier: Apache-2.0
"""From sources to batches of images with boxes. Which image comes when is a function of the seed alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Sampler

from road_kd_training.config import DataConfig, TrainConfig
from road_kd_training.datasets import build_dataset
from road_kd_training.detection.boxes import BoxDataset, BoxSample, LabeledObstacles
from road_kd_training.detection.coco import Coco
from road_kd_training.detection.detectors import Target
from road_kd_training.errors import TrainingError

Example = tuple[Tensor, Target]


def build_box_dataset(config: DataConfig) -> BoxDataset:
    """`coco`, or a segmentation dataset whose obstacles become boxes.

    Raises:
        DatasetError: data that are missing or damaged, or have no obstacles.
    """
    if config.dataset == "coco":
        return Coco(**config.options)
    return LabeledObstacles(build_dataset(config.dataset, **config.options))


def build_box_datasets(configs: Sequence[DataConfig]) -> list[BoxDataset]:
    """Each of them, in order."""
    return [build_box_dataset(config) for config in configs]


def as_example(sample: BoxSample) -> Example:
    """An image (3, H, W) from 0 to 1, and what is to be learned of it: no crowds."""
    boxes, learned = sample.boxes, ~sample.boxes.crowd
    target = {
        "boxes": torch.from_numpy(boxes.corners[learned]),
        "labels": torch.from_numpy(boxes.classes[learned]) + 1,
    }
    return torch.from_numpy(sample.rgb).movedim(-1, 0).float().div(255), target


def mirror(image: Tensor, target: Target) -> Example:
    """The mirror image and its boxes."""
    left, top, right, bottom = target["boxes"].unbind(1)
    width = image.shape[-1]
    return image.flip(-1), {**target, "boxes": torch.stack([width - right, top, width - left, bottom], 1)}


class DrawnBoxes(Dataset[Example]):
    """Examples by (position in the run, index); half of them, or as configured, mirrored."""

    def __init__(self, dataset: Dataset[BoxSample], flip: float, seed: int) -> None:
        self.dataset, self.flip, self.seed = dataset, flip, seed

    def __getitem__(self, draw: tuple[int, int]) -> Example:
        position, index = draw
        example = as_example(self.dataset[index])
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + position)
        return mirror(*example) if float(torch.rand((), generator=generator)) < self.flip else example


class Epochs(Sampler[tuple[int, int]]):
    """Positions `first` to `last` of a run that goes through all samples in ever new order."""

    def __init__(self, num_samples: int, seed: int, first: int, last: int) -> None:
        self.num_samples, self.seed, self.first, self.last = num_samples, seed, first, last

    def __len__(self) -> int:
        return self.last - self.first

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order: list[int] = []
        for position in range(self.first, self.last):
            epoch, place = divmod(position, self.num_samples)
            if not order or place == 0:
                generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
                order = torch.randperm(self.num_samples, generator=generator).tolist()
            yield position, order[place]


def box_loader(
    config: TrainConfig, datasets: Sequence[BoxDataset], first_step: int, processes: int
) -> DataLoader[Example]:
    """Batches (list of images, list of targets) from `first_step` to the end of the run, for all processes together.

    Raises:
        TrainingError: sources of different classes.
    """
    names = [list(dataset.class_names) for dataset in datasets]
    if any(other != names[0] for other in names):
        raise TrainingError(f"the sources of train have classes {names}: a run needs datasets of the same classes")
    joined: ConcatDataset[BoxSample] = ConcatDataset(datasets)  # type: ignore[arg-type]  # a protocol, not a Dataset
    batch = config.batch_size
    ends = (first_step * processes * batch, config.steps * processes * batch)
    return DataLoader(
        DrawnBoxes(joined, config.augment.flip, config.seed),
        batch_size=batch,
        sampler=Epochs(len(joined), config.seed, *ends),
        num_workers=config.num_workers,
        collate_fn=_as_lists,
    )


def _as_lists(examples: Sequence[Example]) -> tuple[list[Tensor], list[Target]]:
    return [image for image, _ in examples], [target for _, target in examples]
