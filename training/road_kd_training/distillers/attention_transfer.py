# SPDX-License-Identifier: Apache-2.0
"""Attention transfer (Zagoruyko and Komodakis, "Paying More Attention to Attention", ICLR 2017).

B batch, C channels, H W size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from road_kd_training.distillers.common.base import Needs
from road_kd_training.distillers.common.functional import TapPair, align_spatial
from road_kd_training.distillers.common.taps import TapDistiller


def attention_map(features: Tensor, size: Sequence[int] | None = None, power: float = 2.0) -> Tensor:
    """Spatial attention: the channels' mean of |x|^p, of unit L2 norm over the image.

    Args:
        features: (B, C, h, w).
        size: (H, W) to resize to, bilinearly, before the map is normalized; None for the features' own.
        power: p.

    Returns:
        (B, H, W); unchanged by a scale.
    """
    # Of unit peak, so that neither the powers overflow nor the normalization's epsilon matters; the scale cancels.
    magnitude = features.abs()
    peak = magnitude.detach().amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-12)
    energy = (magnitude / peak).pow(power).mean(dim=1, keepdim=True)
    aligned = energy if size is None else align_spatial(energy, size)
    return F.normalize(aligned.flatten(1), dim=1).view(aligned.shape[0], *aligned.shape[-2:])


def attention_loss(student: Tensor, teacher: Tensor, power: float = 2.0) -> Tensor:
    """Squared difference of the attention maps, summed over pixels and averaged over the batch (IntRA-KD, Eq. 6).

    Args:
        student: (B, Cs, h, w); its map is resized to the teacher's size.
        teacher: (B, Ct, H, W); no gradient flows into it.
        power: p.
    """
    theirs = attention_map(teacher.detach(), power=power)
    return (attention_map(student, theirs.shape[-2:], power) - theirs).square().sum(dim=(1, 2)).mean()


def attention_transfer(student: Tensor, teacher: Tensor, power: float = 2.0) -> Tensor:
    """`attention_loss` as a mean over pixels, as the common public implementation has it."""
    return attention_loss(student, teacher, power) / teacher.shape[-2:].numel()


@dataclass(frozen=True)
class AttentionTransferConfig:
    """Where attention is compared."""

    taps: tuple[TapPair, ...]
    """(student tap, teacher tap) pairs; `logits` is the score map."""
    power: float = 2.0
    """p of the attention map."""


class AttentionTransfer(TapDistiller):
    """Activation-based attention transfer, with the mean and the weight of its common public implementation."""

    Config = AttentionTransferConfig
    paper = "Zagoruyko and Komodakis, ICLR 2017"
    needs = Needs(features=True)
    default_weights: ClassVar = {"attention": 1000.0}
    term = "attention"

    def compare(self, index: int, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """See `TapDistiller.compare`; labels are not consulted."""
        return attention_transfer(student, teacher, self.config.power)
