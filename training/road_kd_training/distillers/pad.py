# SPDX-License-Identifier: Apache-2.0
"""Prime-aware adaptive distillation (Zhang et al., ECCV 2020), on pixels.

B batch, C channels, H W size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from road_kd_training.distillers.common.base import Needs, NetworkInfo
from road_kd_training.distillers.common.functional import TapPair, align_spatial, full_precision
from road_kd_training.distillers.common.taps import ChannelAdapters, TapDistiller


def uncertain_regression(student: Tensor, teacher: Tensor, log_variance: Tensor) -> Tensor:
    """Mean of (s - t)² / σ² + log σ²; all (B, C, H, W), no gradient flows into the teacher."""
    return ((student - teacher.detach()).square() * (-log_variance).exp() + log_variance).mean()


@dataclass(frozen=True)
class PadConfig:
    """Where features are regressed."""

    taps: tuple[TapPair, ...]
    """(student tap, teacher tap) pairs; `logits` is the score map."""


class Pad(TapDistiller):
    """Feature regression whose pixels are weighted by a learned uncertainty: the easy ("prime") ones count more.

    The samples of the paper are pixels here; their variance is a 1x1 convolution of the student's features with batch
    norm. The term is a negative log likelihood and may be negative.
    """

    Config = PadConfig
    paper = "Zhang et al., ECCV 2020"
    needs = Needs(features=True)
    default_weights: ClassVar = {"uncertain_hint": 1.0}
    term = "uncertain_hint"

    def __init__(self, config: PadConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        self.regressors = ChannelAdapters(self.channels, always=True)
        self.log_variances = nn.ModuleList(
            nn.Sequential(nn.Conv2d(ours, theirs, 1, bias=False), nn.BatchNorm2d(theirs))
            for ours, theirs in self.channels
        )

    def compare(self, index: int, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """See `TapDistiller.compare`; labels are not consulted."""
        log_variance = align_spatial(full_precision(self.log_variances[index](student)), teacher.shape[-2:])
        return uncertain_regression(self.regressors.adapt(index, student, teacher), teacher, log_variance)
