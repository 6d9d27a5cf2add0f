# SPDX-License-Identifier: Apache-2.0
"""LIX's dynamically weighted logit distillation, DWLD (Guo et al., "LIX", TIP 2025), on DKD's decoupled terms.

Reconstructed from the paper's prose where equations were not available; that is marked [inferred].
B batch, K classes, H W size, P labeled pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import Distiller, Needs, NetworkInfo
from road_kd_training.distillers.common.functional import full_precision, paired_logits, require_target
from road_kd_training.distillers.common.taps import autocast_disabled, mean_or_zero
from road_kd_training.distillers.dkd import decouple, divergence_entries, labeled_rows, non_target_entries
from road_kd_training.errors import TrainingError

LOWEST_WEIGHT = 1.0
HIGHEST_WEIGHT = 10.0


def weighable_divergence(log_s: Tensor, log_t: Tensor) -> Tensor:
    """Entries p log(p/q) - p + q of the KL divergence between distributions (P, M), none negative, 0 where p = q.

    Their sum over a distribution is the KL divergence, as that of p log(p/q) alone; but these may be weighted one by
    one without moving the minimum.
    """
    return divergence_entries(log_s, log_t) + log_s.exp() - log_t.exp()


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

    Config = DwldConfig
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

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`."""
        temperature = self.config.temperature
        ours, theirs, labels = labeled_rows(
            "dwld", *paired_logits(student, teachers[0]), require_target("dwld", target)
        )
        log_s, log_t = decouple(ours / temperature, labels), decouple(theirs / temperature, labels)
        entries = (divergence_entries if self.config.as_published else weighable_divergence)(log_s.rest, log_t.rest)
        weights = self.weights(theirs if self.config.controller_input == "teacher" else ours, labels)
        return {
            "target": mean_or_zero(divergence_entries(log_s.pair, log_t.pair).sum(-1)) * temperature**2,
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
        self.statistics.update(weight_mean=weights.detach().mean(), weight_min=low, weight_max=high)
        return weights
