# SPDX-License-Identifier: Apache-2.0
"""Soft targets on every pixel, labeled or not, weighted by the classes that the teacher sees there.

KD (Hinton et al., 2015) as our own students use it: the teacher knows something where labels say "ignore", and without
class weights its term would dilute those of the cross entropy. Of several teachers, each an expert of other images,
every image has the one that knows it best. B batch, K classes, M teachers, H W size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from road_kd_seg.frame import IGNORE_INDEX
from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import Distiller, Needs, NetworkInfo
from road_kd_training.distillers.common.functional import (
    check_same_shape,
    check_temperature,
    class_weight_tensor,
    paired_logits,
)


def class_weighted_kl(
    student: Tensor, teacher: Tensor, temperature: float = 1.0, class_weights: Tensor | None = None
) -> Tensor:
    """KL divergence between the softened class probabilities of each pixel, times T², as a weighted mean.

    Args:
        student: logits (B, K, H, W).
        teacher: the same shape; no gradient flows into it.
        temperature: T, divides the logits.
        class_weights: (K,); a pixel weighs the mean of these under the teacher's probabilities. None: all alike.

    Returns:
        Scalar.

    Raises:
        ShapeMismatch: different shapes.
    """
    check_same_shape("class_weighted_kl", student, teacher, hint="feed both networks the same images")
    log_s = (student / temperature).log_softmax(dim=1)
    log_t = (teacher.detach() / temperature).log_softmax(dim=1)
    divergence = temperature**2 * (log_t.exp() * (log_t - log_s)).sum(dim=1)
    if class_weights is None:
        return divergence.mean()
    weight = torch.einsum("bkhw,k->bhw", teacher.detach().softmax(dim=1), class_weights)
    return (divergence * weight).sum() / weight.sum()


def best_teacher(
    teachers: Sequence[Tensor], target: Tensor | None = None, class_weights: Tensor | None = None
) -> Tensor:
    """Each image's logits from the teacher whose cross entropy against its labels is the lowest.

    Confidence-aware multi-teacher distillation (Zhang et al., ICASSP 2022) weighs teachers by the same measure, but
    softly: of experts, of which one is far off, what is wanted is the other alone.

    Args:
        teachers: logits, M times (B, K, H, W).
        target: class ids (B, H, W), 255 = ignore; None: no labels.
        class_weights: (K,), or None for equal ones.

    Returns:
        (B, K, H, W); of an image without any label, the mean of all.
    """
    every = torch.stack(tuple(teachers))  # (M, B, K, H, W)
    mean = every.mean(0)
    if len(every) == 1 or target is None:
        return mean
    errors = [F.cross_entropy(t, target, class_weights, ignore_index=IGNORE_INDEX, reduction="none") for t in every]
    best = torch.stack(errors).sum((2, 3)).argmin(0)  # (B,): the first of equals
    chosen = every[best, torch.arange(len(best), device=best.device)]
    labeled = (target != IGNORE_INDEX).any(2).any(1)
    return torch.where(labeled[:, None, None, None], chosen, mean)


@dataclass(frozen=True)
class DenseKdConfig:
    """Settings of dense KD."""

    temperature: float = 2.0
    """Softens both distributions; above 0."""
    class_weights: tuple[float, ...] = ()
    """One positive weight a class, as for the cross entropy; empty: all alike."""


class DenseKd(Distiller):
    """Soft targets on every pixel: mixtures and unlabeled images teach, too. Labels choose among several teachers."""

    Config = DenseKdConfig
    paper = "after Hinton et al., NIPS workshop 2014, arXiv 1503.02531, 2015"
    needs = Needs(unlabeled=True, max_teachers=8)
    default_weights: ClassVar = {"soft_target_kl": 1.0}
    class_weights: Tensor | None

    def __init__(self, config: DenseKdConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        check_temperature("dense_kd", config.temperature)
        weights = class_weight_tensor("dense_kd", config.class_weights, student.num_classes)
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`; with one teacher, the labels are not consulted."""
        pairs = [paired_logits(student, teacher) for teacher in teachers]
        teacher = best_teacher([logits for _, logits in pairs], target, self.class_weights)
        return {"soft_target_kl": class_weighted_kl(pairs[0][0], teacher, self.config.temperature, self.class_weights)}
