# SPDX-License-Identifier: Apache-2.0
"""What several distillation methods share: taps, sizes, valid pixels. B batch, C channels, K classes, H W size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from road_kd_seg.errors import ShapeMismatch
from road_kd_seg.frame import IGNORE_INDEX
from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import NetworkInfo
from road_kd_training.errors import TrainingError

TapPair = tuple[str, str]
"""A student's tap and the teacher's tap that it imitates."""


class PairedFeatures(NamedTuple):
    """The features of one `TapPair`."""

    where: str
    """Both taps in words, for messages."""
    student: Tensor
    """(B, Cs, h, w), with gradient."""
    teacher: Tensor
    """(B, Ct, H, W), without gradient."""


def full_precision(x: Tensor) -> Tensor:
    """The same values in float32 (float64 stays): sums over pixels overflow or lose small terms in half precision."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def align_spatial(x: Tensor, size: Sequence[int], mode: str = "bilinear") -> Tensor:
    """Resize a map (B, C, h, w) to `size` (H, W); without aligned corners, and not at all where the sizes agree."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, tuple(size), mode=mode, align_corners=False if mode in ("bilinear", "bicubic") else None)


def resize_labels(target: Tensor, size: Sequence[int]) -> Tensor:
    """Class ids (B, H, W) at another size (h, w), by nearest neighbor: int64 (B, h, w)."""
    return align_spatial(target[:, None].float(), size, mode="nearest")[:, 0].long()


def valid_pixels(target: Tensor) -> Tensor:
    """Where a label (B, H, W) is not 255 = ignore: bool (B, H, W)."""
    return target != IGNORE_INDEX


def mean_over(values: Tensor, valid: Tensor | None) -> Tensor:
    """Mean of per-pixel values (B, H, W) over the valid ones; all where `valid` is None, 0 where none is valid."""
    if valid is None:
        return values.mean()
    return torch.where(valid, values, 0).sum() / valid.sum().clamp(min=1)


def check_same_shape(where: str, student: Tensor, teacher: Tensor, *, hint: str) -> None:
    """Refuse a student's tensor that cannot be compared with the teacher's.

    Raises:
        ShapeMismatch: the message begins with `where` and holds both shapes.
    """
    if student.shape != teacher.shape:
        raise ShapeMismatch(where, student.shape, teacher.shape, hint=hint)


def check_tap_pairs(
    method: str, student: NetworkInfo, teacher: NetworkInfo, pairs: Sequence[TapPair], min_taps: int = 1
) -> None:
    """Refuse taps that a network does not have, before the first step.

    Raises:
        TrainingError: fewer than `min_taps` pairs, a pair twice, or an unknown tap; the message lists those that exist.
    """
    if not pairs:
        raise TrainingError(f"{method}: no taps are configured, expected at least one (student tap, teacher tap) pair")
    if len(pairs) < min_taps:
        raise TrainingError(
            f"{method}: one pair of taps is configured, expected {min_taps} or more: it compares neighbors"
        )
    if len(set(pairs)) != len(pairs):
        raise TrainingError(f"{method}: taps {pairs} name a pair twice: list each pair once")
    for student_tap, teacher_tap in pairs:
        student.tap(student_tap)
        teacher.tap(teacher_tap)


def take_tap(output: SegOutput, info: NetworkInfo, name: str) -> Tensor:
    """One tap of a network's output, at least in float32: (B, C, h, w).

    Raises:
        TrainingError: the output lacks the tap.
        ShapeMismatch: not (B, C, h, w) with the batch of the logits and the channels that the network announced.
    """
    if name not in output.features:
        raise TrainingError(
            f"network '{info.name}' returned no tap '{name}', only {', '.join(output.features)}:"
            " its feature_info and its forward disagree"
        )
    features = output.features[name]
    expected = (output.logits.shape[0], info.tap(name).channels, *features.shape[2:4])
    if features.ndim != 4 or features.shape != expected:
        raise ShapeMismatch(
            f"tap '{name}' of '{info.name}'", features.shape, expected, hint="return (B, C, h, w) as feature_info says"
        )
    return full_precision(features)


def paired_taps(
    student: SegOutput,
    teacher: SegOutput,
    student_info: NetworkInfo,
    teacher_info: NetworkInfo,
    pairs: Sequence[TapPair],
) -> list[PairedFeatures]:
    """The features of every pair, the teacher's detached.

    Raises:
        TrainingError: a tap is missing.
        ShapeMismatch: wrong channels, or different batches.
    """
    found = []
    for student_tap, teacher_tap in pairs:
        where = f"student tap '{student_tap}' against teacher tap '{teacher_tap}'"
        ours = take_tap(student, student_info, student_tap)
        theirs = take_tap(teacher, teacher_info, teacher_tap).detach()
        if ours.shape[0] != theirs.shape[0]:
            raise ShapeMismatch(where, ours.shape, theirs.shape, hint="feed both networks the same batch")
        found.append(PairedFeatures(where, ours, theirs))
    return found


def paired_logits(student: SegOutput, teacher: SegOutput) -> tuple[Tensor, Tensor]:
    """The logits of both, at least in float32, the teacher's detached: (B, K, H, W) each.

    Raises:
        ShapeMismatch: their shapes differ.
    """
    check_same_shape(
        "student logits against teacher logits",
        student.logits,
        teacher.logits,
        hint="feed both networks the same images and classes",
    )
    return full_precision(student.logits), full_precision(teacher.logits).detach()


def check_temperature(method: str, temperature: float) -> None:
    """Refuse a temperature that is not a positive finite number.

    Raises:
        TrainingError: it is not.
    """
    if not 0 < temperature < float("inf"):
        raise TrainingError(f"{method}: temperature is {temperature}, expected a positive number: 1 changes nothing")


def require_target(method: str, target: Tensor | None) -> Tensor:
    """The labels, for a method that cannot do without.

    Raises:
        TrainingError: there are none.
    """
    if target is None:
        raise TrainingError(f"{method}: needs labels, but the batch has none: leave unlabeled images out of the run")
    return target


def class_weight_tensor(method: str, weights: Sequence[float], num_classes: int) -> Tensor | None:
    """Weights of the classes as (K,); None for none, which is equal ones.

    Raises:
        TrainingError: another number than the classes', or one that is not positive.
    """
    if weights and (len(weights) != num_classes or min(weights) <= 0):
        raise TrainingError(
            f"{method}: class_weights are {tuple(weights)}, expected {num_classes} positive numbers, or none"
        )
    return torch.tensor(weights) if weights else None


def supervised_loss(logits: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Cross entropy, averaged over the labeled pixels by the weights of their classes; 0 where none is labeled.

    Args:
        logits: (B, K, H, W).
        target: class ids (B, H, W), 255 = ignore.
        class_weights: (K,), or None for equal ones.
    """
    weights = logits.new_ones(logits.shape[1]) if class_weights is None else class_weights
    total = F.cross_entropy(logits, target, weights, ignore_index=IGNORE_INDEX, reduction="sum")
    counts = torch.bincount(target[target != IGNORE_INDEX], minlength=len(weights))
    return total / (counts * weights).sum().clamp_min(torch.finfo(logits.dtype).tiny)
