# SPDX-License-Identifier: Apache-2.0
"""Decoupled knowledge distillation (Zhao et al., CVPR 2022), per pixel.

B batch, K classes, H W size, P labeled pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from road_kd_seg.errors import ShapeMismatch
from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import Distiller, Needs, NetworkInfo
from road_kd_training.distillers.common.functional import (
    check_same_shape,
    check_temperature,
    paired_logits,
    require_target,
)
from road_kd_training.distillers.common.taps import mean_or_zero, pixels_to_rows
from road_kd_training.errors import TrainingError


class DkdTerms(NamedTuple):
    """Divergences of each labeled pixel; target + (1 - p_t) * non_target is the KL divergence over all classes."""

    target: Tensor
    """(P,), between the pairs (target, not target): TCLD, TCKD in DKD."""
    non_target: Tensor
    """(P,), between the distributions over the other classes: NCLD, NCKD in DKD."""


def dkd_terms(student: Tensor, teacher: Tensor, target: Tensor, temperature: float = 1.0) -> DkdTerms:
    """KL divergence from the teacher to the student, decoupled into target and non-target classes (LIX, Eqs. 1 to 3).

    Args:
        student: logits, (B, K, H, W).
        teacher: the same shape; no gradient flows into them.
        target: class ids (B, H, W); pixels labeled 255 are dropped.
        temperature: softens both; the terms are not multiplied by its square.

    Raises:
        ShapeMismatch: the shapes differ.
        TrainingError: fewer than three classes, where the non-target distribution is a single 1.
    """
    ours, theirs, labels = labeled_rows("dkd_terms", student, teacher, target)
    log_s, log_t = decouple(ours / temperature, labels), decouple(theirs / temperature, labels)
    return DkdTerms(
        divergence_entries(log_s.pair, log_t.pair).sum(-1), divergence_entries(log_s.rest, log_t.rest).sum(-1)
    )


class DecoupledLogProbabilities(NamedTuple):
    """One distribution over K classes as two."""

    pair: Tensor
    """(P, 2), log probability of the target and of all others."""
    rest: Tensor
    """(P, K - 1), log probabilities among the others, in ascending order of class."""


def decouple(logits: Tensor, labels: Tensor) -> DecoupledLogProbabilities:
    """Split logits (P, K) by the class ids (P,); exact for logits of any size, since nothing is masked by a number."""
    log_p = logits.log_softmax(dim=-1)
    others = non_target_entries(log_p, labels)
    log_not_target = others.logsumexp(dim=-1, keepdim=True)
    return DecoupledLogProbabilities(
        torch.cat((log_p.gather(1, labels[:, None]), log_not_target), dim=1),
        non_target_entries(logits, labels).log_softmax(dim=-1),
    )


def non_target_entries(x: Tensor, labels: Tensor) -> Tensor:
    """The columns of x (P, K) other than each row's label: (P, K - 1)."""
    columns = torch.arange(x.shape[1] - 1, device=x.device)
    return x.gather(1, columns + (columns >= labels[:, None]))


def labeled_rows(where: str, student: Tensor, teacher: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Student's and teacher's logits (P, K), the latter detached, and the class ids (P,) of the labeled pixels.

    Raises:
        ShapeMismatch: the shapes of the logits differ, or the target's.
        TrainingError: fewer than three classes.
    """
    check_same_shape(where, student, teacher, hint="feed both networks the same images and classes")
    if target.shape != student[:, 0].shape:
        raise ShapeMismatch(f"{where}: target", target.shape, student[:, 0].shape, hint="resize the labels")
    if student.shape[1] < 3:
        raise TrainingError(
            f"{where}: {student.shape[1]} classes, expected at least 3: with two, the non-target term is always zero"
        )
    rows = pixels_to_rows(student, target), pixels_to_rows(teacher.detach(), target)
    return *rows, pixels_to_rows(target[:, None], target)[:, 0]


def divergence_entries(log_s: Tensor, log_t: Tensor) -> Tensor:
    """Entries of the KL divergence from log probabilities, before their sum."""
    return F.kl_div(log_s, log_t, log_target=True, reduction="none")


@dataclass(frozen=True)
class DkdConfig:
    """The published settings; alpha and beta are the weights of the two terms."""

    temperature: float = 4.0
    """Softens both distributions."""
    warmup_steps: int = 0
    """Both terms grow linearly over this many steps; the authors warm up for a twelfth of the run. 0 starts at once."""


class Dkd(Distiller):
    """Target-class and non-target-class divergence as two terms, each times the temperature squared, over pixels.

    The published code removes the target logit by subtracting 1000, which larger logits survive; here it is left out
    of the sum. With two classes the non-target term is identically zero, hence at least three.
    """

    Config = DkdConfig
    paper = "Zhao et al., CVPR 2022"
    needs = Needs(labels=True, min_classes=3)
    default_weights: ClassVar = {"target": 1.0, "non_target": 8.0}

    def __init__(self, config: DkdConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        check_temperature("dkd", config.temperature)

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`."""
        temperature = self.config.temperature
        ours, theirs = paired_logits(student, teachers[0])
        terms = dkd_terms(ours, theirs, require_target("dkd", target), temperature)
        warmup = min(1.0, (step + 1) / max(1, self.config.warmup_steps))
        scale = temperature**2 * warmup
        return {"target": mean_or_zero(terms.target) * scale, "non_target": mean_or_zero(terms.non_target) * scale}
