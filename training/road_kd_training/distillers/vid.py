# SPDX-License-Identifier: Apache-2.0
"""Variational information distillation (Ahn et al., CVPR 2019).

B batch, C channels, H W size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from road_kd_training.distillers.common.base import Needs, NetworkInfo
from road_kd_training.distillers.common.functional import TapPair, align_spatial, full_precision
from road_kd_training.distillers.common.taps import TapDistiller

_LOWEST_VARIANCE = 1e-5


def gaussian_nll(mean: Tensor, variance: Tensor, value: Tensor) -> Tensor:
    """Mean negative log density of `value` (B, C, H, W), without the constant log 2π / 2.

    Args:
        mean: (B, C, H, W).
        variance: (C,), positive.
        value: the teacher's features; no gradient flows into them.
    """
    spread = variance[:, None, None]
    return ((mean - value.detach()).square() / spread + spread.log()).mean() / 2


@dataclass(frozen=True)
class VidConfig:
    """Where information is transferred."""

    taps: tuple[TapPair, ...]
    """(student tap, teacher tap) pairs; `logits` is the score map."""
    initial_variance: float = 5.0
    """Of every channel before the first step, in squared units of the teacher's features."""


class Vid(TapDistiller):
    """A Gaussian around a regression of the student's features, with a learned variance for every teacher channel.

    The term is a negative log likelihood and may be negative.
    """

    Config = VidConfig
    paper = "Ahn et al., CVPR 2019"
    needs = Needs(features=True)
    default_weights: ClassVar = {"information": 1.0}
    term = "information"

    def __init__(self, config: VidConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        self.regressors = nn.ModuleList(_regressor(ours, theirs) for ours, theirs in self.channels)
        start = math.log(math.expm1(config.initial_variance - _LOWEST_VARIANCE))
        self.scales = nn.ParameterList(torch.full((theirs,), start) for _, theirs in self.channels)

    def compare(self, index: int, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """See `TapDistiller.compare`; labels are not consulted."""
        mean = align_spatial(full_precision(self.regressors[index](student)), teacher.shape[-2:])
        return gaussian_nll(mean, F.softplus(self.scales[index]) + _LOWEST_VARIANCE, teacher)


def _regressor(student_channels: int, teacher_channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(student_channels, teacher_channels, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(teacher_channels, teacher_channels, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(teacher_channels, teacher_channels, 1, bias=False),
    )
