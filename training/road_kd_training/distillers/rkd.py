# SPDX-License-Identifier: Apache-2.0
"""Relational knowledge distillation (Park et al., CVPR 2019).

B batch, N elements per image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import Needs
from road_kd_training.distillers.common.functional import TapPair
from road_kd_training.distillers.common.taps import TapDistiller, autocast_disabled, mean_or_zero, require_batch


class Relations(NamedTuple):
    """How the images of a batch lie to each other."""

    distances: Tensor
    """(B·(B - 1),), in units of their mean."""
    angles: Tensor
    """(B·(B - 1)·(B - 2),), cosine of the angle at one image between two others."""


def relations(x: Tensor) -> Relations:
    """Distances and angles of the rows of x (B, N), from their Gram matrix: no tensor of B²·N elements is made."""
    with autocast_disabled(x):
        centered = x - x.mean(dim=0)
        # Both relations ignore the scale: make it 1, whatever the features' magnitude.
        centered = centered / centered.detach().square().sum(dim=1).mean().sqrt().clamp(min=1e-12)
        gram = centered @ centered.T
    norms = gram.diagonal()
    distances = (norms[:, None] + norms[None, :] - 2 * gram).clamp(min=1e-12).sqrt()
    # <x_i - x_j, x_k - x_j> for the vertex j, then i, k.
    products = gram[None] - gram[:, :, None] - gram[:, None, :] + norms[:, None, None]
    angles = products / (distances[:, :, None] * distances[:, None, :])
    apart = ~torch.eye(x.shape[0], dtype=torch.bool, device=x.device)
    distinct = apart[:, :, None] & apart[:, None, :] & apart[None]
    between = distances[apart]
    return Relations(between / between.mean(), angles[distinct])


@dataclass(frozen=True)
class RkdConfig:
    """Where images are compared."""

    taps: tuple[TapPair, ...]
    """(student tap, teacher tap) pairs; `logits` is the score map."""


class Rkd(TapDistiller):
    """Distance-wise and angle-wise potentials between the images of a batch, under the Huber loss.

    A batch of 1 is refused, and one of 2 warned of: its only distance is its mean, and there is no angle. Means run
    over the pairs and triples of different images; the public implementation counts an image's relation to itself.
    """

    Config = RkdConfig
    paper = "Park et al., CVPR 2019"
    needs = Needs(features=True, min_batch=2)
    default_weights: ClassVar = {"distance": 25.0, "angle": 50.0}

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`.

        Raises:
            TrainingError: a batch of 1.
        """
        require_batch("rkd", student.logits.shape[0], 3, "the relation")
        distance, angle = [], []
        for pair in self.pairs(student, teachers):
            ours, theirs = relations(pair.student.flatten(1)), relations(pair.teacher.flatten(1))
            distance.append(F.smooth_l1_loss(ours.distances, theirs.distances))
            angle.append(mean_or_zero(F.smooth_l1_loss(ours.angles, theirs.angles, reduction="none")))
        return {"distance": torch.stack(distance).sum(), "angle": torch.stack(angle).sum()}
