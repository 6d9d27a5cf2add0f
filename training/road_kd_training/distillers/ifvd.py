# SPDX-License-Identifier: Apache-2.0
"""IFVD (Wang et al., "Intra-class Feature Variation Distillation for Semantic Segmentation", ECCV 2020).

B batch, C channels, K classes, H W size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from road_kd_training.distillers.common.base import Needs
from road_kd_training.distillers.common.functional import (
    TapPair,
    align_spatial,
    mean_over,
    require_target,
    resize_labels,
    valid_pixels,
)
from road_kd_training.distillers.common.taps import TapDistiller, autocast_disabled


def intra_class_similarity(features: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Cosine between each pixel and the mean of its class in the image; 0 at ignored pixels.

    Args:
        features: (B, C, H, W).
        labels: class ids (B, H, W) of the same size, 255 = ignore. Classes may be absent.
        num_classes: K.

    Returns:
        (B, H, W).
    """
    valid = valid_pixels(labels)
    one_hot = F.one_hot(labels.where(valid, 0), num_classes).to(features.dtype) * valid[..., None]
    members = one_hot.flatten(1, 2)
    pixels = features.flatten(2)
    with autocast_disabled(features):
        counts = members.sum(dim=1).clamp(min=1)[:, None]
        prototypes = (pixels @ members) / counts
        own_prototype = prototypes @ members.transpose(1, 2)
    return F.cosine_similarity(pixels, own_prototype, dim=1).view_as(labels)


@dataclass(frozen=True)
class IfvdConfig:
    """Where class prototypes are formed."""

    taps: tuple[TapPair, ...]
    """(student tap, teacher tap) pairs; `logits` is the score map."""


class Ifvd(TapDistiller):
    """Mean squared difference of the intra-class similarity maps, over labeled pixels.

    The labels are resized to the teacher's map by nearest neighbor, and the student's map bilinearly. The published
    code counts ignored pixels as their own prototypes (a difference of 0); here they do not count.
    """

    Config = IfvdConfig
    paper = "Wang et al., ECCV 2020"
    needs = Needs(features=True, labels=True)
    default_weights: ClassVar = {"intra_class_variation": 200.0}
    term = "intra_class_variation"

    def compare(self, index: int, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """See `TapDistiller.compare`.

        Raises:
            TrainingError: no labels.
        """
        size = teacher.shape[-2:]
        labels = resize_labels(require_target("ifvd", target), size)
        num_classes = self.student_info.num_classes
        ours = intra_class_similarity(align_spatial(student, size), labels, num_classes)
        theirs = intra_class_similarity(teacher, labels, num_classes)
        return mean_over((ours - theirs).square(), valid_pixels(labels))
