# SPDX-License-Identifier: Apache-2.0
"""Factor transfer (Kim et al., "Paraphrasing Complex Network: Network Compression via Factor Transfer", NeurIPS 2018).

B batch, C channels, H W size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import Needs, NetworkInfo
from road_kd_training.distillers.common.functional import TapPair, align_spatial, full_precision
from road_kd_training.distillers.common.taps import TapDistiller
from road_kd_training.errors import TrainingError


def factor_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean absolute difference of two factors (B, C, H, W), each of unit length per image, the paper's p being 1."""
    return F.l1_loss(F.normalize(student.flatten(1)), F.normalize(teacher.detach().flatten(1)))


@dataclass(frozen=True)
class FactorTransferConfig:
    """Where factors are formed, and how small they are."""

    taps: tuple[TapPair, ...]
    """(student tap, teacher tap) pairs; `logits` is the score map."""
    rate: float = 0.5
    """Channels of the factors per channel of the teacher (the paper's k), in (0, 1]."""


class FactorTransfer(TapDistiller):
    """A paraphraser condenses the teacher's features to factors; a translator makes them of the student's.

    The paper trains the paraphraser, an autoencoder, in a stage of its own. Here it learns beside the student, from
    the term `reconstruction` alone: the factors that the student imitates are detached.
    """

    Config = FactorTransferConfig
    paper = "Kim et al., NeurIPS 2018"
    needs = Needs(features=True)
    default_weights: ClassVar = {"factor": 200.0, "reconstruction": 1.0}

    def __init__(self, config: FactorTransferConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        if not 0 < config.rate <= 1:
            raise TrainingError(f"ft: rate is {config.rate}, expected more than 0 and at most 1")
        widths = [(ours, theirs, max(1, int(theirs * config.rate))) for ours, theirs in self.channels]
        self.translators = nn.ModuleList(_encoder(ours, width, norm=True) for ours, _, width in widths)
        self.paraphrasers = nn.ModuleList(_encoder(theirs, width, norm=False) for _, theirs, width in widths)
        self.decoders = nn.ModuleList(_decoder(width, theirs) for _, theirs, width in widths)

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`."""
        factor, reconstruction = [], []
        for index, pair in enumerate(self.pairs(student, teachers)):
            theirs = self.paraphrasers[index](pair.teacher)
            ours = align_spatial(full_precision(self.translators[index](pair.student)), theirs.shape[-2:])
            factor.append(factor_distance(ours, full_precision(theirs)))
            reconstruction.append(F.mse_loss(full_precision(self.decoders[index](theirs)), pair.teacher))
        return {"factor": torch.stack(factor).sum(), "reconstruction": torch.stack(reconstruction).sum()}


def _encoder(in_channels: int, out_channels: int, *, norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for source, sink in ((in_channels, in_channels), (in_channels, out_channels), (out_channels, out_channels)):
        layers += [nn.Conv2d(source, sink, 3, padding=1), *([nn.BatchNorm2d(sink)] if norm else []), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers)


def _decoder(in_channels: int, out_channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for source, sink in ((in_channels, in_channels), (in_channels, out_channels), (out_channels, out_channels)):
        layers += [nn.ConvTranspose2d(source, sink, 3, padding=1), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers)
