# SPDX-License-Identifier: Apache-2.0
"""BiFPN in IntRA-KD's tables: attention maps of neighboring layers as targets (after Zhu et al., ECCV 2018).

IntRA-KD says no more than that. Here each tap of the student imitates the attention of the teacher's tap paired
with it and of that tap's neighbors, both ways as in Zhu's bidirectional pyramid; the maps are those of attention
transfer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.attention_transfer import attention_loss
from road_kd_training.distillers.common.base import Needs
from road_kd_training.distillers.common.functional import TapPair
from road_kd_training.distillers.common.taps import TapDistiller


def neighbors(count: int) -> list[tuple[int, int]]:
    """(student, teacher) indices of all pairs of taps that are the same or next to each other."""
    return [(i, j) for i in range(count) for j in range(count) if abs(i - j) <= 1]


@dataclass(frozen=True)
class BifpnConfig:
    """Settings of BiFPN."""

    taps: tuple[TapPair, ...] = (("block2", "encoder3"), ("block3", "encoder5"))
    """(student tap, teacher tap) pairs from early to late, two or more."""


class Bifpn(TapDistiller):
    """BiFPN (Zhu et al., ECCV 2018, as IntRA-KD compares it): attention of neighboring layers, in both directions."""

    Config = BifpnConfig
    paper = "Zhu et al., ECCV 2018"
    needs = Needs(features=True, unlabeled=True, min_taps=2)
    default_weights: ClassVar = {"attention": 0.1}

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`; `target` is not used."""
        pairs = self.pairs(student, teachers)
        losses = [attention_loss(pairs[i].student, pairs[j].teacher) for i, j in neighbors(len(pairs))]
        return {"attention": torch.stack(losses).mean()}
