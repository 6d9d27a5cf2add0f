# SPDX-License-Identifier: Apache-2.0
"""SAD: learning lightweight lane detection CNNs by self attention distillation (Hou et al., ICCV 2019).

The maps are the sum of squares over channels, resized, then a softmax over the image. A block learns from the next
one, whose map is a target without gradient, so that knowledge flows from deep to shallow only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import Distiller, Needs, NetworkInfo
from road_kd_training.distillers.common.functional import align_spatial, take_tap
from road_kd_training.errors import TrainingError


def softmax_attention(features: Tensor, size: Sequence[int]) -> Tensor:
    """Where the energy of the features lies, as a distribution over the image.

    Args:
        features: (B, C, h, w).
        size: (H, W) the energy is resized to, bilinearly, before the softmax.

    Returns:
        (B, H, W), each summing to 1.
    """
    energy = align_spatial(features.square().sum(dim=1, keepdim=True), size)
    return energy.flatten(1).softmax(dim=1).view(energy.shape[0], *energy.shape[-2:])


def self_attention_loss(shallow: Tensor, deep: Tensor) -> Tensor:
    """Squared difference of two blocks' attention, summed over pixels and averaged over the batch.

    Args:
        shallow: (B, C1, H, W).
        deep: (B, C2, h, w), the target; no gradient flows into it.
    """
    size = shallow.shape[-2:]
    return (softmax_attention(shallow, size) - softmax_attention(deep.detach(), size)).square().sum(dim=(1, 2)).mean()


@dataclass(frozen=True)
class SadConfig:
    """Settings of SAD."""

    taps: tuple[str, ...] = ("block2", "block3")
    """Taps of the student from shallow to deep, two or more; each learns from the next."""


class Sad(Distiller):
    """SAD (Hou et al., ICCV 2019): self-distillation, without a teacher; shallow attention imitates deep attention.

    The paper begins about half-way, once the deep attention is worth imitating: the recipe's `start_step`.
    """

    Config = SadConfig
    paper = "Hou et al., ICCV 2019"
    needs = Needs(features=True, unlabeled=True, min_teachers=0, max_teachers=0, min_taps=2)
    default_weights: ClassVar = {"self_attention": 0.1}

    def __init__(self, config: SadConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        for name in config.taps:
            student.tap(name)
        if len(config.taps) < self.needs.min_taps:
            raise TrainingError(f"SAD: taps is {config.taps}, expected two or more: each learns from the next")

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`; `target` is not used."""
        features = [take_tap(student, self.student_info, name) for name in self.config.taps]
        losses = [self_attention_loss(shallow, deep) for shallow, deep in pairwise(features)]
        return {"self_attention": torch.stack(losses).sum()}
