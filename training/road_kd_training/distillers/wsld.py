# SPDX-License-Identifier: Apache-2.0
"""WSLD, weighted soft labels (Zhou et al., "Rethinking Soft Labels for Knowledge Distillation", ICLR 2021), per pixel.

B batch, K classes, H W size, P labeled pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import Distiller, Needs, NetworkInfo
from road_kd_training.distillers.common.functional import check_temperature, paired_logits, require_target
from road_kd_training.distillers.common.taps import mean_or_zero, pixels_to_rows


def soft_label_weight(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """1 - exp(-L_s / L_t) with the cross entropies of both at temperature 1: small where the student is ahead.

    Args:
        student: logits (P, K).
        teacher: logits (P, K).
        labels: class ids (P,).

    Returns:
        (P,) in [0, 1], without gradient.
    """
    student_loss = F.cross_entropy(student.detach(), labels, reduction="none")
    teacher_loss = F.cross_entropy(teacher.detach(), labels, reduction="none")
    return -(-student_loss / (teacher_loss + 1e-7)).expm1()


@dataclass(frozen=True)
class WsldConfig:
    """The published settings."""

    temperature: float = 2.0
    """Softens both distributions."""


class Wsld(Distiller):
    """Soft labels weighted by how far the student is behind the teacher, pixel by pixel; the method knows images only.

    The KL divergence stands for the published cross entropy with the teacher: the weight has no gradient, so theirs
    are equal, and this one is 0 where the networks agree.
    """

    Config = WsldConfig
    paper = "Zhou et al., ICLR 2021"
    needs = Needs(labels=True)
    default_weights: ClassVar = {"weighted_kl": 2.5}

    def __init__(self, config: WsldConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        check_temperature("wsld", config.temperature)

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`.

        Raises:
            TrainingError: no labels.
        """
        target = require_target("wsld", target)
        temperature = self.config.temperature
        ours, theirs = (pixels_to_rows(logits, target) for logits in paired_logits(student, teachers[0]))
        labels = pixels_to_rows(target[:, None], target)[:, 0]
        log_s, log_t = (ours / temperature).log_softmax(dim=1), (theirs / temperature).log_softmax(dim=1)
        divergence = F.kl_div(log_s, log_t, log_target=True, reduction="none").sum(dim=1)
        return {"weighted_kl": mean_or_zero(soft_label_weight(ours, theirs, labels) * divergence) * temperature**2}
