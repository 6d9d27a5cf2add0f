"""Decoupled knowledge distillation (Zhao et al., CVPR 2022), per pixel.

B batch, K classes, H W size, P labeled pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import Distiller, Needs, NetworkInfo
from road_kd_training.distillers.common.functional import paired_logits
from road_kd_training.distillers.common.taps import mean_or_zero
from road_kd_training.distillers.cwd import check_temperature
from road_kd_training.distillers.dwld import dkd_terms, require_target


@dataclass(frozen=True)
class DkdConfig:
    """The published settings; alpha and beta are the weights of the two terms."""

    temperature: float = 4.0
    """Softens both distributions."""
    warmup_steps: int = 0
    """Both terms grow linearly over this many steps; the authors warm up for a twelfth of the run. 0 starts at once."""


class Dkd(Distiller):
    """Target-class and non-target-class divergence as two terms, each times the temperature squared, over pixels.

    The published code removes the target logit by subtracting 1000, which larger logits survive; here it is left out
    of the sum. With two classes the non-target term is identically zero, hence at least three.
    """

    paper = "Zhao et al., CVPR 2022"
    needs = Needs(labels=True, min_classes=3)
    default_weights: ClassVar = {"target": 1.0, "non_target": 8.0}

    def __init__(self, config: DkdConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        check_temperature("dkd", config.temperature)

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`."""
        temperature = self.config.temperature
        ours, theirs = paired_logits(student, teachers[0])
        terms = dkd_terms(ours, theirs, require_target("dkd", target), temperature)
        warmup = min(1.0, (step + 1) / max(1, self.config.warmup_steps))
        scale = temperature**2 * warmup
        return {"target": mean_or_zero(terms.target) * scale, "non_target": mean_or_zero(terms.non_target) * scale}
