"""SKD: structured knowledge distillation for semantic segmentation (Liu et al., CVPR 2019).

Its holistic, adversarial term is the method `ho`. Deviations: nodes are cells of `node_size` pixels, averaged, as
the paper says; the authors' code takes the maximum over a quarter of the map, which leaves 2x2 nodes. Student and
teacher maps of different sizes are pooled to the same grid of nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import Distiller, Needs, NetworkInfo
from road_kd_training.distillers.common.functional import (
    TapPair,
    check_tap_pairs,
    paired_logits,
    paired_taps,
    valid_pixels,
)
from road_kd_training.distillers.common.taps import autocast_disabled
from road_kd_training.distillers.soft_targets import soft_target_kl
from road_kd_training.errors import TrainingError


def similarity_of_nodes(features: Tensor, grid: tuple[int, int]) -> Tensor:
    """Cosine similarity of every pair of cells (Eq. 3).

    Args:
        features: (B, C, H, W).
        grid: (h, w) cells that the map is averaged into; N = h·w.

    Returns:
        (B, N, N).
    """
    nodes = F.normalize(F.adaptive_avg_pool2d(features, grid).flatten(2), dim=1)
    with autocast_disabled(features):
        return nodes.transpose(1, 2) @ nodes


def pair_wise_loss(student: Tensor, teacher: Tensor, node_size: int = 2) -> Tensor:
    """Mean squared difference of the similarities of all pairs of nodes (Eq. 2).

    Args:
        student: (B, Cs, h, w).
        teacher: (B, Ct, H, W); no gradient flows into it.
        node_size: side of a node in cells of the smaller map. A 72x128 map (1/8 of 576x1024) has 2304 nodes of 2x2,
        whose
            similarities take 21 MB per sample and network.

    Returns:
        Scalar, averaged over batch and pairs.
    """
    height, width = map(min, student.shape[-2:], teacher.shape[-2:])
    grid = (max(1, height // node_size), max(1, width // node_size))
    difference = similarity_of_nodes(student, grid) - similarity_of_nodes(teacher.detach(), grid)
    return difference.square().mean()


@dataclass(frozen=True)
class SkdConfig:
    """Settings of SKD."""

    taps: tuple[TapPair, ...] = (("block3", "encoder5"),)
    """(student tap, teacher tap) pairs of the pair-wise term: ERFNet against a ResNet-101."""
    node_size: int = 2
    """Side of a node in cells of the feature map, 1 or more."""
    temperature: float = 1.0
    """Of the pixel-wise term; above 0."""


class Skd(Distiller):
    """SKD (Liu et al., CVPR 2019): pixel-wise soft targets (Eq. 1) and pair-wise similarities (Eqs. 2 and 3)."""

    paper: ClassVar[str] = "Liu et al., CVPR 2019"
    needs: ClassVar[Needs] = Needs(features=True, unlabeled=True)
    default_weights: ClassVar[Mapping[str, float]] = {"pixel_wise_kl": 10.0, "pair_wise": 0.5}
    config: SkdConfig

    def __init__(self, config: SkdConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        check_tap_pairs("SKD", student, teachers[0], config.taps)
        if config.node_size < 1 or config.temperature <= 0:
            raise TrainingError(
                f"SKD: node_size is {config.node_size} and temperature {config.temperature},"
                " expected 1 or more and above 0"
            )
        self.student_info, self.teacher_info = student, teachers[0]

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`; of the labels only "ignore" is used, in the pixel-wise term."""
        valid = None if target is None else valid_pixels(target)
        pairs = paired_taps(student, teachers[0], self.student_info, self.teacher_info, self.config.taps)
        losses = [pair_wise_loss(pair.student, pair.teacher, self.config.node_size) for pair in pairs]
        logits = paired_logits(student, teachers[0])
        return {
            "pixel_wise_kl": soft_target_kl(*logits, self.config.temperature, valid),
            "pair_wise": torch.stack(losses).sum(),
        }
