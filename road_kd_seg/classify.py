"""Logits to what the camera's pixels show: softmax, bilinear upsampling, the most probable class.

`classify` is the definition, for tensors on any device; `label_array` gives the same labels on a CPU for a fraction of
the time. B batch, K classes, H W camera size, h w size of the logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from road_kd_seg.preprocess.input_spec import InputSpec

_MIXED = 255
"""In a map of cells: the four corners differ. No class has this id, it is the ignore index."""


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
    beside = np.concatenate((winner[:, 1:], winner[:, -1:]), axis=1)
    mixed = winner != beside
    mixed[:-1] |= (winner[:-1] != winner[1:]) | (winner[:-1] != beside[1:])
    label: NDArray[np.uint8] = np.where(mixed, np.uint8(_MIXED), winner).take(columns.first, axis=1)[rows.first]
    pixels = np.flatnonzero(label == _MIXED)
    if len(pixels):
        row, column = np.divmod(pixels, size[1])
        corners, rank = _corner_probabilities(logits, mixed)
        cell = rank[rows.first[row], columns.first[column]]
        down, across = rows.share[row], columns.share[column]
        weights = ((1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across)
        label.flat[pixels] = _argmax(sum(w * c.take(cell, axis=1) for w, c in zip(weights, corners, strict=True)))
    return label


def _corner_probabilities(
    logits: NDArray[np.float32], cells: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Class probabilities at the corners of N marked cells, (4, K, N), and each marked cell's place among
    them, (h, w)."""
    classes, height, width = logits.shape
    marked = np.flatnonzero(cells)
    top, left = np.divmod(marked, width)
    bottom, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    index = np.stack((top * width + left, top * width + right, bottom * width + left, bottom * width + right))
    corners = logits.reshape(classes, -1).take(index, axis=1)  # (K, 4, N)
    corners -= corners.max(axis=0)
    np.exp(corners, out=corners)
    corners /= corners.sum(axis=0)
    rank = np.empty((height, width), np.int32)
    rank.flat[marked] = np.arange(len(marked), dtype=np.int32)
    return corners.transpose(1, 0, 2), rank


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
    """Where an axis' new pixels lie between the old ones, as bilinear interpolation sees it."""

    first: NDArray[np.intp]
    """The old pixel before each new one."""
    share: NDArray[np.float32]
    """How much of the next old pixel is mixed in, 0 to 1."""


@lru_cache(maxsize=16)
def _axis(new: int, old: int) -> _Axis:
    position = np.maximum((np.arange(new, dtype=np.float32) + np.float32(0.5)) * np.float32(old / new) - 0.5, 0)
    first = np.minimum(position.astype(np.intp), old - 1)
    return _Axis(first, (position - first).astype(np.float32))


def _probabilities_in_crop(logits: Tensor, size: tuple[int, int], spec: InputSpec) -> Tensor:
    top, left, bottom, right = spec.crop_box(*size)
    probability = logits.softmax(dim=1)
    if probability.shape[2:] != (bottom - top, right - left):
        probability = F.interpolate(probability, (bottom - top, right - left), mode="bilinear", align_corners=False)
    return probability


def _margins(size: tuple[int, int], spec: InputSpec) -> tuple[int, int, int, int]:
    """What `F.pad` adds around the crop: left, right, top, bottom."""
    top, left, bottom, right = spec.crop_box(*size)
    return left, size[1] - right, top, size[0] - bottom
