# SPDX-License-Identifier: Apache-2.0
"""LOCAL, local similarity (Xie et al., "Improving Fast Segmentation with Teacher-student Learning", BMVC 2018).

As Table 1 of CWD (Shu et al., ICCV 2021) gives it.

B batch, C channels, H W size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from road_kd_training.distillers.common.base import Needs
from road_kd_training.distillers.common.functional import TapPair, align_spatial
from road_kd_training.distillers.common.taps import TapDistiller

_HALF_NEIGHBORHOOD = ((0, 1), (1, -1), (1, 0), (1, 1))
"""(down, right) offsets: four neighbors; the other four are the same pairs seen from the other pixel."""


def local_similarity(features: Tensor) -> Tensor:
    """Sum of each pixel's Euclidean distances to its 8 neighbors: (B, C, H, W) → (B, H, W).

    Neighbors beyond the border do not count.
    """
    height, width = features.shape[-2:]
    total = features.new_zeros(features.shape[0], height, width)
    for down, right in _HALF_NEIGHBORHOOD:
        left, rest = max(0, -right), max(0, right)
        here = features[:, :, : height - down, left : width - rest]
        there = features[:, :, down:, left + right : width - rest + right]
        distance = torch.linalg.vector_norm(here - there, dim=1)
        total = total + F.pad(distance, (left, rest, 0, down)) + F.pad(distance, (rest, left, down, 0))
    return total


@dataclass(frozen=True)
class LocalConfig:
    """Where neighborhoods are compared."""

    taps: tuple[TapPair, ...]
    """(student tap, teacher tap) pairs; `logits` is the score map."""


class Local(TapDistiller):
    """Mean squared difference of the local similarity maps, at the teacher's size.

    Each map is divided by 8 √C: the mean over neighbors of the root mean square difference. So networks with unequal
    channels compare, and the term is of the features' order; the weight that CWD's authors gave it is not known.
    """

    Config = LocalConfig
    paper = "Xie et al., BMVC 2018"
    needs = Needs(features=True)
    default_weights: ClassVar = {"local_similarity": 1.0}
    term = "local_similarity"

    def compare(self, index: int, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """See `TapDistiller.compare`; labels are not consulted."""
        return F.mse_loss(_mean_difference(align_spatial(student, teacher.shape[-2:])), _mean_difference(teacher))


def _mean_difference(features: Tensor) -> Tensor:
    return local_similarity(features) / (8 * math.sqrt(features.shape[1]))
