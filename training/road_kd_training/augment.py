"""Random windows, mirror images and colours for training samples; depth and labels are sampled, never blended."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as transforms

from road_kd_seg.frame import IGNORE_INDEX
from road_kd_training.config import AugmentConfig, InputConfig
from road_kd_training.datasets.sample import RgbdSample
from road_kd_training.errors import DatasetError, TrainingError

Example = tuple[Tensor, Tensor, Tensor]
"""uint8 (h, w, 3), metres (h, w), class ids (h, w) int64."""


class Augment:
    """Turns samples of any size into examples of one size; what lies outside the image is black, invalid and ignored.

    All randomness comes from torch's global generator, which the loader seeds for each sample.
    """

    def __init__(self, config: AugmentConfig, frame: InputConfig) -> None:
        if not 0 < config.min_scale <= config.max_scale:
            raise TrainingError(
                f"augment: min_scale {config.min_scale} and max_scale {config.max_scale}: expected 0 < min <= max"
            )
        if not 0 <= config.depth_scale < 1:
            raise TrainingError(f"augment: depth_scale is {config.depth_scale}, expected from 0 to below 1")
        self.config = config
        self.frame = (frame.height, frame.width)
        self.size = (config.crop_height or frame.height, config.crop_width or frame.width)
        self.colours = v2.ColorJitter(config.brightness, config.contrast, config.saturation, config.hue)

    def __call__(self, sample: RgbdSample) -> Example:
        """Draw one variant of a sample; one without a label is ignored everywhere, one without depth invalid."""
        height, width = sample.rgb.shape[:2]
        depth_m = np.zeros((height, width), np.float32) if sample.depth_m is None else sample.depth_m
        label = np.full((height, width), IGNORE_INDEX, np.uint8) if sample.label is None else sample.label
        window = self._draw_window(height, width)
        image = _cut(tv_tensors.Image(torch.from_numpy(sample.rgb).permute(2, 0, 1)), window, self.size)
        depth = _cut(tv_tensors.Mask(torch.from_numpy(depth_m)), window, self.size)
        # What is cut beside the image is 0; as uint8, 255 + 1 is 0, so that it comes back as 255.
        ids = _cut(tv_tensors.Mask(torch.from_numpy(label) + 1), window, self.size) - 1
        if torch.rand(()) < self.config.flip:
            image, depth, ids = (transforms.horizontal_flip(one) for one in (image, depth, ids))
        depth = depth * torch.empty(()).uniform_(1 - self.config.depth_scale, 1 + self.config.depth_scale)
        if self.config.drop_depth and torch.rand(()) < self.config.drop_depth:
            depth = torch.zeros_like(depth)
        return self.colours(image).permute(1, 2, 0).contiguous(), depth.contiguous(), ids.long()

    def _draw_window(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, height and width in the sample's pixels of a window that becomes one example."""
        scale = float(torch.empty(()).uniform_(self.config.min_scale, self.config.max_scale))
        sides = [
            max(1, round(side * cut / (scale * whole)))
            for side, cut, whole in zip((height, width), self.size, self.frame, strict=True)
        ]
        top, left = (_draw_offset(side - cut) for side, cut in zip((height, width), sides, strict=True))
        return top, left, sides[0], sides[1]


def _draw_offset(slack: int) -> int:
    """Where a window begins: inside the image, or around it when it is larger (negative slack)."""
    return int(torch.randint(min(0, slack), max(0, slack) + 1, ()))


def _cut(image: Tensor, window: tuple[int, int, int, int], size: tuple[int, int]) -> Tensor:
    """Images are blended, masks sampled at the nearest pixel: torchvision knows which is which by their types."""
    cut: Tensor = transforms.resized_crop(image, *window, list(size)).as_subclass(Tensor)
    return cut


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
