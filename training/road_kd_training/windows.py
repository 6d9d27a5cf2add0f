# SPDX-License-Identifier: Apache-2.0
"""Windows of a sample: where they lie, what they show, and the road plane seen through them.

H W size of the sample, h w size of the example that a window becomes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from road_kd_seg.frame import IGNORE_INDEX
from road_kd_seg.preprocess.resize import resize_depth
from road_kd_seg.preprocess.road_plane import fit_road_plane
from road_kd_training.datasets.common.sample import RgbdSample

PLANE_SIZE = (288, 512)
"""(h, w) at which the plane of a whole frame is fitted, as the node does."""

ROAD_PLANE = "road_plane"
"""Key of `RgbdSample.meta` that holds a plane fitted before."""


class Window(NamedTuple):
    """In the sample's pixels; it may reach beyond the image."""

    top: int
    left: int
    height: int
    width: int


def scaled_size(size: Sequence[int], factor: float) -> tuple[int, int]:
    """(h, w) times a factor, rounded."""
    return round(size[0] * factor), round(size[1] * factor)


def cut(
    image: NDArray[Any], window: Window, size: tuple[int, int], mirrored: bool, interpolation: int, outside: int
) -> NDArray[Any]:
    """What a window shows: (H, W) or (H, W, C) → (h, w) or (h, w, C); `outside` is the value beside the image."""
    top, left, height, width = window
    rows, columns = image.shape[:2]
    inside = image[max(top, 0) : top + height, max(left, 0) : left + width]
    beside = (max(-top, 0), max(top + height - rows, 0), max(-left, 0), max(left + width - columns, 0))
    if any(beside):
        inside = cv2.copyMakeBorder(inside, *beside, cv2.BORDER_CONSTANT, value=(outside,) * 3)
    resized = cv2.resize(inside, size[::-1], interpolation=interpolation)
    return cv2.flip(resized, 1) if mirrored else resized


def sample_plane(sample: RgbdSample) -> NDArray[np.float32]:
    """The road plane of a whole frame, (3,): a, b, c with u and v in [-1, 1] over the image; zeros without one.

    A pothole that fills a window would tilt a plane that is fitted to it, so windows take the whole frame's.
    """
    if ROAD_PLANE in sample.meta:
        plane: NDArray[np.float32] = sample.meta[ROAD_PLANE]
        return plane
    if sample.depth_m is None:
        return np.zeros(3, np.float32)
    depth_m = resize_depth(torch.from_numpy(np.ascontiguousarray(sample.depth_m))[None], PLANE_SIZE)
    valid = torch.isfinite(depth_m) & (depth_m > 0)
    fitted = fit_road_plane(torch.where(valid, 1 / depth_m, 0))[0][0]
    return fitted.numpy().astype(np.float32)


def plane_in_window(
    plane: NDArray[np.float32], sides: tuple[int, int], window: Window, size: tuple[int, int], mirrored: bool
) -> NDArray[np.float32]:
    """The same plane with u and v in [-1, 1] over the example that a window becomes, (3,).

    Args:
        plane: of the whole frame.
        sides: (H, W).
        window: what is cut.
        size: (h, w).
        mirrored: whether the example is the window's mirror image.
    """
    a, b, c = plane
    (v_scale, v_offset), (u_scale, u_offset) = (
        _axis(side, start, length, pixels)
        for side, start, length, pixels in zip(sides, window[:2], window[2:], size, strict=True)
    )
    sign = -1 if mirrored else 1
    return np.array([sign * a * u_scale, b * v_scale, c + a * u_offset + b * v_offset], np.float32)


def _axis(side: int, start: int, length: int, pixels: int) -> tuple[float, float]:
    """Scale and offset from an example's coordinate in [-1, 1] to the frame's, along one axis."""
    first, last = (start + (index + 0.5) * length / pixels - 0.5 for index in (0, pixels - 1))
    low, high = (2 * position / max(1, side - 1) - 1 for position in (first, last))
    return (high - low) / 2, (high + low) / 2


def plane_image(plane: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """1/z of a plane at every pixel, (h, w)."""
    v, u = (np.linspace(-1, 1, side, dtype=np.float32) for side in size)
    image: NDArray[np.float32] = plane[0] * u + plane[1] * v[:, None] + plane[2]
    return image


def scale_relief(depth_m: NDArray[np.float32], plane: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Depth whose distance to a plane, in inverse depth, is multiplied; (h, w), 0 stays 0.

    What would lie beyond 1 km becomes invalid.
    """
    valid = depth_m > 0
    inverse = 1 / np.where(valid, depth_m, 1)
    fitted = plane_image(plane, depth_m.shape[:2] if depth_m.ndim == 2 else depth_m.shape)
    scaled = fitted + np.float32(factor) * (inverse - fitted)
    valid &= scaled > 1e-3
    return np.where(valid, 1 / np.where(valid, scaled, 1), 0).astype(np.float32)


def far_end(label: NDArray[np.uint8]) -> tuple[int, int] | None:
    """(row, column) of the far end of what is labeled other than background (0); None if nothing is.

    The column is that of a random labeled pixel in the 16 rows below.
    """
    road = (label != 0) & (label != IGNORE_INDEX)
    rows = np.flatnonzero(road.any(1))
    if not len(rows):
        return None
    columns = np.flatnonzero(road[rows[0] : rows[0] + 16].any(0))
    return int(rows[0]), int(columns[int(torch.randint(len(columns), ()))])
