# SPDX-License-Identifier: Apache-2.0
"""HO, holistic distillation (Liu et al., CVPR 2019), with the WGAN-GP loss (Gulrajani et al., NeurIPS 2017).

B batch, K classes, H W size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import Needs, NetworkInfo
from road_kd_training.distillers.common.functional import TapPair
from road_kd_training.distillers.common.taps import LOGITS_TO_LOGITS, TapDistiller, autocast_disabled
from road_kd_training.errors import TrainingError

GRID = (64, 64)
"""Size at which score maps are judged; the published discriminator takes 65x65, a 512x512 crop at stride 8."""


class Discriminator(nn.Module):
    """Judges a score map as a whole: four strided convolutions, self-attention after the last two, one number.

    Args:
        num_classes: K.
        width: channels of the first convolution; they double at each of the others.
    """

    def __init__(self, num_classes: int, width: int = 64) -> None:
        super().__init__()
        widths = [num_classes, width, 2 * width, 4 * width, 8 * width]
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(source, sink, 4, stride=2, padding=1),
                nn.LeakyReLU(0.1),
                SelfAttention(sink) if sink >= 4 * width else nn.Identity(),
            )
            for source, sink in pairwise(widths)
        )
        self.judge = nn.Conv2d(widths[-1], 1, 4)

    def forward(self, probabilities: Tensor) -> Tensor:
        """Class probabilities (B, K, 64, 64) → (B,), higher for the teacher's."""
        x = probabilities
        for stage in self.stages:
            x = stage(x)
        verdict: Tensor = self.judge(x)
        return verdict.flatten()


class SelfAttention(nn.Module):
    """Adds to each position what it attends to (SAGAN, Zhang et al., 2019): (B, C, H, W) → the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, max(1, channels // 8), 1)
        self.key = nn.Conv2d(channels, max(1, channels // 8), 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.strength = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        query, key, value = (layer(x).flatten(2) for layer in (self.query, self.key, self.value))
        attention = (query.transpose(1, 2) @ key).softmax(dim=-1)
        attended: Tensor = value @ attention.transpose(1, 2)
        return x + self.strength * attended.view_as(x)


@dataclass(frozen=True)
class HolisticConfig:
    """Settings of the adversary."""

    taps: tuple[TapPair, ...] = LOGITS_TO_LOGITS
    """(student tap, teacher tap) pairs of class scores."""
    width: int = 64
    """Channels of the discriminator's first convolution."""
    gradient_penalty: float = 10.0
    """Weight of the gradient penalty within the discriminator's term."""
    learning_rate: float = 4e-4
    """Of the discriminator, whose optimizer is Adam, as in the published code; it does not follow the schedule."""


class Holistic(TapDistiller):
    """The student's score maps shall look like the teacher's to a discriminator that learns to tell them apart.

    Two terms in one optimization, each with its own party: `holistic` is judged by a discriminator whose weights are
    detached, so that only the student learns from it; `discriminator` sees detached score maps, so that only the
    discriminator does. Both may be negative, and neither need fall: they pull against each other.

    Deviations: class probabilities are judged, at 64x64, rather than batch-normalized logits, because a gradient
    penalty is per sample (Gulrajani et al. advise against batch norm); no spectral norm beside the penalty; the image
    is not among the discriminator's inputs, as in the published code. A distiller sees outputs only.
    """

    Config = HolisticConfig
    paper = "Liu et al., CVPR 2019: holistic"
    needs = Needs()
    term = "holistic"
    default_weights: ClassVar = {"holistic": 0.001, "discriminator": 0.1}

    def __init__(self, config: HolisticConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        if {channels for pair in self.channels for channels in pair} != {student.num_classes}:
            raise TrainingError(
                f"ho: taps {self.taps} are not scores of {student.num_classes} classes: it judges those"
            )
        self.discriminator = Discriminator(student.num_classes, config.width)

    def own_optimizer(self) -> torch.optim.Optimizer:
        """See `Distiller.own_optimizer`."""
        return torch.optim.Adam(self.discriminator.parameters(), self.config.learning_rate, betas=(0.9, 0.99))

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`; labels are not consulted."""
        frozen = {name: weight.detach() for name, weight in self.discriminator.named_parameters()}
        holistic, discriminator = [], []
        for pair in self.pairs(student, teachers):
            ours, theirs = (F.adaptive_avg_pool2d(x.softmax(dim=1), GRID) for x in (pair.student, pair.teacher))
            with autocast_disabled(ours):
                holistic.append(-functional_call(self.discriminator, frozen, (ours,)).mean())
                discriminator.append(critic_loss(self.discriminator, ours, theirs, self.config.gradient_penalty))
        return {"holistic": torch.stack(holistic).sum(), "discriminator": torch.stack(discriminator).sum()}


def critic_loss(critic: nn.Module, fake: Tensor, real: Tensor, gradient_penalty: float) -> Tensor:
    """WGAN-GP: mean of critic(fake) - critic(real), and the penalty on gradients that are not of unit length.

    Args:
        critic: (B, K, H, W) → (B,).
        fake: the student's maps; detached here.
        real: the teacher's; detached here.
        gradient_penalty: its weight.
    """
    fake, real = fake.detach(), real.detach()
    share = torch.rand(fake.shape[0], 1, 1, 1, dtype=fake.dtype, device=fake.device)
    with torch.enable_grad():
        between = (share * real + (1 - share) * fake).requires_grad_()
        (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    length = (slope.flatten(1).square().sum(dim=1) + 1e-12).sqrt()
    distance: Tensor = critic(fake).mean() - critic(real).mean()
    return distance + gradient_penalty * (length - 1).square().mean()
