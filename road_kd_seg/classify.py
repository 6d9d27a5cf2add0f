# SPDX-License-Identifier: Apache-2.0
"""Logits to what the camera's pixels show: softmax, bilinear upsampling, the most probable class.

`classify` is the definition, for tensors on any device; `label_array` gives the same labels on a CPU for a fraction of
the time. B batch, K classes, H W camera size, h w size of the logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from road_kd_seg.preprocess.input_spec import InputSpec


def classify(logits: Tensor, size: tuple[int, int], spec: InputSpec, background_id: int) -> tuple[Tensor, Tensor]:
    """Network output to camera resolution.

    Args:
        logits: (B, K, h, w).
        size: the camera's (H, W).
        spec: its crop says where the logits lie; outside it everything is background with confidence 0.
        background_id: class of what lies outside the crop.

    Returns:
        Probability of the winning class, float32 (B, H, W), and its id, uint8 (B, H, W).
    """
    # Not argmax: over (B, K, H, W) on a CPU it takes thirty times as long as max.
    confidence, label = _probabilities_in_crop(logits, size, spec).max(dim=1)
    label = label.to(torch.uint8)
    if confidence.shape[1:] != size:
        margins = _margins(size, spec)
        confidence, label = F.pad(confidence, margins), F.pad(label, margins, value=background_id)
    return confidence, label


def class_probabilities(logits: Tensor, size: tuple[int, int], spec: InputSpec, background_id: int) -> Tensor:
    """Network output to camera resolution, all classes; arguments as for `classify`.

    Returns:
        (B, K, H, W), sums to 1 at every pixel; outside the crop background has it all.
    """
    probability = _probabilities_in_crop(logits, size, spec)
    if probability.shape[2:] != size:
        margins = _margins(size, spec)
        inside, probability = torch.ones_like(probability[:, 0]), F.pad(probability, margins)
        probability[:, background_id] += 1 - F.pad(inside, margins)
    return probability


def probabilities_of(class_ids: Sequence[int], logits: Tensor, size: tuple[int, int], spec: InputSpec) -> Tensor:
    """Probabilities of some classes, (B, len(class_ids), H, W), 0 outside the crop; arguments as for `classify`."""
    probability = _probabilities_in_crop(logits, size, spec, class_ids)
    return probability if probability.shape[2:] == size else F.pad(probability, _margins(size, spec))


def label_array(
    logits: NDArray[np.float32], size: tuple[int, int], spec: InputSpec, background_id: int
) -> NDArray[np.uint8]:
    """The labels of `classify` for one image, exactly, without softmax and interpolation at most pixels.

    A pixel mixes the probabilities of four logits, and a mixture keeps the order: where one class wins at all four, it
    wins in between. Only in the other cells, along borders of classes, are pixels computed.

    Args:
        logits: (K, h, w), K below 255.
        size: the camera's (H, W).
        spec: as for `classify`.
        background_id: as for `classify`.

    Returns:
        (H, W), memory of its own.
    """
    top, left, bottom, right = spec.crop_box(*size)
    inside = _label_in_crop(logits, (bottom - top, right - left))
    if inside.shape == size:
        return inside
    label = np.full(size, background_id, np.uint8)
    label[top:bottom, left:right] = inside
    return label


def _label_in_crop(logits: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.uint8]:
    winner = _argmax(logits)
    if winner.shape == size:
        return winner
    rows, columns = (_axis(new, old) for new, old in zip(size, winner.shape, strict=True))
    label: NDArray[np.uint8] = winner.take(columns.nearby, axis=1)[rows.nearby]
    around = cv2.copyMakeBorder(winner, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    mixed = around[1:, 1:] != around[:-1, :-1]
    mixed |= (around[1:, 1:] != around[1:, :-1]) | (around[1:, 1:] != around[:-1, 1:])
    mixed &= rows.occupied[:, None] & columns.occupied
    row, column = np.divmod(np.flatnonzero(mixed), mixed.shape[1])
    # N comes last in everything: NumPy is slow in loops over the few pixels of a cell.
    down, across = rows.shares.take(row, axis=1)[:, None], columns.shares.take(column, axis=1)  # (sy, 1, N), (sx, N)
    above, below = (
        before[:, None, None] * (1 - across) + after[:, None, None] * across
        for before, after in _corner_probabilities(logits, row, column)
    )
    pixels = rows.pixels.take(row, axis=1)[:, None] * size[1] + columns.pixels.take(column, axis=1)  # (sy, sx, N)
    label.reshape(-1)[pixels] = _argmax(above * (1 - down) + below * down)
    return label


def _corner_probabilities(
    logits: NDArray[np.float32], row: NDArray[np.intp], column: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Class probabilities at the corners of N cells, (above or below, left or right, K, N)."""
    classes, height, width = logits.shape
    top, bottom = np.maximum(row - 1, 0) * width, np.minimum(row, height - 1) * width
    left, right = np.maximum(column - 1, 0), np.minimum(column, width - 1)
    corners = logits.reshape(classes, -1).take(
        np.stack((top + left, top + right, bottom + left, bottom + right)), axis=1
    )
    corners -= corners.max(axis=0)  # (K, 4, N)
    np.exp(corners, out=corners)
    corners /= corners.sum(axis=0)
    probabilities: NDArray[np.float32] = corners.transpose(1, 0, 2).reshape(2, 2, classes, -1)
    return probabilities


