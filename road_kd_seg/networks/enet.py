# SPDX-License-Identifier: Apache-2.0
"""ENet (Paszke et al., "ENet: A Deep Neural Network Architecture for Real-Time Semantic Segmentation", 2016).

A second student of IntRA-KD. Table 1 of the paper: an initial block to 1/2, five bottlenecks at 1/4, seventeen at
1/8, and a small decoder that un-pools with the encoder's indices. Encoder blocks end in PReLU, decoder blocks in
ReLU.

Shapes: rgb (B, 3, H, W) → logits (B, K, H, W), H and W multiples of 8. Taps: `encoder1` (64, 1/4), `encoder2` and
`encoder3` (128, 1/8), the paper's stages, and `decoder` (16, 1/2).

349,644 parameters with 5 classes. Deviation: one slope per PReLU, not one per channel, as the published count has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from road_kd_seg.networks.common.base import FeatureInfo, SegmentationNetwork, SegOutput
from road_kd_seg.networks.common.blocks import max_unpool

_Activation = Callable[[], nn.Module]


class ENet(SegmentationNetwork):
    """ENet, RGB only.

    Args:
        num_classes: K.
    """

    size_divisor = 8

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.initial = nn.Conv2d(3, 13, 3, stride=2, padding=1, bias=False)
        self.initial_norm = nn.Sequential(nn.BatchNorm2d(16), nn.PReLU())
        self.down1 = _Down(16, 64, dropout=0.01)
        self.stage1 = nn.Sequential(*(_Bottleneck(64, dropout=0.01) for _ in range(4)))
        self.down2 = _Down(64, 128, dropout=0.1)
        self.stage2 = _dilated_stage()
        self.stage3 = _dilated_stage()
        self.up4 = _Up(128, 64)
        self.stage4 = nn.Sequential(*(_Bottleneck(64, dropout=0.1, activation=nn.ReLU) for _ in range(2)))
        self.up5 = _Up(64, 16)
        self.stage5 = _Bottleneck(16, dropout=0.1, activation=nn.ReLU)
        self.classifier = nn.ConvTranspose2d(16, num_classes, 3, stride=2, padding=1, output_padding=1, bias=False)
        self.feature_info = {
            "encoder1": FeatureInfo(64, 4),
            "encoder2": FeatureInfo(128, 8),
            "encoder3": FeatureInfo(128, 8),
            "decoder": FeatureInfo(16, 2),
        }

    def forward(self, rgb: Tensor, depth: Tensor | None = None) -> SegOutput:
        """See `SegmentationNetwork.forward`."""
        self.check_input(rgb, depth)
        pooled = F.max_pool2d(rgb, 3, stride=2, padding=1)
        x = self.initial_norm(torch.cat((self.initial(rgb), pooled), dim=1))
        down1 = self.down1(x)
        encoder1 = self.stage1(down1.x)
        down2 = self.down2(encoder1)
        encoder2 = self.stage2(down2.x)
        encoder3 = self.stage3(encoder2)
        x = self.stage4(self.up4(encoder3, down2.indices))
        decoder = self.stage5(self.up5(x, down1.indices))
        features = {"encoder1": encoder1, "encoder2": encoder2, "encoder3": encoder3, "decoder": decoder}
        return SegOutput(self.classifier(decoder), features)


def _dilated_stage() -> nn.Sequential:
    """Stages 2 and 3 of Table 1: plain and asymmetric bottlenecks between dilated ones."""
    return nn.Sequential(
        _Bottleneck(128, dropout=0.1),
        _Bottleneck(128, dropout=0.1, dilation=2),
        _Bottleneck(128, dropout=0.1, asymmetric=True),
        _Bottleneck(128, dropout=0.1, dilation=4),
        _Bottleneck(128, dropout=0.1),
        _Bottleneck(128, dropout=0.1, dilation=8),
        _Bottleneck(128, dropout=0.1, asymmetric=True),
        _Bottleneck(128, dropout=0.1, dilation=16),
    )


def _norm_act(conv: nn.Module, channels: int, activation: _Activation) -> list[nn.Module]:
    return [conv, nn.BatchNorm2d(channels), activation()]


class _Bottleneck(nn.Module):
    """1x1 to a quarter of the channels, 3x3 (dilated, or 5x1 and 1x5), 1x1 back, dropout, shortcut: keeps the shape."""

    def __init__(
        self,
        channels: int,
        *,
        dropout: float,
        dilation: int = 1,
        asymmetric: bool = False,
        activation: _Activation = nn.PReLU,
    ) -> None:
        super().__init__()
        inner = channels // 4
        middle = (
            [
                *_norm_act(nn.Conv2d(inner, inner, (5, 1), padding=(2, 0), bias=False), inner, activation),
                *_norm_act(nn.Conv2d(inner, inner, (1, 5), padding=(0, 2), bias=False), inner, activation),
            ]
            if asymmetric
            else _norm_act(
                nn.Conv2d(inner, inner, 3, padding=dilation, dilation=dilation, bias=False), inner, activation
            )
        )
        self.body = nn.Sequential(
            *_norm_act(nn.Conv2d(channels, inner, 1, bias=False), inner, activation),
            *middle,
            *_norm_act(nn.Conv2d(inner, channels, 1, bias=False), channels, activation),
            nn.Dropout2d(dropout),
        )
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation(self.body(x) + x)
        return out


class _Pooled(NamedTuple):
    x: Tensor
    indices: Tensor
    """Of the max-pool, (B, in_channels, h, w), for un-pooling."""


class _Down(nn.Module):
    """(B, C, H, W) → (B, out, H/2, W/2): a strided bottleneck beside a max-pool padded with zero channels."""

    def __init__(self, in_channels: int, out_channels: int, *, dropout: float) -> None:
        super().__init__()
        inner = in_channels // 4
        self.padding = out_channels - in_channels
        self.body = nn.Sequential(
            *_norm_act(nn.Conv2d(in_channels, inner, 2, stride=2, bias=False), inner, nn.PReLU),
            *_norm_act(nn.Conv2d(inner, inner, 3, padding=1, bias=False), inner, nn.PReLU),
            *_norm_act(nn.Conv2d(inner, out_channels, 1, bias=False), out_channels, nn.PReLU),
            nn.Dropout2d(dropout),
        )
        self.activation = nn.PReLU()

    def forward(self, x: Tensor) -> _Pooled:
        pooled, indices = F.max_pool2d(x, 2, return_indices=True)
        shortcut = F.pad(pooled, (0, 0, 0, 0, 0, self.padding))
        return _Pooled(self.activation(self.body(x) + shortcut), indices)


class _Up(nn.Module):
    """(B, C, h, w) → (B, out, 2h, 2w): a bottleneck with a transposed convolution beside un-pooling."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        inner = in_channels // 4
        self.body = nn.Sequential(
            *_norm_act(nn.Conv2d(in_channels, inner, 1, bias=False), inner, nn.ReLU),
            *_norm_act(nn.ConvTranspose2d(inner, inner, 2, stride=2, bias=False), inner, nn.ReLU),
            nn.Conv2d(inner, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.Dropout2d(0.1),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor, indices: Tensor) -> Tensor:
        return F.relu(self.body(x) + max_unpool(self.shortcut(x), indices), inplace=True)
