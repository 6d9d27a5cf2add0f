# SPDX-License-Identifier: Apache-2.0
"""LIX's adaptively recalibrated feature distillation, ARFD (Guo et al., "LIX", TIP 2025).

Reconstructed from the paper's prose where equations were not available; that is marked [inferred].
B batch, C channels, H W size, N = C·H·W.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor

from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import Needs, NetworkInfo
from road_kd_training.distillers.common.functional import TapPair, align_spatial, check_same_shape, full_precision
from road_kd_training.distillers.common.taps import ChannelAdapters, TapDistiller, autocast_disabled, require_batch
from road_kd_training.errors import TrainingError

Kernel = Literal["laplace", "gaussian", "linear", "none"]
Consistency = Literal["cka", "cosine", "euclidean", "pearson"]
_EPS = 1e-12


def recalibrate(features: Tensor, kernel: Kernel = "laplace", bandwidth: float = 1.0) -> Tensor:
    """Map every element x to its kernel with zero, in (0, 1], so that no single large one dominates (Eqs. 13, 14).

    That the kernel acts per element is the text's; the shapes [inferred] are exp(-|x|/σ), exp(-x²/2σ²) and, for
    "linear", the triangular 1 - |x|/σ cut off at 0.

    Args:
        features: any shape; `align` gives them a root mean square of 1.
        kernel: none returns the features as they are ("w/o Kernel Regression" in Table V).
        bandwidth: σ, in units of the features.
    """
    if kernel == "none":
        return features
    distance = features.abs() / bandwidth
    if kernel == "laplace":
        return (-distance).exp()
    if kernel == "gaussian":
        return (-distance.square() / 2).exp()
    return F.relu(1 - distance)


def cka(x: Tensor, y: Tensor) -> Tensor:
    """Linear centered kernel alignment of two representations of the same examples (Eqs. 15 and 16), in [0, 1].

    Of two examples it is always 1: a centered Gram matrix of two has but one direction.

    Args:
        x: (B, N), or any shape that begins with the examples.
        y: (B, M), likewise; its gradient is kept, detach a teacher's.

    Returns:
        Scalar; 1 if equal up to rotation and scale; 0 if one does not vary over the batch.

    Raises:
        TrainingError: fewer than two examples, or different numbers of them.
    """
    if x.shape[0] != y.shape[0] or x.shape[0] < 2:
        raise TrainingError(
            f"cka: got {x.shape[0]} and {y.shape[0]} examples, expected the same number, at least 2:"
            " one example has no Gram matrix to compare; raise the batch size"
        )
    with autocast_disabled(x):
        gram_x, gram_y = (_centered_gram(full_precision(features).flatten(1)) for features in (x, y))
        # (n - 1)² of Eq. 15 cancels in the ratio.
        norm = (gram_x.square().sum() * gram_y.square().sum()).clamp(min=_EPS).sqrt()
        return (gram_x * gram_y).sum() / norm


def cosine_similarity(x: Tensor, y: Tensor) -> Tensor:
    """Mean over examples of the cosine between x and y (B, N)."""
    return F.cosine_similarity(x, y, dim=1).mean()


def pearson_correlation(x: Tensor, y: Tensor) -> Tensor:
    """Mean over examples of the correlation between x and y (B, N)."""
    return cosine_similarity(x - x.mean(dim=1, keepdim=True), y - y.mean(dim=1, keepdim=True))


def negative_distance(x: Tensor, y: Tensor) -> Tensor:
    """1 minus the mean over examples of the root mean square difference of x and y (B, N)."""
    return 1 - ((x - y).square().mean(dim=1) + _EPS).sqrt().mean()


CONSISTENCY: Mapping[Consistency, Callable[[Tensor, Tensor], Tensor]] = {
    "cka": cka,
    "cosine": cosine_similarity,
    "euclidean": negative_distance,
    "pearson": pearson_correlation,
}


def align(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Resize the larger map to the smaller, activate, give each sample a root mean square of 1, flatten (Eq. 12).

    Args:
        student: (B, C, h, w).
        teacher: (B, C, H, W).

    Returns:
        Both (B, N).
    """
    size = min(student.shape[-2:], teacher.shape[-2:], key=lambda shape: shape[0] * shape[1])
    aligned_student, aligned_teacher = (F.relu(align_spatial(x, size)).flatten(1) for x in (student, teacher))
    check_same_shape(
        "arfd: aligned features", aligned_student, aligned_teacher, hint="align the student's channels with an adapter"
    )
    return _unit_rms(aligned_student), _unit_rms(aligned_teacher)


def _unit_rms(x: Tensor) -> Tensor:
    return x / (x.square().mean(dim=1, keepdim=True) + _EPS).sqrt()


def _centered_gram(x: Tensor) -> Tensor:
    """HKH of x (B, N): centering the examples first equals centering their Gram matrix, and loses fewer digits."""
    centered = x - x.mean(dim=0)
    # A common scale cancels in CKA and keeps the squares of the products in range.
    centered = centered / centered.detach().square().sum(dim=1).mean().sqrt().clamp(min=_EPS)
    return centered @ centered.T


@dataclass(frozen=True)
class ArfdConfig:
    """Settings of the feature distillation; the fields span Table V."""

    taps: tuple[TapPair, ...]
    """(student tap, teacher tap) pairs; their losses are averaged."""
    kernel: Kernel = "laplace"
    """How features are recalibrated; none leaves them as aligned."""
    bandwidth: float = 1.0
    """σ of the kernel, in units of the aligned features' root mean square."""
    consistency: Consistency = "cka"
    """How student and teacher are compared."""


class Arfd(TapDistiller):
    """Adaptively recalibrated feature distillation: the mean over taps of 1 - consistency (Eq. 17).

    With CKA the examples are the images of the batch: one alone is refused, and two are warned of, because their CKA
    is 1 whatever the features are. The paper trains with 3 and 8. Of few images with many elements each, the published
    estimate of HSIC is biased: unrelated features score near 1 as well, so expect small values of this term.
    """

    Config = ArfdConfig
    paper = "Guo et al., TIP 2025: LIX, features"
    needs = Needs(features=True, min_batch=2)
    default_weights: ClassVar = {"feature_consistency": 1.0}
    term = "feature_consistency"

    def __init__(self, config: ArfdConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        if config.bandwidth <= 0:
            raise TrainingError(f"arfd: bandwidth is {config.bandwidth}, expected a positive number: 1 is the default")
        if config.consistency != "cka":
            self.needs = dataclasses.replace(self.needs, min_batch=1)
        self.adapters = ChannelAdapters(self.channels, always=True)

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`.

        Raises:
            TrainingError: a batch of 1 with CKA.
        """
        if self.config.consistency == "cka":
            require_batch("arfd", student.logits.shape[0], 3, "the CKA, always 1,")
        total = super().forward(student, teachers, target, step)[self.term]
        return {self.term: total / len(self.taps)}

    def compare(self, index: int, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """See `TapDistiller.compare`; labels are not consulted."""
        aligned_student, aligned_teacher = align(full_precision(self.adapters[index](student)), teacher)
        kernel, bandwidth = self.config.kernel, self.config.bandwidth
        similarity = CONSISTENCY[self.config.consistency]
        return 1 - similarity(
            recalibrate(aligned_student, kernel, bandwidth), recalibrate(aligned_teacher, kernel, bandwidth)
        )