def _argmax(scores: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Class of the largest score along the first axis, the first of equals."""
    best, label = scores[0].copy(), np.zeros(scores.shape[1:], np.uint8)
    for index, score in enumerate(scores[1:], start=1):
        better = (score > best).view(np.uint8)
        np.maximum(label, better * np.uint8(index), out=label)  # later classes have larger ids
        np.maximum(best, score, out=best)
    return label


@dataclass(frozen=True, slots=True)
class _Axis:
    """Where an axis' `new` pixels lie between the `old` ones, as bilinear interpolation sees it. Cell i is what lies
    between the old pixels i - 1 and i, repeated at the border; s is the number of new pixels in the fullest cell."""

    nearby: NDArray[np.intp]
    """An old pixel beside each new one, (new,)."""
    occupied: NDArray[np.bool_]
    """Whether there is a new pixel in a cell, (old + 1,)."""
    pixels: NDArray[np.intp]
    """The new pixels of each occupied cell, (s, old + 1); those of emptier cells repeat one of theirs."""
    shares: NDArray[np.float32]
    """How much of the cell's second old pixel is mixed into each of them, 0 to 1, (s, old + 1)."""


@lru_cache(maxsize=16)
def _axis(new: int, old: int) -> _Axis:
    position = (np.arange(new, dtype=np.float32) + np.float32(0.5)) * np.float32(old / new) - np.float32(0.5)
    before = np.floor(position).clip(-1, old - 1)
    cell = before.astype(np.intp) + 1
    begin, end = (np.searchsorted(cell, np.arange(old + 1), side) for side in ("left", "right"))
    pixels = np.minimum(begin + np.arange((end - begin).max())[:, None], end - 1).clip(min=0)
    return _Axis(cell.clip(max=old - 1), begin < end, pixels, (position - before).astype(np.float32)[pixels])


def _probabilities_in_crop(
    logits: Tensor, size: tuple[int, int], spec: InputSpec, class_ids: Sequence[int] | None = None
) -> Tensor:
    top, left, bottom, right = spec.crop_box(*size)
    probability = logits.softmax(dim=1)
    if class_ids is not None:
        probability = probability[:, list(class_ids)]
    if probability.shape[2:] != (bottom - top, right - left):
        probability = F.interpolate(probability, (bottom - top, right - left), mode="bilinear", align_corners=False)
    return probability


def _margins(size: tuple[int, int], spec: InputSpec) -> tuple[int, int, int, int]:
    """What `F.pad` adds around the crop: left, right, top, bottom."""
    top, left, bottom, right = spec.crop_box(*size)
    return left, size[1] - right, top, size[0] - bottom
