# SPDX-License-Identifier: Apache-2.0
"""Methods that compare activations of student and teacher, tap by tap; the logits are the tap named `logits`.

B batch, C channels, K classes, H W size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar
from warnings import warn

import torch
from torch import Tensor, nn

from road_kd_seg.networks import FeatureInfo, SegOutput
from road_kd_training.distillers.common.base import Distiller, NetworkInfo
from road_kd_training.distillers.common.functional import (
    PairedFeatures,
    TapPair,
    align_spatial,
    check_tap_pairs,
    full_precision,
    paired_taps,
    valid_pixels,
)
from road_kd_training.errors import TrainingError

LOGITS = "logits"
"""The score map as a tap: (B, K, H, W), stride 1."""
LOGITS_TO_LOGITS: tuple[TapPair, ...] = ((LOGITS, LOGITS),)


class TapDistiller(Distiller):
    """A method that compares pairs of taps: by itself one term, the sum of `compare` over the configured pairs.

    The configuration has a field `taps` of (student tap, teacher tap) pairs. `self.channels` holds the channels of
    each pair, for adapters. Methods with several terms define `forward` on top of `pairs`.
    """

    term: ClassVar[str]
    """Name of the one term."""
    tap_teacher: int = 0
    """Index of the teacher whose taps are imitated."""

    def __init__(self, config: Any, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        self.taps: tuple[TapPair, ...] = tuple((str(ours), str(theirs)) for ours, theirs in config.taps)
        self.student_info = with_logits_tap(student)
        self.teacher_info = with_logits_tap(teachers[self.tap_teacher])
        check_tap_pairs(type(self).__name__, self.student_info, self.teacher_info, self.taps, self.needs.min_taps)
        self.channels = [
            (self.student_info.tap(ours).channels, self.teacher_info.tap(theirs).channels) for ours, theirs in self.taps
        ]

    def pairs(self, student: SegOutput, teachers: Sequence[SegOutput]) -> list[PairedFeatures]:
        """The activations of every pair, at least in float32, the teacher's detached.

        Raises:
            ShapeMismatch: wrong channels or different batches; the message names the taps and both shapes.
        """
        return paired_taps(
            _expose_logits(student),
            _expose_logits(teachers[self.tap_teacher]),
            self.student_info,
            self.teacher_info,
            self.taps,
        )

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`."""
        losses = [
            self.compare(index, pair.student, pair.teacher, target)
            for index, pair in enumerate(self.pairs(student, teachers))
        ]
        return {self.term: torch.stack(losses).sum()}

    def compare(self, index: int, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """Loss of pair `index`, a scalar.

        Args:
            index: which pair; adapters are kept in this order.
            student: (B, Cs, h, w).
            teacher: (B, Ct, H, W), without gradient.
            target: class ids (B, H', W') at the input's size, or None.
        """
        raise TypeError(f"{type(self).__name__} does not define compare")


def with_logits_tap(info: NetworkInfo) -> NetworkInfo:
    """The same network with its logits among its taps."""
    return dataclasses.replace(info, feature_info={**info.feature_info, LOGITS: FeatureInfo(info.num_classes, 1)})


def _expose_logits(output: SegOutput) -> SegOutput:
    return SegOutput(output.logits, {**output.features, LOGITS: output.logits})


def autocast_disabled(x: Tensor) -> AbstractContextManager[Any]:
    """A context without autocast, for matrix products whose sums must not be rounded to half precision."""
    return torch.autocast(x.device.type, enabled=False)


class ChannelAdapters(nn.ModuleList):
    """One adapter per pair that takes the student's map to the teacher's channels and size.

    Args:
        channels: (student, teacher) per pair.
        always: put a 1x1 convolution even where the channels agree, as hint-based methods do.
        bias: of the convolutions.
    """

    def __init__(self, channels: Sequence[tuple[int, int]], *, always: bool = False, bias: bool = True) -> None:
        super().__init__(
            nn.Conv2d(ours, theirs, 1, bias=bias) if always or ours != theirs else nn.Identity()
            for ours, theirs in channels
        )

    def adapt(self, index: int, student: Tensor, teacher: Tensor) -> Tensor:
        """(B, Cs, h, w) → (B, Ct, H, W), the teacher's shape; a smaller map is convolved before it is enlarged."""
        return align_spatial(full_precision(self[index](student)), teacher.shape[-2:])


def require_batch(method: str, batch: int, useful: int, why: str) -> None:
    """Refuse a batch of 1 where the images of a batch are compared with each other; warn where the loss is constant.

    Args:
        method: for the message.
        batch: B.
        useful: the smallest batch whose loss varies.
        why: the loss of a smaller batch, in words.

    Raises:
        TrainingError: a batch of 1.
    """
    if batch < 2:
        raise TrainingError(
            f"{method}: got a batch of {batch}, expected {useful} or more: it compares the images of a batch with each"
            " other; raise the batch size"
        )
    if batch < useful:
        warn(f"{method}: {why} of a batch of {batch} teaches nothing: use {useful} or more", stacklevel=3)


def common_size(student: Tensor, teacher: Tensor) -> tuple[int, int]:
    """The smaller height and the smaller width of two maps (B, C, H, W)."""
    return min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3])


def pixels_to_rows(x: Tensor, target: Tensor | None = None) -> Tensor:
    """(B, K, H, W) → (P, K): one row per pixel, without those labeled 255 in `target` (B, H, W)."""
    rows = x.movedim(1, -1)
    return rows.flatten(0, 2) if target is None else rows[valid_pixels(target)]


def mean_or_zero(values: Tensor) -> Tensor:
    """Mean of any number of values; 0, still with a gradient (of zero), of none: an image may be wholly ignored."""
    return values.sum() / max(1, values.numel())
