# SPDX-License-Identifier: Apache-2.0
"""Depth and disparity that a release holds only as a picture: gray, or painted with the jet map. H W image size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from road_kd_training.datasets.common.sample import read_image
from road_kd_training.errors import DatasetError

FULL_SCALE = 65535
DARKEST = 0.5
"""Every jet color has one channel at least this bright; what is much darker was never painted."""


def read_painted(path: Path) -> NDArray[np.uint16]:
    """Read a 16-bit gray, 8-bit gray or jet image as numbers between 0 and FULL_SCALE.

    The lowest value of each kind (0, or the darkest blue) counts as invalid: it is what holes are painted with.

    Returns:
        (H, W), 0 = invalid.

    Raises:
        DatasetError: missing, truncated, or of another type.
    """
    image = read_image(path)
    if image.ndim == 3 and image.shape[2] >= 3 and image.dtype == np.uint8:
        blue_first = image[..., :3]
        if (blue_first == blue_first[..., :1]).all():
            image = blue_first[..., 0]
        else:
            value, painted = jet_value(blue_first[..., ::-1])
            return np.where(painted & (value >= 0.5 / 255), np.rint(value * FULL_SCALE), 0).astype(np.uint16)
    if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16):
        raise DatasetError(f"{path}: got {image.dtype} {image.shape}, expected 8- or 16-bit gray, or 8-bit jet colors")
    values: NDArray[np.uint16] = image.astype(np.uint16)
    return values * np.uint16(257) if image.dtype == np.uint8 else values


def jet_value(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Where on the jet map (0 dark blue, 0.5 green, 1 dark red) each color lies.

    The map's channels are clipped lines, so each of its five legs can be solved for the value; one formula holds on all
    of them. Colors beside the map (after JPEG or resizing) give the value of a color near them.

    Args:
        rgb: (H, W, 3), painted with jet.

    Returns:
        Values in [0, 1], (H, W), and whether a pixel was painted at all: black is not.
    """
    red, green, blue = np.moveaxis(rgb.astype(np.float32) / np.float32(255), -1, 0)
    brightest = np.maximum(np.maximum(red, green), blue)
    # Between the pure colors one channel runs from 0 to 1 in a quarter; beyond them, blue or red itself grows dark.
    side = np.sign(red - blue)
    value = 0.5 + (red - blue) / 8 + side * ((brightest - green) / 4 + 5 * (1 - brightest) / 8)
    return np.clip(value, 0, 1).astype(np.float32, copy=False), np.asarray(brightest > DARKEST / 2)
