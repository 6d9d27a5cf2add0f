# SPDX-License-Identifier: Apache-2.0
"""Weather, lens and sensor: what images of other days and cameras look like, for augmentation and for evaluation.

Each function draws one corruption from a NumPy generator and leaves its input as it is. H W image size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from road_kd_seg.taxonomy import Taxonomy
from road_kd_training.datasets.common.sample import RgbdDataset, RgbdSample
from road_kd_training.errors import DatasetError, suggest

Color = NDArray[np.uint8]


def snow(image: Color, generator: Generator) -> Color:
    """White flakes, some of them near and blurred, and less contrast; also rain's drops."""
    height, width = image.shape[:2]
    flakes: NDArray[Any] = np.zeros((height, width), np.float32)
    count = int(generator.uniform(0.0005, 0.006) * height * width)
    rows, columns = generator.integers(0, height, count), generator.integers(0, width, count)
    flakes[rows, columns] = generator.uniform(0.4, 1.0, count)
    side = 2 * int(generator.integers(0, 3)) + 1
    flakes = cv2.dilate(flakes, np.ones((side, side), np.uint8))
    flakes = cv2.GaussianBlur(flakes, (0, 0), float(generator.uniform(0.3, 1.2)))[..., None]
    haze = float(generator.uniform(0, 0.35))
    hazy = image * (1 - haze) + 200 * haze
    return _rounded(hazy * (1 - flakes) + 245 * flakes)


def rain(image: Color, generator: Generator) -> Color:
    """Bright streaks in one direction."""
    height, width = image.shape[:2]
    drops = (generator.random((height, width)) < generator.uniform(0.001, 0.006)).astype(np.float32)
    length = int(generator.integers(5, 17))
    kernel = np.zeros((length, length), np.float32)
    slant = int(generator.integers(-length // 3, length // 3 + 1))
    cv2.line(kernel, (length // 2 - slant, 0), (length // 2 + slant, length - 1), 1.0)
    streaks = np.clip(cv2.filter2D(drops, -1, kernel), 0, 1)[..., None] * float(generator.uniform(0.2, 0.6))
    return _rounded(image * (1 - streaks) + 220 * streaks)


def blur(image: Color, generator: Generator) -> Color:
    """A lens out of focus, or motion along the view's rows."""
    if generator.random() < 0.5:
        return cv2.GaussianBlur(image, (0, 0), float(generator.uniform(0.6, 2.5))).astype(np.uint8, copy=False)
    length = int(generator.integers(3, 12))
    return cv2.blur(image, (length, 1)).astype(np.uint8, copy=False)


def dark(image: Color, generator: Generator) -> Color:
    """Dusk: little light, and the noise of a sensor that amplifies it."""
    light = float(generator.uniform(0.15, 0.6))
    noise = generator.normal(0, generator.uniform(2, 9), image.shape)
    return _rounded(image * light + noise)


def compressed(image: Color, generator: Generator) -> Color:
    """JPEG of low quality."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(generator.integers(8, 45))])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return image if decoded is None else decoded.astype(np.uint8, copy=False)


def projector_dots(image: Color, generator: Generator) -> Color:
    """The pattern of an infrared projector, as cameras without a filter see it."""
    height, width = image.shape[:2]
    pitch = float(generator.uniform(6, 16))
    rows, columns = np.meshgrid(np.arange(0, height, pitch), np.arange(0, width, pitch), indexing="ij")
    jitter = generator.uniform(-0.4, 0.4, (2, *rows.shape)) * pitch
    row = np.clip(rows + jitter[0], 0, height - 1).astype(int)
    column = np.clip(columns + jitter[1], 0, width - 1).astype(int)
    dots: NDArray[Any] = np.zeros((height, width), np.float32)
    dots[row, column] = 1
    dots = cv2.GaussianBlur(dots, (0, 0), float(generator.uniform(0.6, 1.3)))
    brightness = float(generator.uniform(30, 130)) / max(float(dots.max()), 1e-6)
    return _rounded(image + brightness * dots[..., None])


def _rounded(image: NDArray[Any]) -> Color:
    clipped: Color = np.clip(image, 0, 255).astype(np.uint8)
    return clipped


COLOR: tuple[Callable[[Color, Generator], Color], ...] = (snow, rain, blur, dark, compressed, projector_dots)


def corrupt_color(image: Color, generator: Generator) -> Color:
    """One of `COLOR` at random: uint8 (H, W, 3) → the same."""
    return COLOR[int(generator.integers(len(COLOR)))](image, generator)


def corrupt_depth(depth_m: NDArray[np.float32], generator: Generator) -> NDArray[np.float32]:
    """Noise of stereo, correlated over some pixels and growing with distance, holes, and lost lower rows.

    Args:
        depth_m: (H, W), 0 = invalid.
        generator: of the draw.

    Returns:
        (H, W), 0 = invalid.
    """
    height, width = depth_m.shape
    coarse = (max(2, height // int(generator.integers(2, 9))), max(2, width // int(generator.integers(2, 9))))
    noise = cv2.resize(generator.normal(0, 1, coarse).astype(np.float32), (width, height))
    # An error of disparity is one of inverse depth: relative to z it grows with z.
    inverse = np.where(depth_m > 0, 1 / np.where(depth_m > 0, depth_m, 1), 0)
    inverse = inverse + np.float32(generator.uniform(0, 0.006)) * noise
    noisy = np.where((depth_m > 0) & (inverse > 1e-2), 1 / np.maximum(inverse, 1e-2), 0)
    blobs = cv2.resize(
        generator.random((max(2, height // 16), max(2, width // 16))).astype(np.float32), (width, height)
    )
    noisy[blobs < generator.uniform(0, 0.35)] = 0
    if generator.random() < 0.2:
        noisy[height - int(generator.uniform(0, 0.2) * height) :] = 0
    return noisy.astype(np.float32)


STEREO_NOISE = "stereo_noise"
CORRUPTIONS: tuple[str, ...] = (*(function.__name__ for function in COLOR), STEREO_NOISE)
"""What `Corrupted` knows: `COLOR` by name, and `corrupt_depth`."""


class Corrupted:
    """A dataset under one corruption, drawn for each sample, the same in every run; labels stay.

    Args:
        dataset: what is corrupted; its order numbers the draws.
        name: one of `CORRUPTIONS`.

    Raises:
        DatasetError: another name.
    """

    def __init__(self, dataset: RgbdDataset, name: str) -> None:
        if name not in CORRUPTIONS:
            raise DatasetError(f"corruption '{name}' is unknown: {suggest(name, CORRUPTIONS)}")
        self.dataset, self.name = dataset, name

    @property
    def taxonomy(self) -> Taxonomy:
        """The dataset's."""
        return self.dataset.taxonomy

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> RgbdSample:
        sample, generator = self.dataset[index], np.random.default_rng(index)
        if self.name != STEREO_NOISE:
            corrupt = COLOR[CORRUPTIONS.index(self.name)]
            return dataclasses.replace(sample, rgb=corrupt(sample.rgb, generator))
        if sample.depth_m is None:
            raise DatasetError(f"{sample.id} has no depth: {STEREO_NOISE} corrupts nothing else")
        return dataclasses.replace(sample, depth_m=corrupt_depth(sample.depth_m, generator))
