# SPDX-License-Identifier: Apache-2.0
"""PI, pixel-wise distillation (Liu et al., "Structured Knowledge Distillation", CVPR 2019), as CWD's Table 2 has it.

B batch, C channels, H W size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from road_kd_training.distillers.common.base import Needs, NetworkInfo
from road_kd_training.distillers.common.functional import TapPair, check_temperature, resize_labels, valid_pixels
from road_kd_training.distillers.common.taps import LOGITS_TO_LOGITS, ChannelAdapters, TapDistiller
from road_kd_training.distillers.soft_targets import soft_target_kl


@dataclass(frozen=True)
class PixelWiseConfig:
    """Where pixels are compared."""

    taps: tuple[TapPair, ...] = LOGITS_TO_LOGITS
    """(student tap, teacher tap) pairs; `logits` is the score map."""
    temperature: float = 1.0
    """Softens the distributions over channels."""
    per_channel: bool = False
    """Divide by the number of channels, as the code of CWD and IFVD does."""


class PixelWise(TapDistiller):
    """KL divergence of each pixel's distribution over channels, averaged over pixels, those labeled 255 left out."""

    Config = PixelWiseConfig
    paper = "Liu et al., CVPR 2019: pixel-wise"
    needs = Needs()
    default_weights: ClassVar = {"pixel_kl": 10.0}
    term = "pixel_kl"

    def __init__(self, config: PixelWiseConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        check_temperature("pi", config.temperature)
        self.adapters = ChannelAdapters(self.channels)

    def compare(self, index: int, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """See `TapDistiller.compare`."""
        temperature = self.config.temperature
        valid = None if target is None else valid_pixels(resize_labels(target, teacher.shape[-2:]))
        divergence = soft_target_kl(self.adapters.adapt(index, student, teacher), teacher, temperature, valid)
        return divergence / (teacher.shape[1] if self.config.per_channel else 1)
