# SPDX-License-Identifier: Apache-2.0
"""FitNets (Romero et al., ICLR 2015): hints.

B batch, C channels, H W size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from road_kd_training.distillers.common.base import Needs, NetworkInfo
from road_kd_training.distillers.common.functional import TapPair
from road_kd_training.distillers.common.taps import ChannelAdapters, TapDistiller


@dataclass(frozen=True)
class FitnetConfig:
    """Where the student is hinted."""

    taps: tuple[TapPair, ...]
    """(guided student tap, hint tap of the teacher) pairs; `logits` is the score map."""


class Fitnet(TapDistiller):
    """Mean squared error between a convolutional regression of the student's features and the teacher's.

    As in later comparisons, the hint is learned together with the task, not in a stage before it.
    """

    Config = FitnetConfig
    paper = "Romero et al., ICLR 2015"
    needs = Needs(features=True)
    default_weights: ClassVar = {"hint": 100.0}
    term = "hint"

    def __init__(self, config: FitnetConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        self.regressors = ChannelAdapters(self.channels, always=True)

    def compare(self, index: int, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """See `TapDistiller.compare`; labels are not consulted."""
        return F.mse_loss(self.regressors.adapt(index, student, teacher), teacher)
