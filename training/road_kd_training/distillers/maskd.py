# SPDX-License-Identifier: Apache-2.0
"""MasKD (Huang et al., "Masked Distillation with Receptive Tokens", ICLR 2023).

B batch, C channels, K classes, T tokens, H W size, N = H·W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from road_kd_seg.frame import IGNORE_INDEX
from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import Needs, NetworkInfo
from road_kd_training.distillers.common.functional import (
    TapPair,
    full_precision,
    mean_over,
    require_target,
    resize_labels,
    valid_pixels,
)
from road_kd_training.distillers.common.taps import (
    LOGITS,
    LOGITS_TO_LOGITS,
    ChannelAdapters,
    TapDistiller,
    autocast_disabled,
)
from road_kd_training.errors import TrainingError


def token_masks(features: Tensor, tokens: Tensor) -> Tensor:
    """Receptive field of every token: the sigmoid of its product with each pixel.

    Args:
        features: (B, C, H, W).
        tokens: (T, C).

    Returns:
        (B, T, H, W) in [0, 1].
    """
    with autocast_disabled(features):
        masks = (tokens @ features.flatten(2)).sigmoid()
    return masks.view(*masks.shape[:2], *features.shape[-2:])


def masked_error(student: Tensor, teacher: Tensor, masks: Tensor) -> Tensor:
    """Half the squared error under each mask per mask area, averaged over images, masks and channels.

    Args:
        student: (B, C, H, W).
        teacher: the same shape; no gradient flows into it.
        masks: (B, T, H, W); nor into them. No tensor of B·T·C·H·W elements is made.
    """
    error = (student - teacher.detach()).square().flatten(2)
    weights = masks.detach().flatten(2)
    with autocast_disabled(error):
        per_mask = weights.square() @ error.transpose(1, 2)
    return (per_mask / (weights.sum(dim=2, keepdim=True) + 1e-5)).mean() / 2


def mask_overlap(masks: Tensor) -> Tensor:
    """Mean Dice coefficient of different masks (B, T, H, W), in [0, 1]: 0 where no two overlap."""
    flat = masks.flatten(2)
    with autocast_disabled(flat):
        products = flat @ flat.transpose(1, 2)
    squares = products.diagonal(dim1=1, dim2=2)
    dice = 2 * products / (squares[:, :, None] + squares[:, None] + 1e-12)
    different = ~torch.eye(masks.shape[1], dtype=torch.bool, device=masks.device)
    return dice[:, different].mean()


@dataclass(frozen=True)
class MaskdConfig:
    """Where masks are learned and applied."""

    taps: tuple[TapPair, ...] = LOGITS_TO_LOGITS
    """(student tap, teacher tap) pairs; the authors' segmentation code takes the logits."""
    tokens: int = 8
    """Masks per pair, at least 2."""


class Maskd(TapDistiller):
    """Distillation under masks that learned tokens attend to in the teacher's map.

    The paper learns the tokens in a stage of its own, so that the teacher still does its task with the masked map,
    and its masks differ. Here they learn beside the student, from `mask_task` and `mask_overlap` alone. The masked
    logits face the labels directly; of features, where the teacher's head is out of reach, a 1x1 classifier does.
    """

    Config = MaskdConfig
    paper = "Huang et al., ICLR 2023"
    needs = Needs(labels=True)
    default_weights: ClassVar = {"masked_error": 1.0, "mask_task": 1.0, "mask_overlap": 1.0}

    def __init__(self, config: MaskdConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        if config.tokens < 2:
            raise TrainingError(
                f"maskd: tokens is {config.tokens}, expected 2 or more: one mask has none to differ from"
            )
        self.adapters = ChannelAdapters(self.channels)
        self.tokens = nn.ParameterList(torch.randn(config.tokens, theirs) * 0.01 for _, theirs in self.channels)
        self.classifiers = nn.ModuleList(
            nn.Identity() if tap == LOGITS else nn.Conv2d(theirs, student.num_classes, 1)
            for (_, tap), (_, theirs) in zip(self.taps, self.channels, strict=True)
        )

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`.

        Raises:
            TrainingError: no labels.
        """
        target = require_target("maskd", target)
        terms: dict[str, list[Tensor]] = {name: [] for name in self.default_weights}
        for index, pair in enumerate(self.pairs(student, teachers)):
            masks = token_masks(pair.teacher, self.tokens[index])
            adapted = self.adapters.adapt(index, pair.student, pair.teacher)
            masked = pair.teacher * masks.sum(dim=1, keepdim=True)
            terms["masked_error"].append(masked_error(adapted, pair.teacher, masks))
            terms["mask_task"].append(_task_loss(full_precision(self.classifiers[index](masked)), target))
            terms["mask_overlap"].append(mask_overlap(masks))
        return {name: torch.stack(values).sum() for name, values in terms.items()}


def _task_loss(logits: Tensor, target: Tensor) -> Tensor:
    labels = resize_labels(target, logits.shape[-2:])
    losses = F.cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction="none")
    return mean_over(losses, valid_pixels(labels))
