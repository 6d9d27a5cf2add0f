# SPDX-License-Identifier: Apache-2.0
"""MFNet (Ha et al., "MFNet: Towards Real-Time Semantic Segmentation for Autonomous Vehicles", IROS 2017).

LIX's small teacher (RGB-X) and, without the X encoder, its small student. Two light encoders of
conv-BN-LeakyReLU(0.2) and mini-inception blocks run side by side and are joined at the end; the decoder up-samples
(nearest) and adds the joined encoder maps. The last block, too, ends in BN and LeakyReLU.

Shapes: rgb (B, 3, H, W), depth (B, D, H, W) → logits (B, K, H, W), H and W multiples of 16. Taps, of both encoders
joined: `encoder2` (1/2), `encoder3` (1/4), `encoder4` (1/8), `encoder5` (1/16); and `decoder4` (1/8), `decoder3`
(1/4), `decoder2` (1/2).

736,275 parameters with one depth channel and 9 classes, 601,848 of them in the encoders; the RGB encoder has 528,096.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from road_kd_seg.networks.common.base import FeatureInfo, SegmentationNetwork, SegOutput

_RGB_WIDTHS = (16, 48, 48, 96, 96)
_X_WIDTHS = (16, 16, 16, 36, 36)


class MfNet(SegmentationNetwork):
    """MFNet.

    Args:
        num_classes: K.
        depth_channels: D; 0 for the RGB network.
    """

    size_divisor = 16

    def __init__(self, num_classes: int, *, depth_channels: int = 1) -> None:
        super().__init__(num_classes, depth_channels=depth_channels)
        self.rgb_encoder = _Encoder(3, _RGB_WIDTHS)
        self.depth_encoder = _Encoder(depth_channels, _X_WIDTHS) if depth_channels else None
        widths = [a + b for a, b in zip(_RGB_WIDTHS, _X_WIDTHS, strict=True)] if depth_channels else _RGB_WIDTHS
        c1, c2, c3, c4, c5 = widths
        self.decoders = nn.ModuleList([_conv(c4, c3), _conv(c3, c2), _conv(c2, c1)])
        self.final = _conv(c1, num_classes)
        self.feature_info = {
            "encoder2": FeatureInfo(c2, 2),
            "encoder3": FeatureInfo(c3, 4),
            "encoder4": FeatureInfo(c4, 8),
            "encoder5": FeatureInfo(c5, 16),
            "decoder4": FeatureInfo(c3, 8),
            "decoder3": FeatureInfo(c2, 4),
            "decoder2": FeatureInfo(c1, 2),
        }

    def forward(self, rgb: Tensor, depth: Tensor | None = None) -> SegOutput:
        """See `SegmentationNetwork.forward`."""
        self.check_input(rgb, depth)
        encoded = self.rgb_encoder(rgb)
        if self.depth_encoder is not None:
            encoded = [torch.cat(pair, dim=1) for pair in zip(encoded, self.depth_encoder(depth), strict=True)]
        features = {f"encoder{index}": x for index, x in enumerate(encoded, start=2)}
        x = encoded[-1]
        for index, decoder in zip((4, 3, 2), self.decoders, strict=True):
            x = features[f"decoder{index}"] = decoder(_double(x) + features[f"encoder{index}"])
        return SegOutput(self.final(_double(x)), features)


class _Encoder(nn.Module):
    """(B, C, H, W) → the maps at 1/2, 1/4, 1/8 (each before its pool) and 1/16."""

    def __init__(self, in_channels: int, widths: tuple[int, int, int, int, int]) -> None:
        super().__init__()
        c1, c2, c3, c4, c5 = widths
        self.stem = _conv(in_channels, c1)
        self.stages = nn.ModuleList(
            [
                nn.Sequential(_conv(c1, c2), _conv(c2, c2)),
                nn.Sequential(_conv(c2, c3), _conv(c3, c3)),
                nn.Sequential(_MiniInception(c3, c4), _MiniInception(c4, c4), _MiniInception(c4, c4)),
                nn.Sequential(_MiniInception(c4, c5), _MiniInception(c5, c5), _MiniInception(c5, c5)),
            ]
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        maps = []
        for stage in self.stages:
            x = stage(F.max_pool2d(x, 2))
            maps.append(x)
        return maps


class _MiniInception(nn.Module):
    """Two 3x3 convolutions of half the width side by side, the second dilated by 2, joined."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.plain = _conv(in_channels, out_channels // 2)
        self.dilated = _conv(in_channels, out_channels // 2, dilation=2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.plain(x), self.dilated(x)), dim=1)


def _conv(in_channels: int, out_channels: int, *, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation),
        nn.BatchNorm2d(out_channels),
        nn.LeakyReLU(0.2, inplace=True),
    )


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def mfnet_rgb(num_classes: int) -> MfNet:
    """LIX's small student: MFNet without the X encoder."""
    return MfNet(num_classes, depth_channels=0)
