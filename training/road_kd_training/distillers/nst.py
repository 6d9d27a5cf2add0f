# SPDX-License-Identifier: Apache-2.0
"""Neuron selectivity transfer (Huang and Wang, "Like What You Like", 2017).

B batch, C channels, H W size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from road_kd_training.distillers.common.base import Needs
from road_kd_training.distillers.common.functional import TapPair
from road_kd_training.distillers.common.taps import TapDistiller, autocast_disabled, common_size


def selectivity_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared maximum mean discrepancy of the channels' maps, of unit length, under the kernel (x·y)².

    Args:
        student: (B, Cs, H, W).
        teacher: (B, Ct, H, W); no gradient flows into it.
    """
    with autocast_disabled(student):
        ours = F.normalize(student.flatten(2), dim=2)
        theirs = F.normalize(teacher.detach().flatten(2), dim=2)
        return _kernel_mean(theirs, theirs) + _kernel_mean(ours, ours) - 2 * _kernel_mean(ours, theirs)


def _kernel_mean(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.transpose(1, 2)).square().mean()


@dataclass(frozen=True)
class NstConfig:
    """Where channels are compared."""

    taps: tuple[TapPair, ...]
    """(student tap, teacher tap) pairs; `logits` is the score map."""


class Nst(TapDistiller):
    """Distribution of the channels' spatial patterns, with the polynomial kernel of the released code.

    The larger map is pooled to the smaller's height and width (the public implementation pools to squares). Memory:
    Ct·Cs numbers per image, since the kernel needs the Gram matrices only.
    """

    Config = NstConfig
    paper = "Huang and Wang, arXiv 2017"
    needs = Needs(features=True)
    default_weights: ClassVar = {"selectivity": 50.0}
    term = "selectivity"

    def compare(self, index: int, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """See `TapDistiller.compare`; labels are not consulted."""
        size = common_size(student, teacher)
        return selectivity_distance(F.adaptive_avg_pool2d(student, size), F.adaptive_avg_pool2d(teacher, size))
