"""Random windows, mirror images and colors for training samples; depth and labels are sampled, never blended."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from road_kd_seg.frame import IGNORE_INDEX
from road_kd_training.config import AugmentConfig, InputConfig
from road_kd_training.datasets.common.sample import RgbdSample
from road_kd_training.errors import DatasetError, TrainingError

Example = tuple[Tensor, Tensor, Tensor]
"""uint8 (h, w, 3), meters (h, w), class ids (h, w) int64."""

Window = tuple[int, int, int, int]
"""Top, left, height and width, in the sample's pixels; it may reach beyond the image."""

LUMA = np.array([0.299, 0.587, 0.114])
TO_YIQ = np.stack([LUMA, [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
"""Brightness, and two axes of color that are 0 for gray."""
FROM_YIQ = np.linalg.inv(TO_YIQ)


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

    def __call__(self, sample: RgbdSample) -> Example:
        """Draw one variant of a sample; one without a label is ignored everywhere, one without depth invalid."""
        config, (height, width) = self.config, sample.rgb.shape[:2]
        window = self._draw_window(height, width)
        mirrored = float(torch.rand(())) < config.flip
        depth_factor = _draw_uniform(1 - config.depth_scale, 1 + config.depth_scale)
        dropped = float(torch.rand(())) < config.drop_depth
        image = self._cut(sample.rgb, window, mirrored, _interpolation(window, self.size), 0)
        image = cv2.transform(image, self._draw_colors(image))
        depth, label = np.zeros(self.size, np.float32), np.full(self.size, IGNORE_INDEX, np.uint8)
        if sample.depth_m is not None and not dropped:
            depth = self._cut(sample.depth_m, window, mirrored, cv2.INTER_NEAREST_EXACT, 0) * np.float32(depth_factor)
        if sample.label is not None:
            label = self._cut(sample.label, window, mirrored, cv2.INTER_NEAREST_EXACT, IGNORE_INDEX)
        return torch.from_numpy(image), torch.from_numpy(depth), torch.from_numpy(label).long()

    def _draw_window(self, height: int, width: int) -> Window:
        """A window that becomes one example."""
        scale = _draw_uniform(self.config.min_scale, self.config.max_scale)
        sides = [
            max(1, round(side * cut / (scale * whole)))
            for side, cut, whole in zip((height, width), self.size, self.frame, strict=True)
        ]
        top, left = (_draw_offset(side - cut) for side, cut in zip((height, width), sides, strict=True))
        return top, left, sides[0], sides[1]

    def _cut(
        self, image: NDArray[Any], window: Window, mirrored: bool, interpolation: int, outside: int
    ) -> NDArray[Any]:
        """What a window shows, in the example's size; `outside` is the value beside the image."""
        top, left, height, width = window
        rows, columns = image.shape[:2]
        inside = image[max(top, 0) : top + height, max(left, 0) : left + width]
        beside = (max(-top, 0), max(top + height - rows, 0), max(-left, 0), max(left + width - columns, 0))
        if any(beside):
            inside = cv2.copyMakeBorder(inside, *beside, cv2.BORDER_CONSTANT, value=(outside,) * 3)
        resized = cv2.resize(inside, self.size[::-1], interpolation=interpolation)
        return cv2.flip(resized, 1) if mirrored else resized

    def _draw_colors(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Brightness, contrast, saturation and hue as one affine map of RGB, (3, 4).

        Brightness scales, contrast scales about the image's mean luma, saturation about each pixel's luma, and hue
        turns the colors about the gray axis. Each commutes with the others, so there is no order to draw, and values
        are rounded and clipped once instead of four times.
        """
        config = self.config
        brightness, contrast, saturation = (
            _draw_uniform(max(0.0, 1 - amount), 1 + amount)
            for amount in (config.brightness, config.contrast, config.saturation)
        )
        angle = 2 * math.pi * _draw_uniform(-config.hue, config.hue)
        cos, sin = saturation * math.cos(angle), saturation * math.sin(angle)
        colors = FROM_YIQ @ np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ TO_YIQ
        mean_luma = float(LUMA @ cv2.mean(image)[:3])
        offset = np.full((3, 1), brightness * (1 - contrast) * mean_luma)
        return np.hstack([brightness * contrast * colors, offset])


def _draw_uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))


def _draw_offset(slack: int) -> int:
    """Where a window begins: inside the image, or around it when it is larger (negative slack)."""
    return int(torch.randint(min(0, slack), max(0, slack) + 1, ()))


def _interpolation(window: Window, size: tuple[int, int]) -> int:
    """As the node resizes color: areas are averaged where the image shrinks, else it is bilinear."""
    shrinks = window[2] >= size[0] and window[3] >= size[1]
    return cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR


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
