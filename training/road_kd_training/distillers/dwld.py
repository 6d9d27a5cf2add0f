"""LIX's dynamically weighted logit distillation, DWLD (Guo et al., "LIX", TIP 2025), and the decoupled terms below it.

Reconstructed from the paper's prose where equations were not available; that is marked [inferred].
B batch, K classes, H W size, P labeled pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from road_kd_seg.errors import ShapeMismatch
from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import Distiller, Needs, NetworkInfo
from road_kd_training.distillers.common.functional import check_same_shape, full_precision, paired_logits
from road_kd_training.distillers.common.taps import autocast_disabled, mean_or_zero, pixels_to_rows
from road_kd_training.errors import TrainingError

LOWEST_WEIGHT = 1.0
HIGHEST_WEIGHT = 10.0


class DkdTerms(NamedTuple):
    """Divergences of each labeled pixel; target + (1 - p_t) * non_target is the KL divergence over all classes."""

    target: Tensor
    """(P,), between the pairs (target, not target): TCLD, TCKD in DKD."""
    non_target: Tensor
    """(P,), between the distributions over the other classes: NCLD, NCKD in DKD."""


def dkd_terms(student: Tensor, teacher: Tensor, target: Tensor, temperature: float = 1.0) -> DkdTerms:
    """KL divergence from the teacher to the student, decoupled into target and non-target classes (Eqs. 1 to 3).

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
    return DkdTerms(_divergence(log_s.pair, log_t.pair).sum(-1), _divergence(log_s.rest, log_t.rest).sum(-1))


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


def require_target(method: str, target: Tensor | None) -> Tensor:
    """The labels, for a method that cannot do without.

    Raises:
        TrainingError: there are none.
    """
    if target is None:
        raise TrainingError(f"{method}: needs labels, but the batch has none: leave unlabeled images out of the run")
    return target


def _divergence(log_s: Tensor, log_t: Tensor) -> Tensor:
    """Entries of the KL divergence, before their sum."""
    return F.kl_div(log_s, log_t, log_target=True, reduction="none")


def weighable_divergence(log_s: Tensor, log_t: Tensor) -> Tensor:
    """Entries p log(p/q) - p + q of the KL divergence between distributions (P, M), none negative, 0 where p = q.

    Their sum over a distribution is the KL divergence, as that of p log(p/q) alone; but these may be weighted one by
    one without moving the minimum.
    """
    return _divergence(log_s, log_t) + log_s.exp() - log_t.exp()


class DynamicWeightController(nn.Module):
    """A weight in [1, 10] for every logit, from the student's probabilities and confidence (Eqs. 6 to 8).

    Three linear layers without dropout, as Fig. 4 found best; their width and the activation are [inferred].

    Args:
        num_classes: K.
        hidden: width of the hidden layers.
        with_confidence: append the confidence Σ p log p to the probabilities (the better row of Table IV).
        layers: linear layers, one or more.
        dropout: probability that a hidden unit is dropped.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        hidden: int = 32,
        with_confidence: bool = True,
        layers: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.with_confidence = with_confidence
        widths = [num_classes + int(with_confidence), *[hidden] * (layers - 1), num_classes]
        modules: list[nn.Module] = []
        for before, after in pairwise(widths):
            modules += [nn.Linear(before, after), nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
        self.layers = nn.Sequential(*modules[: len(modules) - (2 if dropout else 1)])

    def forward(self, logits: Tensor) -> Tensor:
        """Weights in [1, 10] for the student's logits, (P, K) or (B, K, H, W), in the same shape."""
        log_p = full_precision(logits).movedim(1, -1).log_softmax(dim=-1)
        inputs = log_p.exp()
        if self.with_confidence:
            confidence = (inputs * log_p).sum(dim=-1, keepdim=True)
            inputs = torch.cat((inputs, confidence), dim=-1)
        with autocast_disabled(inputs):
            share: Tensor = self.layers(inputs.to(next(self.parameters()).dtype)).sigmoid()
        return LOWEST_WEIGHT + (HIGHEST_WEIGHT - LOWEST_WEIGHT) * share.movedim(-1, 1)


