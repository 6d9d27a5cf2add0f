# SPDX-License-Identifier: Apache-2.0
"""LIX (Guo et al., "LIX: Implicitly Infusing Spatial Geometric Prior Knowledge into Visual Semantic Segmentation for
Autonomous Driving", TIP 2025): DWLD on the logits and ARFD on the features, together.

The two halves are `dwld` and `arfd`; their functions can be imported from here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.arfd import Arfd, ArfdConfig, cka, recalibrate
from road_kd_training.distillers.common.base import Distiller, Needs, NetworkInfo
from road_kd_training.distillers.dkd import dkd_terms
from road_kd_training.distillers.dwld import Dwld, DwldConfig, DynamicWeightController

__all__ = [
    "Arfd",
    "ArfdConfig",
    "Dwld",
    "DwldConfig",
    "DynamicWeightController",
    "Lix",
    "LixConfig",
    "cka",
    "dkd_terms",
    "recalibrate",
]


@dataclass(frozen=True)
class LixConfig(DwldConfig, ArfdConfig):
    """The fields of both halves."""


class Lix(Distiller):
    """Eq. 18 without its first term, the cross entropy, which is the engine's. Its λ are not in the text: 1 each."""

    Config = LixConfig
    paper = "Guo et al., TIP 2025: LIX"
    needs = Needs(features=True, labels=True, min_classes=3, min_batch=2)
    default_weights: ClassVar = {**Dwld.default_weights, **Arfd.default_weights}

    def __init__(self, config: LixConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        self.logit = Dwld(config, student, teachers)
        self.feature = Arfd(config, student, teachers)
        self.needs = dataclasses.replace(self.needs, min_batch=self.feature.needs.min_batch)
        self.statistics = self.logit.statistics

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`."""
        return {
            **self.logit(student, teachers, target, step),
            **self.feature(student, teachers, target, step),
        }
