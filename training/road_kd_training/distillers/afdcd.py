# SPDX-License-Identifier: Apache-2.0
"""Af-DCD (Fan et al., "Augmentation-free Dense Contrastive Knowledge Distillation", NeurIPS 2023).

B batch, C channels, H W size, M channel groups, N positions of a patch.
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
from road_kd_training.distillers.common.functional import TapPair, full_precision
from road_kd_training.distillers.common.taps import ChannelAdapters, TapDistiller
from road_kd_training.errors import TrainingError


def dense_contrast(student: Tensor, teacher: Tensor, groups: int, patch: int = 4, temperature: float = 0.07) -> Tensor:
    """Contrast of every (position, channel group) with the teacher's other groups in the same patch.

    Negative L1 distances over the temperature are the logits; the positive is the teacher's same position and group.
    Rows and columns that fill no patch are left out.

    Args:
        student: (B, C, H, W).
        teacher: the same shape; no gradient flows into it.
        groups: M, a divisor of C, at least 2.
        patch: side in pixels; the side of the map where that is smaller.
        temperature: τ.

    Returns:
        Scalar, summed over groups and averaged over positions.
    """
    student_patches, teacher_patches = _patches(student, groups, patch), _patches(teacher.detach(), groups, patch)
    logits = -torch.cdist(student_patches, teacher_patches, p=1) / temperature
    group = torch.arange(student_patches.shape[1], device=student.device) % groups
    compared = group[:, None] != group[None, :]
    compared.fill_diagonal_(True)
    losses = logits.masked_fill(~compared, -torch.inf).logsumexp(dim=2) - logits.diagonal(dim1=1, dim2=2)
    return losses.mean() * groups


def _patches(x: Tensor, groups: int, patch: int) -> Tensor:
    """(B, C, H, W) → (patches of all images, N·M, C/M), the group varying fastest."""
    height, width = (min(patch, side) for side in x.shape[-2:])
    rows, columns = x.shape[2] // height, x.shape[3] // width
    cropped = x[:, :, : rows * height, : columns * width]
    split = cropped.unflatten(3, (columns, width)).unflatten(2, (rows, height)).unflatten(1, (groups, -1))
    patches: Tensor = split.permute(0, 3, 5, 4, 6, 1, 2)
    return patches.reshape(-1, height * width * groups, x.shape[1] // groups)


def largest_divisor(number: int, limit: int) -> int:
    """The largest divisor of `number` that is at most `limit`."""
    return max(divisor for divisor in range(1, min(number, limit) + 1) if number % divisor == 0)


@dataclass(frozen=True)
class AfdcdConfig:
    """The published settings."""

    taps: tuple[TapPair, ...]
    """(student tap, teacher tap) pairs; `logits` is the score map."""
    mask_ratio: float = 0.75
    """Share of the student's pixels that are blanked before the teacher's are generated from them, in [0, 1)."""
    pool: int = 4
    """Both maps are max-pooled by this factor before the contrast; at least one pixel remains."""
    patch: int = 4
    """Side in pooled pixels of the patches within which is contrasted."""
    groups: int = 16
    """Channel groups, or the largest divisor of the teacher's channels below."""
    temperature: float = 0.07
    """τ of the contrast."""


class Afdcd(TapDistiller):
    """Masked generation of the teacher's features, and the contrast of what was generated.

    `generation` is the squared error summed per image, as the published weight expects. The authors add a pixel-wise
    KL term: the method `pi`. Memory: the contrast stays within patches of pooled maps, (N·M)² numbers each; a stride-8
    tap of 576x1024 input in batches of 8 has 256 patches of 256², 67 MB.
    """

    Config = AfdcdConfig
    paper = "Fan et al., NeurIPS 2023"
    needs = Needs(features=True)
    default_weights: ClassVar = {"generation": 0.00004, "contrast": 0.001}

    def __init__(self, config: AfdcdConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        if not 0 <= config.mask_ratio < 1:
            raise TrainingError(f"afdcd: mask_ratio is {config.mask_ratio}, expected at least 0 and less than 1")
        self.groups = [largest_divisor(teacher_channels, config.groups) for _, teacher_channels in self.channels]
        if min(self.groups) < 2:
            raise TrainingError(
                "afdcd: a teacher's tap has channels in one group only, which leaves nothing to contrast:"
                " choose a tap with more channels, or groups of 2 or more"
            )
        self.adapters = ChannelAdapters(self.channels)
        self.generators = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(teacher_channels, teacher_channels, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(teacher_channels, teacher_channels, 3, padding=1),
            )
            for _, teacher_channels in self.channels
        )

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`; labels are not consulted."""
        config = self.config
        generation, contrast = [], []
        for index, pair in enumerate(self.pairs(student, teachers)):
            adapted = self.adapters.adapt(index, pair.student, pair.teacher)
            kept = torch.rand_like(adapted[:, :1]) >= config.mask_ratio
            generated = full_precision(self.generators[index](adapted * kept))
            generation.append((generated - pair.teacher).square().sum() / generated.shape[0])
            pool = min(config.pool, *generated.shape[-2:])
            contrast.append(
                dense_contrast(
                    F.max_pool2d(generated, pool),
                    F.max_pool2d(pair.teacher, pool),
                    self.groups[index],
                    config.patch,
                    config.temperature,
                )
            )
        return {"generation": torch.stack(generation).sum(), "contrast": torch.stack(contrast).sum()}
