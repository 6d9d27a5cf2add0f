# SPDX-License-Identifier: Apache-2.0
"""SKD: structured knowledge distillation for semantic segmentation (Liu et al., CVPR 2019).

Its holistic, adversarial term is the method `ho`. Deviations: nodes are cells of `node_size` pixels, averaged, as
the paper says; the authors' code takes the maximum over a quarter of the map, which leaves 2x2 nodes. Student and
teacher maps of different sizes are pooled to the same grid of nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import Needs, NetworkInfo
from road_kd_training.distillers.common.functional import TapPair, paired_logits, valid_pixels
from road_kd_training.distillers.common.taps import TapDistiller
from road_kd_training.distillers.pair_wise import pair_wise_loss
from road_kd_training.distillers.soft_targets import soft_target_kl
from road_kd_training.errors import TrainingError


@dataclass(frozen=True)
class SkdConfig:
    """Settings of SKD."""

    taps: tuple[TapPair, ...] = (("block3", "encoder5"),)
    """(student tap, teacher tap) pairs of the pair-wise term: ERFNet against a ResNet-101."""
    node_size: int = 2
    """Side of a node in cells of the feature map, 1 or more."""
    temperature: float = 1.0
    """Of the pixel-wise term; above 0."""


class Skd(TapDistiller):
    """SKD (Liu et al., CVPR 2019): pixel-wise soft targets (Eq. 1) and pair-wise similarities (Eqs. 2 and 3)."""

    Config = SkdConfig
    paper = "Liu et al., CVPR 2019"
    needs = Needs(features=True, unlabeled=True)
    default_weights: ClassVar = {"pixel_wise_kl": 10.0, "pair_wise": 0.5}

    def __init__(self, config: SkdConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        if config.node_size < 1 or config.temperature <= 0:
            raise TrainingError(
                f"SKD: node_size is {config.node_size} and temperature {config.temperature},"
                " expected 1 or more and above 0"
            )

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`; of the labels only "ignore" is used, in the pixel-wise term."""
        valid = None if target is None else valid_pixels(target)
        losses = [
            pair_wise_loss(pair.student, pair.teacher, self.config.node_size) for pair in self.pairs(student, teachers)
        ]
        logits = paired_logits(student, teachers[0])
        return {
            "pixel_wise_kl": soft_target_kl(*logits, self.config.temperature, valid),
            "pair_wise": torch.stack(losses).sum(),
        }
