# SPDX-License-Identifier: Apache-2.0
"""PS-N: similarity between neighboring layers (Yim et al., A Gift from Knowledge Distillation, CVPR 2017).

IntRA-KD's tables call it so. Deviation: the matrices of student and teacher can only be compared where their
channels agree, which Yim's networks were built for; elsewhere a 1x1 convolution, trained along, takes the student
to the teacher's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import Needs, NetworkInfo
from road_kd_training.distillers.common.functional import TapPair, check_same_shape
from road_kd_training.distillers.common.taps import ChannelAdapters, TapDistiller, autocast_disabled


def flow_matrix(earlier: Tensor, later: Tensor) -> Tensor:
    """Flow of solution procedure between two layers: the products of all pairs of channels, averaged over the image.

    Args:
        earlier: (B, C1, H, W).
        later: (B, C2, h, w); the larger map is max-pooled to the smaller's size.

    Returns:
        (B, C1, C2).
    """
    size = [min(sizes) for sizes in zip(earlier.shape[-2:], later.shape[-2:], strict=True)]
    first, second = (F.adaptive_max_pool2d(x, size).flatten(2) for x in (earlier, later))
    with autocast_disabled(first):
        return first @ second.transpose(1, 2) / first.shape[2]


def flow_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of two flow matrices (B, C1, C2); no gradient flows into the teacher's.

    Raises:
        ShapeMismatch: different channels.
    """
    check_same_shape("flow_loss", student, teacher, hint="adapt the student's channels first")
    return (student - teacher.detach()).square().mean()


@dataclass(frozen=True)
class PsnConfig:
    """Settings of PS-N."""

    taps: tuple[TapPair, ...] = (("block2", "encoder3"), ("block3", "encoder5"))
    """(student tap, teacher tap) pairs from early to late, two or more; neighbors are compared."""


class Psn(TapDistiller):
    """PS-N (Yim et al., CVPR 2017): the student's flow matrix of neighboring taps imitates the teacher's."""

    Config = PsnConfig
    paper = "Yim et al., CVPR 2017"
    needs = Needs(features=True, unlabeled=True, min_taps=2)
    default_weights: ClassVar = {"flow": 1.0}

    def __init__(self, config: PsnConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        self.adapters = ChannelAdapters(self.channels, bias=False)

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`; `target` is not used."""
        pairs = self.pairs(student, teachers)
        ours = [adapter(pair.student) for adapter, pair in zip(self.adapters, pairs, strict=True)]
        theirs = [pair.teacher for pair in pairs]
        losses = [
            flow_loss(flow_matrix(*mine), flow_matrix(*teachers_own))
            for mine, teachers_own in zip(pairwise(ours), pairwise(theirs), strict=True)
        ]
        return {"flow": torch.stack(losses).mean()}
