# SPDX-License-Identifier: Apache-2.0
"""PA, pair-wise distillation (Liu et al., "Structured Knowledge Distillation", CVPR 2019 and TPAMI 2020).

B batch, C channels, H W size, N nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from road_kd_training.distillers.common.base import Needs
from road_kd_training.distillers.common.functional import TapPair
from road_kd_training.distillers.common.taps import TapDistiller, autocast_disabled, common_size


def affinity(features: Tensor) -> Tensor:
    """Cosines between all pairs of pixels: (B, C, H, W) → (B, N, N) with N = H·W."""
    with autocast_disabled(features):
        nodes = F.normalize(features.flatten(2), dim=1)
        return nodes.transpose(1, 2) @ nodes


def pair_wise_loss(student: Tensor, teacher: Tensor, node_size: int = 2, max_nodes: int = 2304) -> Tensor:
    """Mean squared difference of the affinities of all pairs of nodes (Eqs. 2 and 3).

    Args:
        student: (B, Cs, h, w).
        teacher: (B, Ct, H, W); no gradient flows into it.
        node_size: side in pixels of the smaller map of the square that is averaged to one node.
        max_nodes: nodes are larger where there would be more than this.

    Returns:
        Scalar, averaged over batch and pairs.
    """
    grid = node_grid(common_size(student, teacher), node_size, max_nodes)
    ours, theirs = (affinity(F.adaptive_avg_pool2d(x, grid)) for x in (student, teacher.detach()))
    return F.mse_loss(ours, theirs)


def node_grid(size: tuple[int, int], node_size: int, max_nodes: int) -> tuple[int, int]:
    """Rows and columns of nodes for a map of `size`: one per node_size² pixels, but at most `max_nodes` in all."""
    height, width = (max(1, -(-side // node_size)) for side in size)
    shrink = max(1.0, (height * width / max_nodes) ** 0.5)
    rows = min(max(1, int(height / shrink)), max_nodes)
    return rows, max(1, min(int(width / shrink), max_nodes // rows))


@dataclass(frozen=True)
class PairWiseConfig:
    """Where pairs are compared, and how many."""

    taps: tuple[TapPair, ...]
    """(student tap, teacher tap) pairs; `logits` is the score map."""
    node_size: int = 2
    """Side in pixels of the square that is averaged to one node, as in the paper."""
    max_nodes: int = 2304
    """Nodes are larger where there would be more than this: 36x64, a stride-8 map of 576x1024 input in 2x2 squares."""


class PairWise(TapDistiller):
    """Affinities of all pairs of nodes.

    Memory: N² numbers per image and network, whatever the input; 2304 nodes take 21 MB each, about 0.7 GB in all for a
    batch of 8 with gradients. The published code pools by maximum; the paper, and this, by average.
    """

    Config = PairWiseConfig
    paper = "Liu et al., CVPR 2019: pair-wise"
    needs = Needs(features=True)
    default_weights: ClassVar = {"pair_affinity": 0.5}
    term = "pair_affinity"

    def compare(self, index: int, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """See `TapDistiller.compare`; labels are not consulted."""
        return pair_wise_loss(student, teacher, self.config.node_size, self.config.max_nodes)
