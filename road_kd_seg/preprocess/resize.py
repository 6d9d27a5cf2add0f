# SPDX-License-Identifier: Apache-2.0
"""Camera images to the network's size. B batch, C channels, H W camera size, h w network size.

`resize_color` and `resize_depth` are the definition, for tensors on any device; `resize_color_array`,
`shrink_color_planes` and `resize_depth_array` do the same to one image on a CPU, in NumPy and OpenCV, for a fraction of
the time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

_Number = TypeVar("_Number", np.float32, np.uint16)

_SMALL_PRODUCT = 250_000
"""Multiplications of a matrix product that every BLAS does on the calling thread."""
_BAND_ROWS = 48
"""Rows of the camera's image that are resized at once, about: what is made of them stays in the cache."""


def resize_color(color: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize by the mean over each new pixel's area; where an axis grows, by linear interpolation.

    Args:
        color: float (B, C, H, W).
        size: (h, w).

    Returns:
        (B, C, h, w); `color` itself where nothing changes, as in training on windows.
    """
    if color.shape[2:] == size:
        return color
    if not _shrinks(color.shape[2:], size):
        return F.interpolate(color, size, mode="bilinear", align_corners=False)
    if color.shape[2] % size[0] == 0 and color.shape[3] % size[1] == 0:
        return F.interpolate(color, size, mode="area")
    # PyTorch's "area" counts a pixel that two new ones share whole in both; OpenCV, as here, by its shares.
    rows, columns = (_area_weights(a, b, color.device) for a, b in zip(color.shape[2:], size, strict=True))
    color = torch.matmul(rows, color.unflatten(2, (-1, rows.shape[1]))).flatten(2, 3)
    return torch.matmul(color.unflatten(3, (-1, columns.shape[1])), columns.T).flatten(3)


def resize_color_array(rgb: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """`resize_color` of one image (H, W, 3), rounded to 8 bits."""
    method = cv2.INTER_AREA if _shrinks(rgb.shape[:2], size) else cv2.INTER_LINEAR
    return cv2.resize(rgb, (size[1], size[0]), interpolation=method).astype(np.uint8, copy=False)


def suits_planes(old: tuple[int, int], new: tuple[int, int]) -> bool:
    """Whether `shrink_color_planes` is the fast way: where new pixels share old ones, which OpenCV is slow at, in a
    pattern that repeats soon, so that no product is so large that a BLAS starts threads for it."""
    if not _shrinks(old, new) or (old[0] % new[0] == 0 and old[1] % new[1] == 0):
        return False
    step_y, step_x = math.gcd(old[0], new[0]), math.gcd(old[1], new[1])
    products = (old[0] // step_y * (new[0] // step_y) * old[1], old[1] * (new[1] // step_x))
    return max(products) <= _SMALL_PRODUCT


def shrink_color_planes(
    rgb: NDArray[np.uint8], size: tuple[int, int], mean: Sequence[float], std: Sequence[float]
) -> NDArray[np.float32]:
    """`resize_color` of one image (H, W, 3) that shrinks, unrounded, minus `mean` and divided by `std`, (3, h, w)."""
    cpu = torch.device("cpu")
    rows, columns = (_area_weights(a, b, cpu).numpy() for a, b in zip(rgb.shape[:2], size, strict=True))
    scaled = np.ascontiguousarray(columns.T / np.array(std, np.float32)[:, None, None])
    offsets = np.array(mean, np.float32) / np.array(std, np.float32)
    patterns = max(1, _BAND_ROWS // rows.shape[1])
    old_rows, new_rows = patterns * rows.shape[1], patterns * rows.shape[0]
    color = np.empty((3, *size), np.float32)
    for index in range(-(-rgb.shape[0] // old_rows)):
        channels = cv2.split(rgb[index * old_rows : (index + 1) * old_rows])
        bands = color[:, index * new_rows : (index + 1) * new_rows]
        for band, channel, weights, offset in zip(bands, channels, scaled, offsets, strict=True):
            shrunk = rows @ channel.astype(np.float32).reshape(-1, rows.shape[1], rgb.shape[1])
            flat = band.reshape(-1, weights.shape[1])
            np.matmul(shrunk.reshape(-1, weights.shape[0]), weights, out=flat)
            flat -= offset
    return color


def resize_depth(depth_m: Tensor, size: tuple[int, int], *, smooth: bool = False) -> Tensor:
    """Resize depth by the valid pixel nearest to the middle of each new pixel, within the area that it covers.

    Averaging across an edge or a hole would invent surfaces; and depth that was registered to finer color without
    filling, a grid of holes, keeps its pixels.

    Args:
        depth_m: (B, H, W); 0 (or anything not finite and positive) is invalid.
        size: (h, w).
        smooth: interpolate 1/z between the four pixels around a point where all are valid. On a plane that is exact,
            whereas the uneven steps of sampling would make slopes uneven: what normals need.

    Returns:
        (B, h, w); where no pixel is valid, whichever lies in the middle. `depth_m` itself where nothing changes.
    """
    if depth_m.shape[1:] == size:
        return depth_m
    rows, columns = _footprint_tensors(depth_m.shape[1], depth_m.shape[2], size, depth_m.device)
    candidates = depth_m[:, rows, columns]  # (B, candidates, h, w)
    nearest = is_valid(candidates).byte().max(dim=1, keepdim=True).indices  # the first of equals
    sampled = candidates.gather(1, nearest)[:, 0]
    if not smooth:
        return sampled
    inverse_depth = torch.where(is_valid(depth_m), 1 / depth_m, torch.nan)[:, None]
    interpolated = 1 / F.interpolate(inverse_depth, size, mode="bilinear", align_corners=False)[:, 0]
    return torch.where(interpolated.isnan(), sampled, interpolated)


def resize_depth_array(depth: NDArray[_Number], size: tuple[int, int]) -> NDArray[_Number]:
    """`resize_depth` of one image (H, W), float or uint16, not smooth; what is invalid becomes 0."""
    resized: NDArray[_Number] = np.zeros(size, depth.dtype)
    slices = _footprint_slices(depth.shape[0], depth.shape[1], size)
    if slices is not None:
        for rows, columns in reversed(slices):  # the nearest comes last
            candidate = np.ascontiguousarray(depth[rows, columns])
            cv2.copyTo(candidate, is_valid(candidate).view(np.uint8), resized)
        return resized
    # Uneven steps are slow to read: all middles are read, and of the others those beside holes that may fill them.
    every_row, every_column = _footprint(depth.shape[0], depth.shape[1], size)
    middle, reach = _middles(depth.shape[0], depth.shape[1], size)
    flat = np.ascontiguousarray(depth).reshape(-1)
    candidate = flat.take(middle)
    valid = is_valid(candidate)
    cv2.copyTo(candidate, valid.view(np.uint8), resized)
    near_valid = cv2.dilate(is_valid(depth).view(np.uint8), np.ones(reach, np.uint8)).reshape(-1).take(middle)
    hole = np.flatnonzero(near_valid.view(bool) > valid)
    if hole.size == 0 or len(every_row) == 1:
        return resized
    row, column = np.divmod(hole, size[1])
    around = every_row[1:].take(row, axis=1) * depth.shape[1] + every_column[1:].take(column, axis=1)
    filled = np.zeros(len(hole), depth.dtype)
    for other in reversed(flat.take(around)):  # the nearest comes last
        cv2.copyTo(other, is_valid(other).view(np.uint8), filled)
    resized.reshape(-1)[hole] = filled
    return resized


def is_valid(depth: Any) -> Any:
    """Where a pixel of a tensor or array is a distance: not 0, negative, NaN or infinite; bool, of the same shape."""
    return depth > 0 if depth.dtype == np.uint16 else (depth > 0) & (depth < math.inf)


def _shrinks(old: torch.Size | tuple[int, ...], new: tuple[int, int]) -> bool:
    return old[0] >= new[0] and old[1] >= new[1]


@lru_cache(maxsize=16)
def _area_weights(old: int, new: int, device: torch.device) -> Tensor:
    """Share of each old pixel in each new one, (new, old); rows sum to 1. Up to where the pattern repeats: of 576 and
    384 pixels, (2, 3)."""
    old, new = old // math.gcd(old, new), new // math.gcd(old, new)
    edges = torch.arange(new + 1, dtype=torch.float64) * old / new
    pixels = torch.arange(old, dtype=torch.float64)
    overlap = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    return (overlap.clamp(min=0) * new / old).float().to(device)


@lru_cache(maxsize=16)
def _footprint(height: int, width: int, size: tuple[int, int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The pixels under each new pixel, nearest to its middle first: rows (candidates, h), columns (candidates, w).

    Every axis has as many candidates as the widest footprint; those outside a narrower one repeat its border.
    """
    middles, lows, highs = zip(*(_spans(a, b) for a, b in zip((height, width), size, strict=True)), strict=True)
    reaches = [
        range(int((low - middle).min()), int((high - middle).max()) + 1)
        for middle, low, high in zip(middles, lows, highs, strict=True)
    ]
    steps = sorted(((y, x) for y in reaches[0] for x in reaches[1]), key=lambda step: step[0] ** 2 + step[1] ** 2)
    rows, columns = (
        np.stack([np.clip(middles[axis] + step[axis], lows[axis], highs[axis]) for step in steps]) for axis in (0, 1)
    )
    return rows, columns


def _spans(old: int, new: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Middle, first and last old pixel under each new one."""
    index = np.arange(new)
    return (2 * index + 1) * old // (2 * new), index * old // new, -((-(index + 1) * old) // new) - 1


@lru_cache(maxsize=16)
def _footprint_slices(height: int, width: int, size: tuple[int, int]) -> list[tuple[slice, slice]] | None:
    """`_footprint` as slices; None where steps are not even."""
    every = [[_as_slice(one) for one in axis] for axis in _footprint(height, width, size)]
    slices = [(r, c) for r, c in zip(*every, strict=True) if r is not None and c is not None]
    return slices if len(slices) == len(every[0]) else None


def _as_slice(index: NDArray[np.intp]) -> slice | None:
    steps = np.unique(np.diff(index))
    if len(steps) == 1 and steps[0] > 0:
        return slice(int(index[0]), int(index[-1]) + 1, int(steps[0]))
    return None


@lru_cache(maxsize=16)
def _middles(height: int, width: int, size: tuple[int, int]) -> tuple[NDArray[np.intp], tuple[int, int]]:
    """Flat index (h, w) of the middle under each new pixel, and the size of a window around it that holds all of
    `_footprint`."""
    rows, columns = _footprint(height, width, size)
    reach_y, reach_x = (2 * int(np.abs(axis - axis[0]).max()) + 1 for axis in (rows, columns))
    return rows[0][:, None] * width + columns[0], (reach_y, reach_x)


@lru_cache(maxsize=16)
def _footprint_tensors(height: int, width: int, size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """`_footprint` to index (H, W) with: (candidates, h, 1) and (candidates, 1, w)."""
    rows, columns = (torch.from_numpy(index).to(device) for index in _footprint(height, width, size))
    return rows[:, :, None], columns[:, None, :]
