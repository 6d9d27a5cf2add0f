# SPDX-License-Identifier: Apache-2.0
"""What every distillation method is to the engine. B batch, C channels, K classes, H W size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from road_kd_seg.networks import FeatureInfo, SegmentationNetwork, SegOutput
from road_kd_training.errors import TrainingError


@dataclass(frozen=True, slots=True)
class NetworkInfo:
    """What a method must know of a network to build its adapters."""

    name: str
    num_classes: int
    feature_info: Mapping[str, FeatureInfo]

    @staticmethod
    def of(name: str, network: SegmentationNetwork) -> NetworkInfo:
        """Describe a network."""
        return NetworkInfo(name, network.num_classes, dict(network.feature_info))

    def tap(self, name: str) -> FeatureInfo:
        """Channels and stride of one tap.

        Raises:
            TrainingError: the network has no such tap; the message lists those it has.
        """
        if name not in self.feature_info:
            raise TrainingError(
                f"network '{self.name}' has no tap '{name}': use one of {', '.join(self.feature_info)},"
                " or the path of a module"
            )
        return self.feature_info[name]


@dataclass(frozen=True, slots=True)
class Needs:
    """What a method requires of a run: checked before the first step."""

    features: bool = False
    """Taps of student and teacher."""
    labels: bool = False
    """Ground truth at every step."""
    unlabeled: bool = False
    """Profits from images without labels."""
    min_teachers: int = 1
    max_teachers: int = 1
    min_classes: int = 1
    min_taps: int = 1
    """Pairs of taps, or taps of the student; 2 where neighbors are compared."""
    min_batch: int = 1
    """Samples per step and process; 2 where the images of a batch are compared with each other."""


class Distiller(nn.Module):
    """A distillation method: adapters (if any) and the terms of its loss.

    Subclasses set the class attributes, build their adapters in `__init__` (if they have any), and compute their terms
    in `forward`.
    """

    Config: ClassVar[type]
    """Frozen dataclass of the method's settings."""
    paper: ClassVar[str]
    """Authors, venue, year."""
    needs: Needs
    default_weights: ClassVar[Mapping[str, float]]
    """Weight of each term as in the paper; its keys are the names of the terms."""
    may_stay_zero: ClassVar[frozenset[str]] = frozenset()
    """Terms that are 0 while the teacher is sure of nothing; others that stay 0 point to a faulty recipe."""
    trains_peers: ClassVar[bool] = False
    """Whether the teachers are peers that train jointly with the student; the engine adds their cross entropy."""

    def __init__(self, config: Any, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__()
        self.config = config
        self.student_info = student
        self.statistics: dict[str, Tensor] = {}
        """Scalars of the latest step, to be logged."""
        check_needs(type(self).__name__, self.needs, student, teachers)

    def own_optimizer(self) -> torch.optim.Optimizer | None:
        """Of parameters that the run's optimizer shall leave alone, such as an adversary's; None if there are none."""
        return None

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """Unweighted scalar terms by name; the weights live in the recipe.

        Args:
            student: with gradient.
            teachers: one or more, without gradient.
            target: class ids int64 (B, H, W), 255 = ignore; None for unlabeled images.
            step: optimizer step since the method's start, for warm-ups.
        """
        raise TypeError(f"{type(self).__name__} does not define forward")


def check_needs(method: str, needs: Needs, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
    """Refuse a run that the method cannot do.

    Raises:
        TrainingError: too few or too many teachers, too few classes, or networks with different classes.
    """
    if not needs.min_teachers <= len(teachers) <= needs.max_teachers:
        expected = (
            f"{needs.min_teachers}"
            if needs.min_teachers == needs.max_teachers
            else f"{needs.min_teachers} to {needs.max_teachers}"
        )
        raise TrainingError(
            f"{method}: got {len(teachers)} teachers, expected {expected}: correct the recipe's teachers"
        )
    if student.num_classes < needs.min_classes:
        raise TrainingError(
            f"{method}: the student has {student.num_classes} classes, expected at least {needs.min_classes}:"
            " its loss is constant with fewer; split a class or use another method"
        )
    for teacher in teachers:
        if teacher.num_classes != student.num_classes:
            raise TrainingError(
                f"{method}: teacher '{teacher.name}' has {teacher.num_classes} classes, the student"
                f" {student.num_classes}: train both on one taxonomy"
            )
