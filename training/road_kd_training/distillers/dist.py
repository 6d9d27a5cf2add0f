# SPDX-License-Identifier: Apache-2.0
"""DIST (Huang et al., "Knowledge Distillation from a Stronger Teacher", NeurIPS 2022), on pixels.

B batch, K classes, H W size, P pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import Distiller, Needs, NetworkInfo
from road_kd_training.distillers.common.functional import check_temperature, paired_logits
from road_kd_training.distillers.common.taps import mean_or_zero, pixels_to_rows


def pearson_distance(x: Tensor, y: Tensor) -> Tensor:
    """1 - correlation of corresponding rows of x and y (R, M): (R,), and 1 where a row is constant."""
    x, y = x - x.mean(dim=1, keepdim=True), y - y.mean(dim=1, keepdim=True)
    norm = (x.square().sum(dim=1) * y.square().sum(dim=1)).clamp(min=1e-16).sqrt()
    return 1 - (x * y).sum(dim=1) / norm


@dataclass(frozen=True)
class DistConfig:
    """The published settings; β and γ are the weights of the terms."""

    temperature: float = 1.0
    """Softens both distributions."""


class Dist(Distiller):
    """Correlation between classes at each pixel, and between pixels for each class.

    Pixels labeled 255 are left out. With two classes the correlation at a pixel is +1 or -1 and has no gradient
    (the authors advise against it too), hence at least three.
    """

    Config = DistConfig
    paper = "Huang et al., NeurIPS 2022"
    needs = Needs(min_classes=3)
    default_weights: ClassVar = {"inter_class": 1.0, "intra_class": 1.0}

    def __init__(self, config: DistConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        check_temperature("dist", config.temperature)

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`."""
        temperature = self.config.temperature
        ours, theirs = (
            pixels_to_rows((logits / temperature).softmax(dim=1), target)
            for logits in paired_logits(student, teachers[0])
        )
        if ours.shape[0] == 0:
            return {name: ours.sum() for name in self.default_weights}
        return {
            "inter_class": mean_or_zero(pearson_distance(ours, theirs)) * temperature**2,
            "intra_class": mean_or_zero(pearson_distance(ours.T, theirs.T)) * temperature**2,
        }
