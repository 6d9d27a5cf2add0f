# SPDX-License-Identifier: Apache-2.0
"""CCT's perturbations of encoder features (Ouali et al., CVPR 2020, Section 3.2), without a loop over samples.

B batch, C channels, K classes, h w size of the features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from road_kd_training.distillers.common.functional import align_spatial

Perturbation = Callable[[Tensor, Tensor], Tensor]
"""(features (B, C, h, w), main probabilities (B, K, H, W)) → perturbed features."""


def feature_noise(features: Tensor, probabilities: Tensor) -> Tensor:
    """F-Noise: every activation is scaled by 1 + u, u uniform in ±0.3 and the same for all samples."""
    return features * (1 + torch.empty_like(features[:1]).uniform_(-0.3, 0.3))


def feature_drop(features: Tensor, probabilities: Tensor) -> Tensor:
    """F-Drop: the most active places go, those above 0.6 to 0.9 of the strongest mean over channels."""
    attention = features.detach().mean(dim=1, keepdim=True)
    share = torch.empty((), device=features.device, dtype=features.dtype).uniform_(0.6, 0.9)
    return features * (attention < attention.amax(dim=(2, 3), keepdim=True) * share)


def channel_dropout(features: Tensor, probabilities: Tensor) -> Tensor:
    """DropOut: half of the channels, as a whole."""
    return F.dropout2d(features, 0.5)


def object_masking(features: Tensor, probabilities: Tensor) -> Tensor:
    """Obj-Msk: what is predicted as anything but class 0 is hidden."""
    return features * (1 - _foreground(features, probabilities))


def context_masking(features: Tensor, probabilities: Tensor) -> Tensor:
    """Con-Msk: what is predicted as class 0 is hidden."""
    return features * _foreground(features, probabilities)


def guided_cutout(features: Tensor, probabilities: Tensor) -> Tensor:
    """G-Cutout: a random window of 0.4 of each side of the box around the foreground is hidden, per sample.

    The authors cut from every object's own box; one box per sample needs no contours on the CPU.
    """
    foreground = _foreground(features, probabilities)[:, 0] > 0
    inside = _window(foreground.any(dim=2))[:, :, None] & _window(foreground.any(dim=1))[:, None, :]
    return features * ~inside[:, None]


def _window(occupied: Tensor) -> Tensor:
    """A random stretch of 0.4 of the occupied one, per sample: bool (B, n) → bool (B, n), empty where nothing is."""
    cells = torch.arange(occupied.shape[1], device=occupied.device)
    first = torch.where(occupied, cells, cells.numel()).amin(dim=1, keepdim=True)
    length = torch.where(occupied, cells + 1, 0).amax(dim=1, keepdim=True) - first
    start = first + torch.rand_like(length, dtype=torch.float32) * 0.6 * length
    return (cells >= start.floor()) & (cells < (start + 0.4 * length).floor()) & occupied.any(dim=1, keepdim=True)


def _foreground(features: Tensor, probabilities: Tensor) -> Tensor:
    """Where the prediction is not class 0: (B, 1, h, w) of 0 and 1 at the features' size."""
    foreground = (probabilities.argmax(dim=1, keepdim=True) > 0).to(features.dtype)
    return align_spatial(foreground, features.shape[-2:], mode="nearest")


def adversarial_noise(features: Tensor, decoder: Callable[[Tensor], Tensor]) -> Tensor:
    """I-VAT: a step of length 2 towards where the decoder's prediction changes most (Miyato et al., one iteration).

    Args:
        features: (B, C, h, w).
        decoder: features → logits.
    """
    start = features.detach()
    with torch.enable_grad():
        reference = decoder(start).detach().softmax(dim=1)
        direction = _unit(torch.rand_like(start) - 0.5).requires_grad_()
        divergence = F.kl_div(decoder(start + 1e-1 * direction).log_softmax(dim=1), reference, reduction="batchmean")
        (gradient,) = torch.autograd.grad(divergence, direction)
    return features + 2.0 * _unit(gradient)


def _unit(x: Tensor) -> Tensor:
    return F.normalize(x.flatten(1), dim=1).view_as(x)


PERTURBATIONS: Mapping[str, Perturbation] = {
    "feature_noise": feature_noise,
    "feature_drop": feature_drop,
    "channel_dropout": channel_dropout,
    "object_masking": object_masking,
    "context_masking": context_masking,
    "guided_cutout": guided_cutout,
}
"""Those that need no decoder, by name; `adversarial_noise` beside them is "vat"."""