def hold_mean(weights: Tensor, mean: float) -> Tensor:
    """Weights of the given mean that stay within [1, 10]: all are moved towards one end by one factor."""
    current = weights.mean()
    shrink = (mean - LOWEST_WEIGHT) / (current - LOWEST_WEIGHT).clamp(min=1e-6)
    stretch = (HIGHEST_WEIGHT - mean) / (HIGHEST_WEIGHT - current).clamp(min=1e-6)
    lower = LOWEST_WEIGHT + (weights - LOWEST_WEIGHT) * shrink
    higher = HIGHEST_WEIGHT - (HIGHEST_WEIGHT - weights) * stretch
    return torch.where(current > mean, lower, higher).clamp(LOWEST_WEIGHT, HIGHEST_WEIGHT)


@dataclass(frozen=True)
class DwldConfig:
    """Settings of the logit distillation."""

    temperature: float = 1.0
    """Softens both distributions, and multiplies both terms by its square; the paper mentions none."""
    with_confidence: bool = True
    """Feed the student's confidence to the controller beside its probabilities; False is the second row of Table IV."""
    hidden: int = 32
    """Width of the controller's hidden layers."""
    layers: int = 3
    """The controller's linear layers, 1 or more (Fig. 4b)."""
    dropout: float = 0.0
    """In the controller, from 0 to below 1 (Fig. 4b)."""
    controller_input: Literal["student", "teacher"] = "student"
    """Whose logits the controller sees (Fig. 4b)."""
    mean_weight: float = 5.5
    """Mean of the weights over a batch, in [1, 10]; an untrained controller starts there. Unused with `as_published`"""
    as_published: bool = False
    """As written: weigh entries that may be negative, and train the controller through the student's logits, free to
    lower all its weights to 1."""


class Dwld(Distiller):
    """Dynamically weighted logit distillation, Eq. 9: DKD with a weight for every non-target logit.

    Two deviations, undone by `as_published`. Under unequal weights Σ W p log(p/q) is no divergence: it is least, and
    below zero, where the student follows W p instead of the teacher's p, so `weighable_divergence` takes its place;
    under a constant weight both are DKD. And a controller that minimizes this loss gives every logit the lowest
    weight, 1, so it sees detached logits here, and its weights keep a fixed mean: it can only redistribute.

    `statistics` holds the weights' mean, min and max of the latest step, to be logged.
    """

    paper = "Guo et al., TIP 2025: LIX, logits"
    needs = Needs(labels=True, min_classes=3)
    default_weights: ClassVar = {"target": 1.0, "non_target": 1.0}

    def __init__(self, config: DwldConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        if not LOWEST_WEIGHT <= config.mean_weight <= HIGHEST_WEIGHT:
            raise TrainingError(f"dwld: mean_weight is {config.mean_weight}, expected 1 to 10")
        if config.layers < 1 or not 0 <= config.dropout < 1:
            raise TrainingError(
                f"dwld: layers is {config.layers} and dropout {config.dropout}: expected 1 layer or more, and a"
                " probability from 0 to below 1"
            )
        self.controller = DynamicWeightController(
            student.num_classes,
            hidden=config.hidden,
            with_confidence=config.with_confidence,
            layers=config.layers,
            dropout=config.dropout,
        )
        self.statistics: dict[str, Tensor] = {}

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`."""
        temperature = self.config.temperature
        ours, theirs, labels = labeled_rows(
            "dwld", *paired_logits(student, teachers[0]), require_target("dwld", target)
        )
        log_s, log_t = decouple(ours / temperature, labels), decouple(theirs / temperature, labels)
        entries = (_divergence if self.config.as_published else weighable_divergence)(log_s.rest, log_t.rest)
        weights = self.weights(theirs if self.config.controller_input == "teacher" else ours, labels)
        return {
            "target": mean_or_zero(_divergence(log_s.pair, log_t.pair).sum(-1)) * temperature**2,
            "non_target": mean_or_zero((weights * entries).sum(-1)) * temperature**2,
        }

    def weights(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Weights (P, K - 1) of the non-target logits (P, K) of pixels labeled (P,); notes their statistics."""
        as_published = self.config.as_published
        weights = non_target_entries(self.controller(logits if as_published else logits.detach()), labels)
        if weights.numel() == 0:
            return weights
        if not as_published:
            weights = hold_mean(weights, self.config.mean_weight)
        low, high = weights.detach().aminmax()
        self.statistics = {"weight_mean": weights.detach().mean(), "weight_min": low, "weight_max": high}
        return weights
