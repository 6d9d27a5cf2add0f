# SPDX-License-Identifier: Apache-2.0
"""CPKD: channel- and position-wise distillation of road negative obstacles (Feng et al., ITSC 2023).

Deviations from the authors' code:

- It compares a student's position map (B, H, W) with a teacher's (B, 1, H, W), so that the mean squared error runs over
  all pairs of samples. Here every sample is compared with itself; `as_published` brings the published behavior back.
- It gives each tap a factor 0.5, which the paper does not have; it is in the default weights, not in the functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import Needs
from road_kd_training.distillers.common.functional import TapPair, align_spatial, paired_logits
from road_kd_training.distillers.common.taps import TapDistiller

_EPSILON = 1e-5
"""Of the batch normalization without parameters; PyTorch's default, as in the authors' code."""

VARIANTS: Mapping[str, tuple[str, ...]] = {
    "A": ("decoder2",),
    "B": ("decoder4", "decoder2"),
    "C": ("encoder5", "decoder4", "decoder2"),
    "D": ("encoder3", "encoder5", "decoder4", "decoder2"),
    "E": ("encoder1", "encoder3", "encoder5", "decoder4", "decoder2"),
    "F": ("encoder1",),
    "G": ("encoder1", "encoder3"),
    "H": ("encoder1", "encoder3", "encoder5"),
    "I": ("encoder1", "encoder3", "encoder5", "decoder4"),
}
"""The taps of each variant of Table II, of student and teacher alike; E is the method."""


def position_map(features: Tensor) -> Tensor:
    """Where features are strong: their mean over channels, standardized over batch and image (Section III-B).

    Args:
        features: (B, C, H, W).

    Returns:
        (B, 1, H, W), of mean 0 and variance 1; unchanged by a·x + b with a > 0.
    """
    mean = features.mean(dim=1, keepdim=True)
    variance, center = torch.var_mean(mean, correction=0)
    return (mean - center) / (variance + _EPSILON).sqrt()


def position_loss(student: Tensor, teacher: Tensor, *, as_published: bool = False) -> Tensor:
    """Mean squared difference of the position maps, the student's resized to the teacher's size by nearest neighbor.

    Args:
        student: (B, Cs, h, w).
        teacher: (B, Ct, H, W); no gradient flows into it.
        as_published: compare every sample with every other, as the authors' code does.

    Returns:
        Scalar.
    """
    ours = align_spatial(position_map(student), teacher.shape[-2:], mode="nearest")
    theirs = position_map(teacher.detach())
    difference = ours[:, None] - theirs[None] if as_published else ours - theirs
    return difference.square().mean()


def channel_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the channel-wise maps: each channel's mean over the image (Section III-B).

    Args:
        student: (B, Cs, h, w); its Cs means are resized to the teacher's Ct by nearest neighbor.
        teacher: (B, Ct, H, W); no gradient flows into it.

    Returns:
        Scalar.
    """
    theirs = teacher.detach().mean(dim=(2, 3))
    ours = F.interpolate(student.mean(dim=(2, 3))[:, None], theirs.shape[1], mode="nearest")[:, 0]
    return (ours - theirs).square().mean()


def teacher_label_loss(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Cross entropy against the teacher's classes, CPKD's ground truth for the student: (B, K, H, W) twice → scalar."""
    return F.cross_entropy(student_logits, teacher_logits.detach().argmax(dim=1))


@dataclass(frozen=True)
class CpkdConfig:
    """Settings of CPKD."""

    taps: tuple[TapPair, ...] = tuple((name, name) for name in VARIANTS["E"])
    """(student tap, teacher tap) pairs; any subset of the five, see `VARIANTS`."""
    as_published: bool = False
    """Reproduce the authors' broadcast, which compares different samples of a batch."""


class Cpkd(TapDistiller):
    """CPKD (Feng et al., ITSC 2023): position and channel terms summed over taps; the teacher's classes as labels.

    Position-only and channel-only (Table III) are a weight of 0. The paper's student sees no ground truth: give the
    engine's own cross entropy the weight 0 to follow it.
    """

    Config = CpkdConfig
    paper = "Feng et al., ITSC 2023"
    needs = Needs(features=True, unlabeled=True)
    default_weights: ClassVar = {"position": 0.5, "channel": 0.5, "teacher_label_ce": 1.0}

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`; `target` is not used."""
        pairs = self.pairs(student, teachers)
        as_published = self.config.as_published
        return {
            "position": torch.stack(
                [position_loss(p.student, p.teacher, as_published=as_published) for p in pairs]
            ).sum(),
            "channel": torch.stack([channel_loss(p.student, p.teacher) for p in pairs]).sum(),
            "teacher_label_ce": teacher_label_loss(*paired_logits(student, teachers[0])),
        }
