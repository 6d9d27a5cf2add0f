# SPDX-License-Identifier: Apache-2.0
"""CMS: cross-model supervision (Ma et al., IGARSS 2023; SSLKD's first step, Fig. 2).

Networks of different architecture label unlabeled images for each other. SSLKD trains its teachers so, and
compares its student with one trained so beside its best teacher. CGSSL, where it comes from, keeps only confident
pseudo-labels: that is `min_confidence`, 0 in SSLKD.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import Distiller, Needs, NetworkInfo
from road_kd_training.distillers.common.functional import mean_over
from road_kd_training.distillers.cps import peer_logits
from road_kd_training.errors import TrainingError


def cross_model_loss(logits: Sequence[Tensor], min_confidence: float = 0.0) -> Tensor:
    """Cross entropy of every network against every other's classes, summed over ordered pairs.

    Args:
        logits: two or more of (B, K, H, W), all with gradient; none flows through pseudo-labels.
        min_confidence: pixels whose winning probability is below teach nothing.

    Returns:
        Scalar, averaged over the pixels that teach; with two networks and 0, CPS's loss.
    """
    labels = [one.detach().softmax(dim=1).max(dim=1) for one in logits]
    losses = [
        mean_over(
            F.cross_entropy(logits[learner], labels[labeler].indices, reduction="none"),
            labels[labeler].values >= min_confidence,
        )
        for labeler, learner in permutations(range(len(logits)), 2)
    ]
    return torch.stack(losses).sum()


@dataclass(frozen=True)
class CmsConfig:
    """Settings of CMS."""

    min_confidence: float = 0.0
    """Probability from 0 to 1 below which a pseudo-label is dropped; 0 keeps all."""


class Cms(Distiller):
    """CMS (Ma et al., IGARSS 2023): the student and one or more peers of other architectures label for each other.

    The cross entropy of all on labeled images is the engine's. SSLKD begins with that alone: the recipe's `start_step`.
    """

    Config = CmsConfig
    paper = "Ma et al., IGARSS 2023"
    needs = Needs(unlabeled=True, max_teachers=8)
    default_weights: ClassVar = {"cross_model_ce": 1.0}
    trains_peers = True

    def __init__(self, config: CmsConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        if not 0 <= config.min_confidence <= 1:
            raise TrainingError(f"CMS: min_confidence is {config.min_confidence}, expected a probability from 0 to 1")

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`; the peers' outputs carry gradient."""
        logits = peer_logits(student, teachers)
        return {"cross_model_ce": cross_model_loss(logits, self.config.min_confidence)}
