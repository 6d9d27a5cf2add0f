# SPDX-License-Identifier: Apache-2.0
"""SSLKD: distillation for road detection by cross-model semi-supervised learning (Ma et al., arXiv 2402.05305, 2024).

Its first step, in which two teachers teach each other, is the method `cms`; this file is the second. Choices where the
paper is silent: the "aggregated" prediction is the mean of the teachers' probabilities; terms are added unweighted
("linear addition"); features of unequal channels, which the paper does not have, pass a 1x1 convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import Needs, NetworkInfo
from road_kd_training.distillers.common.functional import (
    TapPair,
    check_same_shape,
    full_precision,
    paired_logits,
)
from road_kd_training.distillers.common.taps import ChannelAdapters, TapDistiller
from road_kd_training.errors import TrainingError


def feature_mae(student: Tensor, teacher: Tensor, where: str = "feature_mae") -> Tensor:
    """Mean absolute difference of two feature maps (Eq. 2).

    Args:
        student: (B, C, H, W).
        teacher: the same shape; no gradient flows into it.
        where: the taps in words, for the message.

    Returns:
        Scalar.

    Raises:
        ShapeMismatch: different shapes.
    """
    check_same_shape(where, student, teacher, hint="align the student with an adapter")
    return (student - teacher.detach()).abs().mean()


def ensemble_probabilities(logits: Sequence[Tensor]) -> Tensor:
    """Mean of several networks' probabilities: logits (B, K, H, W) each → (B, K, H, W), without gradient.

    Raises:
        ShapeMismatch: different shapes.
    """
    for other in logits[1:]:
        check_same_shape("ensemble_probabilities", other, logits[0], hint="feed all teachers the same images")
    return torch.stack([full_precision(one).detach().softmax(dim=1) for one in logits]).mean(dim=0)


def cross_pseudo_loss(left: Tensor, right: Tensor) -> Tensor:
    """Two networks label for each other: CE(left, argmax right) + CE(right, argmax left) (Fig. 2).

    Args:
        left: logits (B, K, H, W), with gradient.
        right: the same shape, with gradient; none flows through the pseudo-labels.

    Returns:
        Scalar.

    Raises:
        ShapeMismatch: different shapes.
    """
    check_same_shape("cross_pseudo_loss", left, right, hint="feed both networks the same images")
    return F.cross_entropy(left, right.argmax(dim=1)) + F.cross_entropy(right, left.argmax(dim=1))


@dataclass(frozen=True)
class SslkdConfig:
    """Settings of SSLKD."""

    taps: tuple[TapPair, ...] = (("encoder5", "encoder5"),)
    """(student tap, teacher tap) pairs of the feature term; the paper's is the end of the backbone."""
    feature_teacher: int = 0
    """Index of the teacher whose features are imitated: the one of the student's architecture."""


class Sslkd(TapDistiller):
    """SSLKD's second step: one teacher's features (Eq. 2), all teachers' mean probabilities, and labels made of them.

    All three need no ground truth, so that labeled and unlabeled images are treated alike. The paper begins on labels
    alone and does not say how long: the recipe's `start_step`.
    """

    Config = SslkdConfig
    paper = "Ma et al., arXiv 2402.05305, 2024"
    needs = Needs(features=True, unlabeled=True, min_teachers=2, max_teachers=8)
    default_weights: ClassVar = {
        "feature_mae": 1.0,
        "probability_mae": 1.0,
        "pseudo_label_ce": 1.0,
    }

    def __init__(self, config: SslkdConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        self.tap_teacher = config.feature_teacher
        if not 0 <= config.feature_teacher < max(1, len(teachers)):
            raise TrainingError(
                f"SSLKD: feature_teacher is {config.feature_teacher}, expected 0 to {len(teachers) - 1}:"
                " it counts the recipe's teachers from 0"
            )
        super().__init__(config, student, teachers)
        self.adapters = ChannelAdapters(self.channels, bias=False)

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`; `target` is not used."""
        features = [
            feature_mae(self.adapters.adapt(index, pair.student, pair.teacher), pair.teacher, pair.where)
            for index, pair in enumerate(self.pairs(student, teachers))
        ]
        logits, _ = paired_logits(student, teachers[0])
        probabilities = ensemble_probabilities([one.logits for one in teachers])
        return {
            "feature_mae": torch.stack(features).sum(),
            "probability_mae": (logits.softmax(dim=1) - probabilities).abs().mean(),
            "pseudo_label_ce": F.cross_entropy(logits, probabilities.argmax(dim=1)),
        }
