"""BiFPN in IntRA-KD's tables: attention maps of neighboring layers as targets (after Zhu et al., ECCV 2018).

IntRA-KD says no more than that. Here each tap of the student imitates the attention of the teacher's tap paired
with it and of that tap's neighbors, both ways as in Zhu's bidirectional pyramid; the maps are those of attention
transfer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import Distiller, Needs, NetworkInfo
from road_kd_training.distillers.common.functional import TapPair, check_tap_pairs, paired_taps
from road_kd_training.distillers.intra_kd import attention_loss
from road_kd_training.errors import TrainingError


def neighbors(count: int) -> list[tuple[int, int]]:
    """(student, teacher) indices of all pairs of taps that are the same or next to each other."""
    return [(i, j) for i in range(count) for j in range(count) if abs(i - j) <= 1]


@dataclass(frozen=True)
class BifpnConfig:
    """Settings of BiFPN."""

    taps: tuple[TapPair, ...] = (("block2", "encoder3"), ("block3", "encoder5"))
    """(student tap, teacher tap) pairs from early to late, two or more."""


class Bifpn(Distiller):
    """BiFPN (Zhu et al., ECCV 2018, as IntRA-KD compares it): attention of neighboring layers, in both directions."""

    paper: ClassVar[str] = "Zhu et al., ECCV 2018"
    needs: ClassVar[Needs] = Needs(features=True, unlabeled=True)
    default_weights: ClassVar[Mapping[str, float]] = {"attention": 0.1}
    config: BifpnConfig

    def __init__(self, config: BifpnConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        check_tap_pairs("BiFPN", student, teachers[0], config.taps)
        if len(config.taps) < 2:
            raise TrainingError("BiFPN: one pair of taps is configured, expected two or more: it compares neighbors")
        self.student_info, self.teacher_info = student, teachers[0]

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`; `target` is not used."""
        pairs = paired_taps(student, teachers[0], self.student_info, self.teacher_info, self.config.taps)
        losses = [attention_loss(pairs[i].student, pairs[j].teacher) for i, j in neighbors(len(pairs))]
        return {"attention": torch.stack(losses).mean()}
