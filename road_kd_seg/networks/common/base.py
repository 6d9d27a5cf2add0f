# SPDX-License-Identifier: Apache-2.0
"""What every network is to the rest of the package. B batch, K classes, C channels, H W size."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from road_kd_seg.errors import FrameError, RoadKdError, ShapeMismatch


class SegOutput(NamedTuple):
    """What a network returns, in training and in eval mode alike."""

    logits: Tensor
    """(B, K, H, W), at the input's size, or (B, K, H/s, W/s) with s = `SegmentationNetwork.logits_stride`."""
    features: dict[str, Tensor]
    """Taps for distillation by name, (B, C, h, w) each; `feature_info` says which."""


class FeatureInfo(NamedTuple):
    """Shape of one tap: its channels, and the input's size divided by the tap's."""

    channels: int
    stride: int


class SegmentationNetwork(nn.Module):
    """Base of all networks: `forward(rgb, depth) -> SegOutput`.

    Args:
        num_classes: K, channels of the logits.
        depth_channels: channels of the depth input; 0 makes an RGB network.
    """

    feature_info: dict[str, FeatureInfo]
    modalities: tuple[str, ...] = ("rgb",)
    """("rgb",) or ("rgb", "depth")."""
    depth_channels: int = 0
    """Channels of the depth input; 0 for an RGB network."""
    size_divisor: int = 1
    """Height and width must be multiples of this."""
    logits_stride: int = 1
    """The input's size divided by that of the logits."""
    min_training_batch: int = 1
    """2 where batch norm follows global pooling and so cannot train on one sample."""
    num_classes: int

    def __init__(self, num_classes: int, *, depth_channels: int = 0) -> None:
        super().__init__()
        name = type(self).__name__
        if num_classes < 1:
            raise RoadKdError(
                f"{name}: num_classes is {num_classes}, expected 1 or more: pass the size of the taxonomy"
            )
        if depth_channels < 0:
            raise RoadKdError(f"{name}: depth_channels is {depth_channels}, expected 0 (RGB only) or more")
        self.num_classes = num_classes
        self.depth_channels = depth_channels
        self.modalities = ("rgb", "depth") if depth_channels else ("rgb",)

    def check_input(self, rgb: Tensor, depth: Tensor | None) -> None:
        """Refuse what `forward` cannot take, naming it.

        Raises:
            ShapeMismatch: a wrong rank, channel count, or depth size.
            FrameError: a size that is not a multiple of `size_divisor`, depth missing or unexpected, or too small a
                batch to train on.
        """
        name = type(self).__name__
        if rgb.ndim != 4 or rgb.shape[1] != 3:
            raise ShapeMismatch(f"{name}: rgb", rgb.shape, (rgb.shape[0], 3, *rgb.shape[-2:]), hint="pass (B, 3, H, W)")
        height, width = rgb.shape[-2:]
        if height % self.size_divisor or width % self.size_divisor:
            raise FrameError(
                f"{name}: input is {height}x{width}, expected multiples of {self.size_divisor}:"
                f" resize to {_round_up(height, self.size_divisor)}x{_round_up(width, self.size_divisor)}"
            )
        if self.training and rgb.shape[0] < self.min_training_batch:
            raise FrameError(
                f"{name}: got a batch of {rgb.shape[0]} in training, expected {self.min_training_batch} or more:"
                " raise the batch size, or switch to eval mode"
            )
        if "depth" not in self.modalities:
            if depth is not None:
                raise FrameError(f"{name}: got depth, but this network takes RGB only: pass depth=None")
            return
        expected = (rgb.shape[0], self.depth_channels, height, width)
        if depth is None:
            raise FrameError(
                f"{name}: depth is missing, expected {expected}: use an RGB-only network without a depth camera"
            )
        if depth.shape != expected:
            raise ShapeMismatch(
                f"{name}: depth", depth.shape, expected, hint="match depth_channels and the size of rgb"
            )

    def forward(self, rgb: Tensor, depth: Tensor | None = None) -> SegOutput:
        """Segment.

        Args:
            rgb: (B, 3, H, W), normalized.
            depth: (B, depth_channels, H, W), encoded, or None for an RGB network.
        """
        raise TypeError(f"{type(self).__name__} does not define forward")


def _round_up(size: int, divisor: int) -> int:
    return -(-size // divisor) * divisor
