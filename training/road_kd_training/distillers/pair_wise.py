"""PA, pair-wise distillation (Liu et al., "Structured Knowledge Distillation", CVPR 2019 and TPAMI 2020).

B batch, C channels, H W size, N nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from road_kd_training.distillers.common.base import Needs, NetworkInfo
from road_kd_training.distillers.common.functional import TapPair
from road_kd_training.distillers.common.taps import TapDistiller, autocast_disabled, common_size


def affinity(features: Tensor) -> Tensor:
    """Cosines between all pairs of pixels: (B, C, H, W) → (B, N, N) with N = H·W."""
    with autocast_disabled(features):
        nodes = F.normalize(features.flatten(2), dim=1)
        return nodes.transpose(1, 2) @ nodes


def pair_wise_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the affinities of (B, Cs, H, W) and (B, Ct, H, W); none flows into the teacher."""
    return F.mse_loss(affinity(student), affinity(teacher.detach()))


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

    paper = "Liu et al., CVPR 2019: pair-wise"
    needs = Needs(features=True)
    default_weights: ClassVar = {"pair_affinity": 0.5}
    term = "pair_affinity"

    def __init__(self, config: PairWiseConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)

    def compare(self, index: int, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """See `TapDistiller.compare`; labels are not consulted."""
        grid = node_grid(common_size(student, teacher), self.config.node_size, self.config.max_nodes)
        return pair_wise_loss(F.adaptive_avg_pool2d(student, grid), F.adaptive_avg_pool2d(teacher, grid))
