# SPDX-License-Identifier: Apache-2.0
"""Pseudo-labels: the teacher's class where it is confident and nobody labeled (Lee, ICML workshop 2013).

As CPKD's NO-4K was labeled (Section IV), but while the student trains. B batch, K classes, H W size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from road_kd_seg.frame import IGNORE_INDEX
from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import Distiller, Needs, NetworkInfo
from road_kd_training.distillers.common.functional import (
    check_same_shape,
    class_weight_tensor,
    paired_logits,
    supervised_loss,
)
from road_kd_training.errors import TrainingError


def confident_labels(teacher: Tensor, min_confidence: float, target: Tensor | None = None) -> Tensor:
    """The teacher's class of every pixel where its probability is high enough; elsewhere, and on labeled pixels, 255.

    Args:
        teacher: logits (B, K, H, W).
        min_confidence: of the teacher's class, 0 to 1.
        target: class ids (B, H, W), 255 = nobody labeled it; None: nobody labeled anything.

    Returns:
        Class ids (B, H, W).
    """
    probability, label = teacher.detach().softmax(dim=1).max(dim=1)
    wanted = probability >= min_confidence
    if target is not None:
        wanted &= target == IGNORE_INDEX
    return label.where(wanted, IGNORE_INDEX)


def pseudo_label_loss(
    student: Tensor,
    teacher: Tensor,
    min_confidence: float = 0.8,
    target: Tensor | None = None,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Cross entropy against `confident_labels`, averaged by the weights of their classes; 0 where there are none.

    Args:
        student: logits (B, K, H, W).
        teacher: the same shape; no gradient flows into it.
        min_confidence: of the teacher's class, 0 to 1.
        target: class ids (B, H, W); labeled pixels are left to the labels.
        class_weights: (K,), or None for equal ones.

    Returns:
        Scalar.

    Raises:
        ShapeMismatch: different shapes.
    """
    check_same_shape("pseudo_label_loss", student, teacher, hint="feed both networks the same images")
    label = confident_labels(teacher, min_confidence, target)
    return supervised_loss(student, label, class_weights)


@dataclass(frozen=True)
class PseudoLabelsConfig:
    """Settings of pseudo-labels."""

    min_confidence: float = 0.8
    """Probability of the teacher's class below which a pixel teaches nothing."""
    class_weights: tuple[float, ...] = ()
    """One positive weight a class, as for the cross entropy; empty: all alike."""


class PseudoLabels(Distiller):
    """The teacher's confident classes on pixels without a label, on unlabeled images above all."""

    Config = PseudoLabelsConfig
    paper = "Lee, ICML workshop 2013"
    needs = Needs(unlabeled=True)
    default_weights: ClassVar = {"pseudo_label_ce": 1.0}
    may_stay_zero: ClassVar = frozenset({"pseudo_label_ce"})
    class_weights: Tensor | None

    def __init__(self, config: PseudoLabelsConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        if not 0 <= config.min_confidence <= 1:
            raise TrainingError(f"pseudo_labels: min_confidence is {config.min_confidence}, expected 0 to 1")
        weights = class_weight_tensor("pseudo_labels", config.class_weights, student.num_classes)
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`; labeled pixels are left to the cross entropy."""
        logits = paired_logits(student, teachers[0])
        config = self.config
        return {"pseudo_label_ce": pseudo_label_loss(*logits, config.min_confidence, target, self.class_weights)}
