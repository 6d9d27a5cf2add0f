"""Attention transfer (Zagoruyko and Komodakis, "Paying More Attention to Attention", ICLR 2017).

B batch, C channels, H W size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from road_kd_training.distillers.common.base import Needs, NetworkInfo
from road_kd_training.distillers.common.functional import TapPair, align_spatial
from road_kd_training.distillers.common.taps import TapDistiller


def attention_transfer(student: Tensor, teacher: Tensor, power: float = 2.0) -> Tensor:
    """Mean squared difference of attention maps: the channels' mean of |x|^p, of unit length over the image.

    Args:
        student: (B, Cs, h, w); the map is resized to the teacher's size.
        teacher: (B, Ct, H, W); no gradient flows into it.
        power: p.
    """
    ours = align_spatial(_attention(student, power), teacher.shape[-2:])
    theirs = _attention(teacher.detach(), power)
    return F.mse_loss(F.normalize(ours.flatten(1)), F.normalize(theirs.flatten(1)))


def _attention(x: Tensor, power: float) -> Tensor:
    # Of unit peak, so that the normalization's epsilon never matters; the scale cancels there.
    magnitude = x.abs()
    peak = magnitude.detach().amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-12)
    return (magnitude / peak).pow(power).mean(dim=1, keepdim=True)


@dataclass(frozen=True)
class AttentionTransferConfig:
    """Where attention is compared."""

    taps: tuple[TapPair, ...]
    """(student tap, teacher tap) pairs; `logits` is the score map."""
    power: float = 2.0
    """p of the attention map."""


class AttentionTransfer(TapDistiller):
    """Activation-based attention transfer, with the mean and the weight of its common public implementation."""

    paper = "Zagoruyko and Komodakis, ICLR 2017"
    needs = Needs(features=True)
    default_weights: ClassVar = {"attention": 1000.0}
    term = "attention"

    def __init__(self, config: AttentionTransferConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)

    def compare(self, index: int, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """See `TapDistiller.compare`; labels are not consulted."""
        return attention_transfer(student, teacher, self.config.power)
