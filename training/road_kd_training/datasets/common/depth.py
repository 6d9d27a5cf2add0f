# SPDX-License-Identifier: Apache-2.0
"""Depth images of releases: 16-bit files to meters. H W image size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from road_kd_training.datasets.common.sample import read_image
from road_kd_training.errors import DatasetError


def read_uint16(path: Path) -> NDArray[np.uint16]:
    """Read a depth or disparity image.

    Returns:
        (H, W), in the units of the release.

    Raises:
        DatasetError: missing, truncated, or not a gray image of 16 bits.
    """
    image = read_image(path)
    if image.dtype != np.uint16 or image.ndim != 2:
        raise DatasetError(f"{path}: got {image.dtype} {image.shape}, expected a uint16 gray image")
    return image


def disparity_to_depth(disparity_px: NDArray[np.float32], focal_baseline: float) -> NDArray[np.float32]:
    """Depth of a rectified stereo pair: z = f B / d.

    Args:
        disparity_px: (H, W); not positive where invalid or infinitely far.
        focal_baseline: f B, in px m.

    Returns:
        depth_m, (H, W), 0 where the disparity is not positive.
    """
    depth_m = np.zeros(disparity_px.shape, np.float32)
    np.divide(focal_baseline, disparity_px, out=depth_m, where=disparity_px > 0, casting="same_kind")
    return depth_m
