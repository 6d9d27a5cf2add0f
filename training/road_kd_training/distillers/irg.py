# SPDX-License-Identifier: Apache-2.0
"""IRG: knowledge distillation via instance relationship graph (Liu et al., CVPR 2019).

Instances are the samples of a batch (IntRA-KD's tables: three consecutive frames). Every distance matrix is divided
by its largest entry, as public PyTorch ports do, so that networks of different width compare. Deviation: features
of neighboring layers are averaged to the smaller's channels and size before they are subtracted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import Needs
from road_kd_training.distillers.common.functional import TapPair, paired_logits
from road_kd_training.distillers.common.taps import TapDistiller, autocast_disabled
from road_kd_training.errors import TrainingError


def edges(features: Tensor) -> Tensor:
    """Squared distances between the samples, relative to the largest: (B, …) → (B, B), 0 to 1."""
    x = features.flatten(1)
    # Distances do not depend on the origin; about the mean they cancel the least digits.
    x = x - x.detach().mean(dim=0)
    with autocast_disabled(x):
        products = x @ x.T
    norms = products.diagonal()
    return _relative((norms[:, None] + norms[None] - 2 * products).clamp(min=0))


def vertex_transform(earlier: Tensor, later: Tensor) -> Tensor:
    """How far each sample moves from one layer to the next, relative to the farthest.

    Args:
        earlier: (B, C1, H, W).
        later: (B, C2, h, w).

    Returns:
        (B,), squared distances from 0 to 1.
    """
    channels, height, width = map(min, earlier.shape[1:], later.shape[1:])
    shape = (channels, height, width)
    first, second = (F.adaptive_avg_pool3d(x[:, None], shape).flatten(1) for x in (earlier, later))
    return _relative((first - second).square().sum(dim=1))


def _relative(distances: Tensor) -> Tensor:
    return distances / distances.amax().clamp(min=1e-12)


@dataclass(frozen=True)
class IrgConfig:
    """Settings of IRG."""

    taps: tuple[TapPair, ...] = (("block2", "encoder3"), ("block3", "encoder5"))
    """(student tap, teacher tap) pairs from early to late, two or more; transforms run between neighbors."""


class Irg(TapDistiller):
    """IRG (Liu et al., CVPR 2019): logits as vertexes, distances between samples as edges, both also from tap to tap.

    A batch of one has no edges and is refused.
    """

    Config = IrgConfig
    paper = "Liu et al., CVPR 2019 (IRG)"
    needs = Needs(features=True, unlabeled=True, min_taps=2, min_batch=2)
    default_weights: ClassVar = {"vertex": 0.1, "edge": 5.0, "transform": 5.0}

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`; `target` is not used.

        Raises:
            TrainingError: a batch of one.
        """
        if student.logits.shape[0] < 2:
            raise TrainingError("IRG: got a batch of 1, expected 2 or more: a single sample has no relations")
        pairs = self.pairs(student, teachers)
        logits_s, logits_t = paired_logits(student, teachers[0])
        ours, theirs = [pair.student for pair in pairs], [pair.teacher for pair in pairs]
        edges_s, edges_t = _edges_of(ours), _edges_of(theirs)
        vertexes_s, vertexes_t = _vertex_transforms_of(ours), _vertex_transforms_of(theirs)
        # The graph's change from layer to layer has a part for the vertexes and one for the edges.
        of_vertexes = (vertexes_s - vertexes_t).square().mean()
        of_edges = (edges_s.diff(dim=0) - edges_t.diff(dim=0)).square().mean()
        return {
            "vertex": (logits_s - logits_t).square().mean(),
            "edge": (edges_s - edges_t).square().mean(),
            "transform": of_vertexes + of_edges,
        }


def _edges_of(features: Sequence[Tensor]) -> Tensor:
    return torch.stack([edges(x) for x in features])


def _vertex_transforms_of(features: Sequence[Tensor]) -> Tensor:
    return torch.stack([vertex_transform(*both) for both in pairwise(features)])
