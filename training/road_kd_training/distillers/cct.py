# SPDX-License-Identifier: Apache-2.0
"""CCT: semi-supervised semantic segmentation with cross-consistency training (Ouali et al., CVPR 2020).

Deviations: an auxiliary decoder is a 1x1 convolution and bilinear enlargement, not sub-pixel convolutions, and
there is one per perturbation, not up to six: seven predictions of 5 classes at 576x1024 take 80 MB per sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import Distiller, Needs, NetworkInfo
from road_kd_training.distillers.common.functional import align_spatial, full_precision, take_tap
from road_kd_training.distillers.common.perturbations import PERTURBATIONS, adversarial_noise
from road_kd_training.errors import TrainingError

_NAMES = (*PERTURBATIONS, "vat")


def consistency_loss(auxiliary: Tensor, main: Tensor) -> Tensor:
    """Mean squared difference of an auxiliary decoder's probabilities and the main ones (Eq. 2).

    Args:
        auxiliary: logits (B, K, h, w), enlarged bilinearly to the main size.
        main: probabilities (B, K, H, W); no gradient flows into them.
    """
    return (align_spatial(auxiliary, main.shape[-2:]).softmax(dim=1) - main.detach()).square().mean()


def ramp_up(step: int, ramp_steps: int) -> float:
    """exp(-5·(1 - t)²) with t from 0 to 1 over `ramp_steps`, then 1."""
    t = min(1.0, step / ramp_steps) if ramp_steps > 0 else 1.0
    return math.exp(-5 * (1 - t) ** 2)


@dataclass(frozen=True)
class CctConfig:
    """Settings of CCT."""

    tap: str = "encoder5"
    """The student's tap that is perturbed and decoded: the encoder's output."""
    perturbations: tuple[str, ...] = _NAMES
    """Any of feature_noise, feature_drop, channel_dropout, object_masking, context_masking, guided_cutout, vat."""
    ramp_steps: int = 1000
    """Steps over which the term grows to its full size; 0 for none. The paper's: a tenth of the training."""


class Cct(Distiller):
    """CCT (Ouali et al., CVPR 2020): auxiliary decoders on perturbed features agree with the main prediction.

    No teacher. The auxiliary decoders train with the student and are dropped after training.
    """

    Config = CctConfig
    paper = "Ouali et al., CVPR 2020"
    needs = Needs(features=True, unlabeled=True, min_teachers=0, max_teachers=0)
    default_weights: ClassVar = {"consistency": 30.0}

    def __init__(self, config: CctConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        unknown = set(config.perturbations) - set(_NAMES)
        if unknown or not config.perturbations:
            raise TrainingError(
                f"CCT: perturbations is {config.perturbations}, expected one or more of {', '.join(_NAMES)}"
            )
        channels = student.tap(config.tap).channels
        self.decoders = nn.ModuleList(
            nn.Conv2d(channels, student.num_classes, 1, bias=False) for _ in config.perturbations
        )

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`; `target` is not used."""
        features = take_tap(student, self.student_info, self.config.tap)
        main = full_precision(student.logits).detach().softmax(dim=1)
        losses = []
        for name, decoder in zip(self.config.perturbations, self.decoders, strict=True):
            vat = name == "vat"
            perturbed = adversarial_noise(features, decoder) if vat else PERTURBATIONS[name](features, main)
            losses.append(consistency_loss(decoder(perturbed), main))
        return {"consistency": ramp_up(step, self.config.ramp_steps) * torch.stack(losses).mean()}
