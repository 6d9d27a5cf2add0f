"""Random crops, mirror images and colours for training samples; depth and labels are always sampled, never blended."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

from road_kd_seg.frame import IGNORE_INDEX
from road_kd_training.config import AugmentConfig
from road_kd_training.datasets.sample import RgbdSample
from road_kd_training.errors import DatasetError

Example = tuple[Tensor, Tensor, Tensor]
"""uint8 (h, w, 3), metres (h, w), class ids (h, w) int64."""


class Augment:
    """Turns samples of any size into examples of one size.

    All randomness comes from torch's global generator, which the loader seeds for each sample.
    """

    def __init__(self, config: AugmentConfig, size: tuple[int, int]) -> None:
        self.drop_depth = config.drop_depth
        aspect = size[1] / size[0]
        self.transform = v2.Compose(
            [
                v2.RandomResizedCrop(
                    size,
                    scale=(config.min_scale, 1.0),
                    ratio=(0.85 * aspect, 1.15 * aspect),
                    interpolation=InterpolationMode.BILINEAR,
                ),
                v2.RandomHorizontalFlip(config.flip),
                v2.ColorJitter(config.brightness, config.contrast, config.saturation, config.hue),
            ]
        )

    def __call__(self, sample: RgbdSample) -> Example:
        """Draw one variant of a sample.

        Raises:
            DatasetError: the sample has no label.
        """
        if sample.label is None:
            raise DatasetError(f"sample {sample.id} has no label: supervised training needs one")
        depth_m = np.zeros(sample.label.shape, np.float32) if sample.depth_m is None else sample.depth_m
        image, depth, label = self.transform(
            tv_tensors.Image(_channels_first(sample.rgb)),
            tv_tensors.Mask(torch.from_numpy(depth_m)),
            tv_tensors.Mask(torch.from_numpy(sample.label)),
        )
        if self.drop_depth and torch.rand(()) < self.drop_depth:
            depth = torch.zeros_like(depth)
        return (
            image.as_subclass(Tensor).permute(1, 2, 0).contiguous(),
            depth.as_subclass(Tensor).contiguous(),
            label.as_subclass(Tensor).long(),
        )


def _channels_first(rgb: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(rgb).permute(2, 0, 1)


def check_labels(label: Tensor, num_classes: int) -> None:
    """Refuse labels that are no class.

    Raises:
        DatasetError: an id other than 0..K-1 and 255.
    """
    known = label[label != IGNORE_INDEX]
    if known.numel() and int(known.max()) >= num_classes:
        raise DatasetError(
            f"a label holds class {int(known.max())}, expected 0..{num_classes - 1} or {IGNORE_INDEX} (ignore):"
            " check the dataset's label mapping"
        )
