# SPDX-License-Identifier: Apache-2.0
"""Random windows, mirror images and colors for training samples; depth and labels are sampled, never blended."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from road_kd_seg.errors import RoadKdError
from road_kd_seg.frame import IGNORE_INDEX
from road_kd_seg.preprocess.input_spec import InputSpec
from road_kd_seg.taxonomy import Taxonomy
from road_kd_training.config import AugmentConfig, InputConfig
from road_kd_training.corruptions import corrupt_color, corrupt_depth
from road_kd_training.datasets.common.sample import RgbdSample
from road_kd_training.errors import DatasetError, TrainingError
from road_kd_training.windows import Window, cut, far_end, plane_in_window, sample_plane, scale_relief, scaled_size

Example = tuple[Tensor, Tensor, Tensor, Tensor]
"""uint8 (h, w, 3), meters (h, w), class ids (h, w) int64, and the road plane (3,) as `plane_residual` takes it."""

FAR_SCALES = (1.5, 2.0)
"""Of windows around the far end of the road, relative to `input`."""

MAX_VIEW = 4.0
"""Of `teacher_view`; larger ones show windows that no camera resolves."""

LUMA = np.array([0.299, 0.587, 0.114])
TO_YIQ = np.stack([LUMA, [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
"""Brightness, and two axes of color that are 0 for gray."""
FROM_YIQ = np.linalg.inv(TO_YIQ)


class Crop(NamedTuple):
    """What is not drawn afresh, where the outputs of teachers are stored."""

    seed: int
    """Of the window."""
    mirrored: bool


class Augment:
    """Turns samples of any size into examples of one size; what lies outside the image is black, invalid and ignored.

    All randomness comes from torch's global generator, which the loader seeds for each sample.

    Args:
        config: what is drawn.
        frame: the network's input; windows are of what its crop leaves.
        taxonomy: says which classes a mirror image swaps.
        view: examples are so many times as large, per side, and show the same windows.

    Raises:
        TrainingError: values out of range, or mirror images of classes that have sides and no counterpart.
    """

    def __init__(self, config: AugmentConfig, frame: InputConfig, taxonomy: Taxonomy, view: float = 1.0) -> None:
        if not 0 < config.min_scale <= config.max_scale:
            raise TrainingError(
                f"augment: min_scale {config.min_scale} and max_scale {config.max_scale}: expected 0 < min <= max"
            )
        for name in ("depth_scale", "relief_scale"):
            if not 0 <= getattr(config, name) < 1:
                raise TrainingError(f"augment: {name} is {getattr(config, name)}, expected from 0 to below 1")
        if not 1 <= view <= MAX_VIEW:
            raise TrainingError(f"teacher_view is {view}, expected from 1 to {MAX_VIEW:g}")
        try:
            self.mirror_table = taxonomy.mirror_table if config.flip else None
        except RoadKdError as error:
            raise TrainingError(f"augment: flip is {config.flip}: {error}: set flip to 0") from error
        self.config = config
        self.crop = InputSpec((frame.height, frame.width), crop=frame.crop)
        self.frame = scaled_size((frame.height, frame.width), view)
        self.size = scaled_size((config.crop_height or frame.height, config.crop_width or frame.width), view)

    def __call__(self, sample: RgbdSample, crop: Crop | None = None) -> Example:
        """Draw one variant of a sample; one without a label is ignored everywhere, one without depth invalid.

        Args:
            sample: of any size.
            crop: which window to take, and whether its mirror image; None: both are drawn.
        """
        config, sample = self.config, self._cropped(sample)
        height, width = sample.rgb.shape[:2]
        window = self._draw_window(sample) if crop is None else self._fixed_window(sample, crop.seed)
        mirrored = float(torch.rand(())) < config.flip if crop is None else crop.mirrored
        depth_factor = _draw_uniform(1 - config.depth_scale, 1 + config.depth_scale)
        dropped = float(torch.rand(())) < config.drop_depth
        relief = _draw_uniform(1 - config.relief_scale, 1 + config.relief_scale)
        image = cut(sample.rgb, window, self.size, mirrored, _interpolation(window, self.size), 0)
        image = cv2.transform(image, self._draw_colors(image)).astype(np.uint8, copy=False)
        if config.weather and float(torch.rand(())) < config.weather:
            image = corrupt_color(image, _draw_generator())
        depth, label = np.zeros(self.size, np.float32), np.full(self.size, IGNORE_INDEX, np.uint8)
        plane = np.zeros(3, np.float32)
        if sample.depth_m is not None and not dropped:
            whole = sample_plane(sample) / np.float32(depth_factor)
            plane = plane_in_window(whole, (height, width), window, self.size, mirrored)
            nearest = cut(sample.depth_m, window, self.size, mirrored, cv2.INTER_NEAREST_EXACT, 0)
            depth = nearest * np.float32(depth_factor)
            if config.relief_scale and plane.any():
                depth = scale_relief(depth, plane, relief)
            if config.depth_noise and float(torch.rand(())) < config.depth_noise:
                depth = corrupt_depth(depth, _draw_generator())
        if sample.label is not None:
            label = cut(sample.label, window, self.size, mirrored, cv2.INTER_NEAREST_EXACT, IGNORE_INDEX)
            label = self.mirror_table[label] if mirrored and self.mirror_table is not None else label
        return (
            torch.from_numpy(image),
            torch.from_numpy(depth),
            torch.from_numpy(label).long(),
            torch.from_numpy(plane),
        )

    def _cropped(self, sample: RgbdSample) -> RgbdSample:
        top, left, bottom, right = self.crop.crop_box(*sample.rgb.shape[:2])
        inside = np.s_[top:bottom, left:right]
        depth_m = None if sample.depth_m is None else sample.depth_m[inside]
        label = None if sample.label is None else sample.label[inside]
        return replace(sample, rgb=sample.rgb[inside], depth_m=depth_m, label=label)

    def _fixed_window(self, sample: RgbdSample, seed: int) -> Window:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self._draw_window(sample)

    def _draw_window(self, sample: RgbdSample) -> Window:
        """A window that becomes one example: anywhere, or around the far end of the road."""
        config, (height, width) = self.config, sample.rgb.shape[:2]
        far = config.far_road > 0 and float(torch.rand(())) < config.far_road and sample.label is not None
        scale = _draw_uniform(*(FAR_SCALES if far else (config.min_scale, config.max_scale)))
        rows, columns = (
            max(1, round(side * pixels / (scale * whole)))
            for side, pixels, whole in zip((height, width), self.size, self.frame, strict=True)
        )
        end = far_end(sample.label) if far and sample.label is not None else None
        if end is None:
            return Window(_draw_offset(height - rows), _draw_offset(width - columns), rows, columns)
        top = end[0] - round(rows * _draw_uniform(0.1, 0.6))
        left = end[1] - round(columns * _draw_uniform(0.2, 0.8))
        return Window(_inside(top, height - rows), _inside(left, width - columns), rows, columns)

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


def _draw_generator() -> np.random.Generator:
    return np.random.default_rng(int(torch.randint(2**62, ())))


def _draw_uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))


def _inside(start: int, slack: int) -> int:
    return min(max(start, min(0, slack)), max(0, slack))


def _draw_offset(slack: int) -> int:
    """Where a window begins: inside the image, or around it when it is larger (negative slack)."""
    return int(torch.randint(min(0, slack), max(0, slack) + 1, ()))


def _interpolation(window: Window, size: tuple[int, int]) -> int:
    """As the node resizes color: areas are averaged where the image shrinks, else it is bilinear."""
    shrinks = window[2] >= size[0] and window[3] >= size[1]
    return cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR


def windows_alone(config: AugmentConfig) -> AugmentConfig:
    """The same windows, undisturbed: colors, weather and depth as they are, and no mirror images."""
    geometry = ("min_scale", "max_scale", "crop_height", "crop_width", "far_road")
    undisturbed: dict[str, Any] = {f.name: 0.0 for f in fields(config) if f.name not in geometry}
    return replace(config, **undisturbed)


def mix(rgb: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Mixup without labels (Zhang et al., ICLR 2018): each image blended with another of its batch by a uniform share.

    Depth cannot be blended: a mixture keeps its first image's.

    Args:
        rgb: uint8 (B, H, W, 3).
        label: (B, H, W).

    Returns:
        The mixtures, and labels that are 255 = ignore throughout.
    """
    share = torch.rand(len(rgb), 1, 1, 1).to(rgb.device)
    blended = share * rgb + (1 - share) * rgb[torch.randperm(len(rgb)).to(rgb.device)]
    return blended.round().to(torch.uint8), torch.full_like(label, IGNORE_INDEX)


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
