# SPDX-License-Identifier: Apache-2.0
"""DKS: deeply-supervised knowledge synergy (Sun et al., CVPR 2019), pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from road_kd_seg.frame import IGNORE_INDEX
from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import Distiller, Needs, NetworkInfo
from road_kd_training.distillers.common.functional import (
    align_spatial,
    full_precision,
    mean_over,
    take_tap,
    valid_pixels,
)
from road_kd_training.errors import TrainingError


def synergy_loss(logits: Sequence[Tensor], valid: Tensor | None = None) -> Tensor:
    """Every classifier learns from every other: cross entropy against its probabilities, summed over ordered pairs.

    Args:
        logits: two or more of (B, K, H, W), all with gradient; none flows through a target.
        valid: bool (B, H, W), the pixels that count; None for all.

    Returns:
        Scalar, averaged over the valid pixels.
    """
    log_p = [one.log_softmax(dim=1) for one in logits]
    losses = [
        mean_over(-(log_p[target].detach().exp() * log_p[learner]).sum(dim=1), valid)
        for target, learner in permutations(range(len(log_p)), 2)
    ]
    return torch.stack(losses).sum()


@dataclass(frozen=True)
class DksConfig:
    """Settings of DKS."""

    taps: tuple[str, ...] = ("block2", "block3")
    """Taps of the student that get a classifier: a 1x1 convolution, enlarged bilinearly to the logits' size."""


class Dks(Distiller):
    """DKS (Sun et al., CVPR 2019): self-distillation; auxiliary classifiers and the synergy of all pairs.

    The classifiers train with the student and are dropped after training.
    """

    Config = DksConfig
    paper = "Sun et al., CVPR 2019"
    needs = Needs(features=True, labels=True, min_teachers=0, max_teachers=0)
    default_weights: ClassVar = {"auxiliary_ce": 1.0, "synergy": 1.0}

    def __init__(self, config: DksConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        if not config.taps:
            raise TrainingError("DKS: no taps are configured, expected one or more to put a classifier on")
        self.classifiers = nn.ModuleList(
            nn.Conv2d(student.tap(name).channels, student.num_classes, 1) for name in config.taps
        )

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`.

        Raises:
            TrainingError: no labels.
        """
        if target is None:
            raise TrainingError("DKS: target is None, expected labels: its classifiers learn from them")
        size = student.logits.shape[-2:]
        auxiliary = [
            align_spatial(classifier(take_tap(student, self.student_info, name)), size)
            for classifier, name in zip(self.classifiers, self.config.taps, strict=True)
        ]
        valid = valid_pixels(target)
        losses = [
            mean_over(F.cross_entropy(logits, target, ignore_index=IGNORE_INDEX, reduction="none"), valid)
            for logits in auxiliary
        ]
        return {
            "auxiliary_ce": torch.stack(losses).sum(),
            "synergy": synergy_loss([full_precision(student.logits), *auxiliary], valid),
        }
