# SPDX-License-Identifier: Apache-2.0
"""KD: distilling the knowledge in a neural network (Hinton et al., 2015), pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import Distiller, Needs, NetworkInfo
from road_kd_training.distillers.common.functional import (
    check_same_shape,
    check_temperature,
    mean_over,
    paired_logits,
    valid_pixels,
)


def soft_target_kl(student: Tensor, teacher: Tensor, temperature: float = 1.0, valid: Tensor | None = None) -> Tensor:
    """KL divergence between the softened distributions over the channels of each pixel, times T².

    Args:
        student: logits (B, K, H, W), or any activations.
        teacher: the same shape; no gradient flows into it.
        temperature: T, divides the logits; the factor T² keeps the gradient's size.
        valid: bool (B, H, W), the pixels that count; None for all.

    Returns:
        Scalar, averaged over the valid pixels.

    Raises:
        ShapeMismatch: different shapes.
    """
    check_same_shape("soft_target_kl", student, teacher, hint="feed both networks the same images")
    log_s = (student / temperature).log_softmax(dim=1)
    log_t = (teacher.detach() / temperature).log_softmax(dim=1)
    return temperature**2 * mean_over((log_t.exp() * (log_t - log_s)).sum(dim=1), valid)


@dataclass(frozen=True)
class SoftTargetsConfig:
    """Settings of KD."""

    temperature: float = 1.0
    """Softens both distributions; above 0. 1 in segmentation (SKD, CIRKD), 4 in classification."""


class SoftTargets(Distiller):
    """Hinton et al. 2015: the teacher's probabilities as soft targets of every pixel that is not ignored."""

    Config = SoftTargetsConfig
    paper = "Hinton et al., NIPS workshop 2014, arXiv 1503.02531, 2015"
    needs = Needs(unlabeled=True)
    default_weights: ClassVar = {"soft_target_kl": 1.0}

    def __init__(self, config: SoftTargetsConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        check_temperature("kd", config.temperature)

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`; of the labels only "ignore" is used."""
        valid = None if target is None else valid_pixels(target)
        logits = paired_logits(student, teachers[0])
        return {"soft_target_kl": soft_target_kl(*logits, self.config.temperature, valid)}
