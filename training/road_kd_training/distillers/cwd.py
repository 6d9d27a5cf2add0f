# SPDX-License-Identifier: Apache-2.0
"""Channel-wise knowledge distillation (Shu et al., ICCV 2021).

B batch, C channels, H W size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from road_kd_training.distillers.common.base import Needs, NetworkInfo
from road_kd_training.distillers.common.functional import TapPair, check_same_shape, check_temperature
from road_kd_training.distillers.common.taps import ChannelAdapters, TapDistiller
from road_kd_training.distillers.soft_targets import soft_target_kl

_HINT = "align the student with an adapter"


def channel_wise_kl(student: Tensor, teacher: Tensor, temperature: float = 3.0) -> Tensor:
    """KL divergence between the spatial distributions of corresponding channels (Eqs. 3 and 4).

    One `log_softmax` per side: the published code takes the logarithm of a softmax, which underflows to -inf.

    Args:
        student: activations, (B, C, H, W).
        teacher: activations of the same shape; no gradient flows into them.
        temperature: softens each channel's distribution over H*W.

    Returns:
        Scalar, averaged over batch and channels and scaled by temperature squared.

    Raises:
        ShapeMismatch: the shapes differ.
    """
    check_same_shape("channel_wise_kl", student, teacher, hint=_HINT)
    log_s = (student.flatten(2) / temperature).log_softmax(dim=-1)
    log_t = (teacher.detach().flatten(2) / temperature).log_softmax(dim=-1)
    return F.kl_div(log_s, log_t, log_target=True, reduction="sum") * temperature**2 / student.shape[:2].numel()


def swapped_channel_wise_kl(student: Tensor, teacher: Tensor, temperature: float = 3.0) -> Tensor:
    """Eq. 4 with its two distributions in the other order (Section 4.3): the teacher's divergence from the student."""
    check_same_shape("swapped_channel_wise_kl", student, teacher, hint=_HINT)
    log_s = (student.flatten(2) / temperature).log_softmax(dim=-1)
    log_t = (teacher.detach().flatten(2) / temperature).log_softmax(dim=-1)
    return F.kl_div(log_t, log_s, log_target=True, reduction="sum") * temperature**2 / student.shape[:2].numel()


def squared_error(student: Tensor, teacher: Tensor) -> Tensor:
    """Table 4, L2 without normalization: squared distance of the channel vectors (B, C, H, W), averaged over pixels."""
    check_same_shape("squared_error", student, teacher, hint=_HINT)
    return (student - teacher.detach()).square().sum() / student[:, 0].numel()


def channel_wise_squared_error(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Table 4, L2 with channel normalization: Eq. 4 with the squared error in place of the KL divergence."""
    check_same_shape("channel_wise_squared_error", student, teacher, hint=_HINT)
    p_s = (student.flatten(2) / temperature).softmax(dim=-1)
    p_t = (teacher.detach().flatten(2) / temperature).softmax(dim=-1)
    return (p_s - p_t).square().sum() * temperature**2 / student.shape[:2].numel()


def channel_wise_bhattacharyya(student: Tensor, teacher: Tensor, temperature: float = 3.0) -> Tensor:
    """Table 4, Bhat: Eq. 4 with the Bhattacharyya distance -log Σ √(p q), computed from logarithms throughout."""
    check_same_shape("channel_wise_bhattacharyya", student, teacher, hint=_HINT)
    log_s = (student.flatten(2) / temperature).log_softmax(dim=-1)
    log_t = (teacher.detach().flatten(2) / temperature).log_softmax(dim=-1)
    return -((log_s + log_t) / 2).logsumexp(dim=-1).sum() * temperature**2 / student.shape[:2].numel()


@dataclass(frozen=True)
class CwdConfig:
    """Where and how the channels are compared."""

    taps: tuple[TapPair, ...]
    """(student tap, teacher tap) pairs; `logits` is the score map. The paper takes the pyramid's output."""
    temperature: float = 3.0
    """Softens the distributions; unused by variant l2. The paper's 3; the authors' README: 4, on logits."""
    variant: Literal["kl", "swapped_kl", "pi", "l2", "l2_channel", "bhattacharyya"] = "kl"
    """The rows of Table 4, and Section 4.3's swapped order; kl is the method."""
    adapter: Literal["conv", "conv_bn_relu"] = "conv"
    """Takes the student to the teacher's channels where they differ. conv: the paper's 1x1 convolution. conv_bn_relu:
    the published code's 1x1 convolution without bias, batch norm and ReLU."""


class Cwd(TapDistiller):
    """Channel-wise distillation, Eqs. 2 to 4, and the variants of Table 4.

    A student's map of another size is resized to the teacher's. Weight 3 is the paper's, on features; the authors'
    logs show 35 to 40 there, and 3 (with temperature 4) is their README's for logits.
    """

    Config = CwdConfig
    paper = "Shu et al., ICCV 2021"
    needs = Needs(features=True)
    default_weights: ClassVar = {"channel_kl": 3.0}
    term = "channel_kl"

    def __init__(self, config: CwdConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        check_temperature("cwd", config.temperature)
        self.adapters = ChannelAdapters(self.channels, bias=config.adapter == "conv")
        if config.adapter == "conv_bn_relu":
            for index, (ours, theirs) in enumerate(self.channels):
                if ours != theirs:
                    self.adapters[index] = nn.Sequential(self.adapters[index], nn.BatchNorm2d(theirs), nn.ReLU())

    def compare(self, index: int, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """See `TapDistiller.compare`; labels are not consulted."""
        adapted = self.adapters.adapt(index, student, teacher)
        temperature = self.config.temperature
        if self.config.variant == "pi":
            return soft_target_kl(adapted, teacher, temperature)
        if self.config.variant == "l2":
            return squared_error(adapted, teacher)
        if self.config.variant == "l2_channel":
            return channel_wise_squared_error(adapted, teacher, temperature)
        if self.config.variant == "bhattacharyya":
            return channel_wise_bhattacharyya(adapted, teacher, temperature)
        if self.config.variant == "swapped_kl":
            return swapped_channel_wise_kl(adapted, teacher, temperature)
        return channel_wise_kl(adapted, teacher, temperature)
