# SPDX-License-Identifier: Apache-2.0
"""IntRA-KD: inter-region affinity distillation for road marking segmentation (Hou et al., CVPR 2020).

Deviations, and choices where the paper is silent:

- Eq. 2 as printed sums the second and third moments over all pixels, so that every masked-out one adds μ1², and
  divides the third by the variance. Here sums run over the masked pixels and the third is divided by σ³ (the text says
  skewness); `as_published` gives Eq. 2 as printed.
- An absent class has no moments (0/0 in Eq. 2): it adds 0 to Eq. 4, whose n stays the number of classes.
- The areas of interest have the label's size, the features are smaller: a cell of a feature map belongs to a class
  where any of its pixels does, so that thin markings survive and student and teacher see the same classes.
- The losses of several pairs of taps are added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.attention_transfer import attention_loss, attention_map
from road_kd_training.distillers.common.base import Needs, NetworkInfo
from road_kd_training.distillers.common.functional import TapPair, check_same_shape, require_target
from road_kd_training.distillers.common.taps import TapDistiller, autocast_disabled
from road_kd_training.errors import TrainingError

__all__ = [
    "IntraKd",
    "IntraKdConfig",
    "Moments",
    "affinity_graph",
    "affinity_loss",
    "aoi_masks",
    "attention_loss",
    "attention_map",
    "moment_pool",
]

_EPSILON = 1e-6
"""Added to a variance before it divides; features have a variance around 1 after batch normalization."""
_RESOLUTION = 1000
"""Smallest variance, in units of the rounding of its terms, whose skewness still has a correct digit."""


class Moments(NamedTuple):
    """The distribution of the features in each class's area of interest."""

    mu1: Tensor
    """Mean, (B, K, C)."""
    mu2: Tensor
    """Variance, (B, K, C)."""
    mu3: Tensor
    """Skewness, (B, K, C)."""
    present: Tensor
    """Whether the sample holds the class, bool (B, K); its moments are 0 where not."""


def aoi_masks(labels: Tensor, num_classes: int, kernel_size: int = 5, size: Sequence[int] | None = None) -> Tensor:
    """Areas of interest: each class's pixels, dilated by a square (Section 3.2: an average kernel's support).

    Args:
        labels: class ids int64 (B, H, W); anything outside 0 … num_classes - 1 belongs to no class.
        num_classes: K.
        kernel_size: side of the square in label pixels, odd; 1 for the bare labels.
        size: (h, w) of the features; a cell belongs to a class where any of its pixels does. None: the labels' size.

    Returns:
        bool (B, K, h, w); a pixel may belong to several classes.

    Raises:
        TrainingError: an even or non-positive kernel.
    """
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise TrainingError(f"IntRA-KD: kernel_size is {kernel_size}, expected an odd number of pixels such as 5")
    batch, height, width = labels.shape
    rows, columns = tuple(size) if size is not None else (height, width)
    # A last class, cut off at the end, takes the pixels without a class.
    known = labels.where((labels >= 0) & (labels < num_classes), num_classes)
    masks = labels.new_zeros((batch, num_classes + 1, rows, columns), dtype=torch.bool)
    sample = torch.arange(batch, device=labels.device)[:, None, None]
    # Scattering each pixel into the cells under its square needs no (B, K, H, W) map at the label's size.
    row_cells = _cells_under_square(height, rows, kernel_size, labels.device)
    column_cells = _cells_under_square(width, columns, kernel_size, labels.device)
    for row, column in product(row_cells, column_cells):
        masks[sample, known, row[:, None], column[None, :]] = True
    return masks[:, :num_classes]


