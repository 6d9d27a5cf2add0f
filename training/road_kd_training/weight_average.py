# SPDX-License-Identifier: Apache-2.0
"""Means of networks' weights: over the steps of a run, and of two networks.

That of two keeps what a further training has taught without all that it made forget: WiSE-FT (Wortsman et al., Robust
fine-tuning of zero-shot models, CVPR 2022). It works where the second network was trained on from the first: between
unrelated weights there is nothing in the middle.
"""

from __future__ import annotations

import torch
from torch import nn

from road_kd_seg.bundle import Bundle
from road_kd_seg.networks import SegmentationNetwork
from road_kd_training.errors import TrainingError


def check_alike(first: Bundle, second: Bundle) -> None:
    """Refuse two bundles whose weights cannot be averaged.

    Raises:
        TrainingError: another network, input or classes; the message says which.
    """
    for name, of_first, of_second in (
        ("network", (first.network, dict(first.network_kwargs)), (second.network, dict(second.network_kwargs))),
        ("input", first.input.to_dict(), second.input.to_dict()),
        ("classes", first.taxonomy.names, second.taxonomy.names),
    ):
        if of_first != of_second:
            raise TrainingError(
                f"weights of {first.path} and {second.path} cannot be averaged: {name} {of_first} against"
                f" {of_second}: choose what this network was trained on from"
            )


def average_weights(network: SegmentationNetwork, other: SegmentationNetwork, share: float) -> None:
    """Replace a network's weights by (1 - share) of them and `share` of the other's, statistics of batch norm alike.

    Args:
        network: is changed.
        other: of the same shapes.
        share: 0 to 1.

    Raises:
        TrainingError: a share outside 0 to 1.
    """
    if not 0 <= share <= 1:
        raise TrainingError(f"share is {share}, expected from 0 to 1")
    move_weights(network, other, share)


def newest_share(decay: float, step: int) -> float:
    """Share of a step's weights in the running average of a run's weights.

    The average looks back over a tenth of the steps so far until that is more than `decay` looks back over, as
    TensorFlow's ExponentialMovingAverage does with `num_updates`. With `decay` from the first step on, the random
    weights that a network starts from would keep a share of decay^step, and steps at high learning rates much more: at
    0.995 a student of 331 steps had 15 % mIoU instead of 44.

    Args:
        decay: 0 to 1; 0 keeps the newest weights alone.
        step: how many steps were taken, from 1.
    """
    return 1 - min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def move_weights(network: nn.Module, other: nn.Module, share: float) -> None:
    """Move weights and buffers (batch norm statistics) a share of the way to another's; counters become the other's."""
    theirs = other.state_dict()
    for key, value in network.state_dict().items():
        if value.is_floating_point():
            value.lerp_(theirs[key].to(value.dtype), share)
        else:
            value.copy_(theirs[key])
