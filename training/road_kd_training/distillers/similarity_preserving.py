# SPDX-License-Identifier: Apache-2.0
"""Similarity-preserving knowledge distillation (Tung and Mori, ICCV 2019).

B batch, N elements per image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from road_kd_training.distillers.common.base import Needs
from road_kd_training.distillers.common.functional import TapPair
from road_kd_training.distillers.common.taps import TapDistiller, autocast_disabled, require_batch


def similarity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the images' similarity matrices, each row of unit length.

    Args:
        student: (B, Ns).
        teacher: (B, Nt); no gradient flows into it.
    """
    return F.mse_loss(_similarity(student), _similarity(teacher.detach()))


def _similarity(x: Tensor) -> Tensor:
    with autocast_disabled(x):
        # A common scale cancels in the normalized rows and keeps the products in range.
        scaled = x / x.detach().abs().amax().clamp(min=1e-12)
        return F.normalize(scaled @ scaled.T, dim=1)


@dataclass(frozen=True)
class SimilarityPreservingConfig:
    """Where images are compared."""

    taps: tuple[TapPair, ...]
    """(student tap, teacher tap) pairs; `logits` is the score map."""


class SimilarityPreserving(TapDistiller):
    """Pair-wise similarity of the images of a batch; a batch of 1 is refused.

    Memory: B² numbers beside the features, which are neither copied per pair nor resized.
    """

    Config = SimilarityPreservingConfig
    paper = "Tung and Mori, ICCV 2019"
    needs = Needs(features=True, min_batch=2)
    default_weights: ClassVar = {"similarity": 3000.0}
    term = "similarity"

    def compare(self, index: int, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """See `TapDistiller.compare`; labels are not consulted.

        Raises:
            TrainingError: a batch of 1.
        """
        require_batch("sp", student.shape[0], 2, "the similarity")
        return similarity_loss(student.flatten(1), teacher.flatten(1))