def _cells_under_square(pixels: int, cells: int, kernel_size: int, device: torch.device) -> list[Tensor]:
    """For a pixel's line: indices of cells that together are all that the square around each pixel reaches."""
    radius, stride = kernel_size // 2, max(1, pixels // cells)
    offsets = {*range(-radius, radius, stride), radius}
    lines = torch.arange(pixels, device=device)
    return [(lines + offset).clamp(0, pixels - 1) * cells // pixels for offset in sorted(offsets)]


def moment_pool(features: Tensor, aoi: Tensor, *, as_published: bool = False) -> Moments:
    """Moments of the features in every class's area of interest (Eq. 2), for all classes of the batch at once.

    Args:
        features: (B, C, H, W).
        aoi: bool (B, K, H, W), see `aoi_masks`.
        as_published: Eq. 2 as printed, see the module's docstring.

    Returns:
        The moments, in the features' type. A channel whose standard deviation in a class is below about 1 % of its
        distance from the image's mean (in float32) counts as constant there: variance and skewness 0.

    Raises:
        ShapeMismatch: features and areas differ in batch or size.
    """
    check_same_shape(
        "moment_pool: features (first channel) against aoi (first class)",
        features[:, 0],
        aoi[:, 0],
        hint="call aoi_masks with the features' size",
    )
    mask = aoi.flatten(2).to(features.dtype)
    area = mask.sum(dim=2, keepdim=True)
    present = area > 0
    weights = mask / area.clamp(min=1)
    # Powers about the image's mean, which drops out of the result, cancel fewer digits than powers about zero.
    center = features.detach().mean(dim=(2, 3))[:, :, None]
    x = features.flatten(2) - center
    squared = x * x
    with autocast_disabled(features):
        first, second, third = (weights @ power.transpose(1, 2) for power in (x, squared, squared * x))
    mu1 = (first + center.transpose(1, 2)).where(present, 0)
    mu2 = second - first * first
    central3 = third - 3 * first * second + 2 * first**3
    # What is left of a variance below the digits of its terms is noise: the channel is constant there.
    resolved = mu2 > _RESOLUTION * torch.finfo(features.dtype).eps * second
    mu2, central3 = mu2.where(resolved, 0), central3.where(resolved, 0)
    if as_published:
        outside = ((mask.shape[2] - area) / area.clamp(min=1)).where(present, 0)
        mu2 = mu2 + outside * mu1**2
        mu3 = (central3 - outside * mu1**3) / (mu2 + _EPSILON) ** 3
    else:
        mu3 = central3 / (mu2 + _EPSILON) ** 1.5
    return Moments(mu1, mu2, mu3, present.squeeze(2))


def affinity_graph(moments: Tensor) -> Tensor:
    """Cosine similarity of every pair of classes (Eq. 3).

    Args:
        moments: (…, K, C), of one order or several stacked.

    Returns:
        (…, K, K), with ones on the diagonal and zeros at classes without moments; unchanged by a positive scale.
    """
    nodes = F.normalize(moments, dim=-1, eps=1e-8)
    return nodes @ nodes.transpose(-1, -2)


def affinity_loss(student: Tensor, teacher: Tensor, present: Tensor) -> Tensor:
    """Mean squared difference of two affinity graphs (Eq. 4).

    Args:
        student: (B, R, K, K), R orders of moments.
        teacher: the same shape; no gradient flows into it.
        present: bool (B, K); pairs with an absent class add 0.

    Returns:
        Scalar, averaged over batch, orders and all K² pairs.

    Raises:
        ShapeMismatch: the graphs differ in shape.
    """
    check_same_shape("affinity_loss", student, teacher, hint="use the same classes and orders of moments for both")
    both = present[:, None, :, None] & present[:, None, None, :]
    return (student - teacher.detach()).square().where(both, 0).mean()


@dataclass(frozen=True)
class IntraKdConfig:
    """Settings of IntRA-KD."""

    taps: tuple[TapPair, ...] = (("block2", "encoder3"), ("block3", "encoder5"))
    """(student tap, teacher tap) pairs: here ERFNet against a ResNet-101's blocks 3 and 5. Fig. 10's "Middle" is the
    first alone, "High" the second alone."""
    moments: tuple[int, ...] = (1, 2, 3)
    """Orders of the moments that are compared, any of 1, 2, 3 (Fig. 10)."""
    kernel_size: int = 5
    """Side of the square that dilates the labels, in label pixels, odd."""
    as_published: bool = False
    """Pool moments with Eq. 2 as printed."""


class IntraKd(TapDistiller):
    """IntRA-KD (Hou et al., CVPR 2020): affinity graphs of class regions (Eqs. 2 to 4) and attention maps (Eq. 6).

    One class has but one node, whose affinity with itself is 1: refused. Fig. 10's variants without one of the terms
    are a weight of 0.
    """

    Config = IntraKdConfig
    paper = "Hou et al., CVPR 2020"
    needs = Needs(features=True, labels=True, min_classes=2)
    default_weights: ClassVar = {"affinity": 0.1, "attention": 0.1}

    def __init__(self, config: IntraKdConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        if not config.moments or len(set(config.moments)) != len(config.moments) or set(config.moments) - {1, 2, 3}:
            raise TrainingError(f"IntRA-KD: moments is {config.moments}, expected a subset of (1, 2, 3), each once")

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`.

        Raises:
            TrainingError: no labels.
        """
        target = require_target("IntRA-KD", target)
        pairs = self.pairs(student, teachers)
        affinity = []
        for pair in pairs:
            ours, present = self._graph(pair.student, target)
            theirs, _ = self._graph(pair.teacher, target)
            affinity.append(affinity_loss(ours, theirs, present))
        attention = [attention_loss(pair.student, pair.teacher) for pair in pairs]
        return {"affinity": torch.stack(affinity).sum(), "attention": torch.stack(attention).sum()}

    def _graph(self, features: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        config = self.config
        aoi = aoi_masks(target, self.student_info.num_classes, config.kernel_size, features.shape[-2:])
        pooled = moment_pool(features, aoi, as_published=config.as_published)
        return affinity_graph(torch.stack([pooled[order - 1] for order in config.moments], dim=1)), pooled.present
