# SPDX-License-Identifier: Apache-2.0
"""SNE-RoadSeg (Fan et al., "Incorporating Surface Normal Information into Semantic Segmentation", ECCV 2020).

LIX's large teacher, and, without the second encoder, its large student. Two ResNet-152 encoders, color and X
(surface normals, `road_kd_seg.preprocess.normals`, or depth); X is added to color after the stem and after each
layer, and the sum continues in the color encoder. The decoder is UNet++'s: node (row i, column j) joins all nodes of
its row before it and the up-sampled node (i + 1, j − 1).

Shapes: rgb (B, 3, H, W), depth (B, D, H, W) → logits (B, K, H, W), H and W multiples of 32; the last block ends in BN
and ReLU, so logits are ≥ 0. Taps: `encoder1` (64, 1/2), `encoder2` (256, 1/4), `encoder3` (512, 1/8), `encoder4`
(1024, 1/16), `encoder5` (2048, 1/32), and the last node of each decoder row, `decoder1` (64, 1/2) to `decoder4`
(1024, 1/16).

201,318,534 parameters with one depth channel and 2 classes, 116,281,344 of them in the encoders; the encoder of the
RGB network has 58,143,808.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from road_kd_seg.networks.common.backbones import resnet_stages
from road_kd_seg.networks.common.base import FeatureInfo, SegmentationNetwork, SegOutput

_WIDTHS = (64, 256, 512, 1024, 2048)


class SneRoadSeg(SegmentationNetwork):
    """SNE-RoadSeg on ResNet-152.

    Args:
        num_classes: K.
        depth_channels: D; 3 for surface normals, 1 for depth, 0 for the RGB network.
        pretrained: ImageNet weights for the encoders.
    """

    size_divisor = 32

    def __init__(self, num_classes: int, *, depth_channels: int = 3, pretrained: bool = False) -> None:
        super().__init__(num_classes, depth_channels=depth_channels)
        self.rgb_stages = resnet_stages("resnet152.tv_in1k", pretrained=pretrained)
        self.depth_stages = (
            resnet_stages("resnet152.tv_in1k", in_channels=depth_channels, pretrained=pretrained)
            if depth_channels
            else None
        )
        self.decoder = _NestedDecoder()
        self.final = _UpConv(_WIDTHS[0], num_classes)
        self.feature_info = {
            **{f"encoder{row + 1}": FeatureInfo(width, 2 ** (row + 1)) for row, width in enumerate(_WIDTHS)},
            **{f"decoder{row + 1}": FeatureInfo(_WIDTHS[row], 2 ** (row + 1)) for row in range(4)},
        }

    def forward(self, rgb: Tensor, depth: Tensor | None = None) -> SegOutput:
        """See `SegmentationNetwork.forward`."""
        self.check_input(rgb, depth)
        encoded: list[Tensor] = []
        x = rgb
        for index, stage in enumerate(self.rgb_stages):
            x = stage(x)
            if self.depth_stages is not None:
                depth = self.depth_stages[index](depth)
                x = x + depth
            encoded.append(x)
        decoded = self.decoder(encoded)
        features = {f"encoder{row}": x for row, x in enumerate(encoded, start=1)}
        features |= {f"decoder{row}": x for row, x in enumerate(decoded, start=1)}
        return SegOutput(self.final(decoded[0]), features)


class _NestedDecoder(nn.Module):
    """Five encoder maps, from 1/2 down → the last node of each of the four decoder rows, same order."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.ModuleList(_DecoderRow(*pair, nodes=4 - row) for row, pair in enumerate(pairwise(_WIDTHS)))

    def forward(self, encoded: list[Tensor]) -> list[Tensor]:
        below = [encoded[-1]]
        last: list[Tensor] = []
        for x, row in zip(reversed(encoded[:-1]), reversed(self.rows), strict=True):
            below = row(x, below)
            last.insert(0, below[-1])
        return last


class _DecoderRow(nn.Module):
    """One row: its encoder map (B, C, h, w) and the nodes of the row below → its nodes, the encoder map first."""

    def __init__(self, width: int, below: int, *, nodes: int) -> None:
        super().__init__()
        self.joins = nn.ModuleList(_DoubleConv((column + 2) * width, width) for column in range(nodes))
        self.ups = nn.ModuleList(_UpConv(below, width) for _ in range(nodes))

    def forward(self, x: Tensor, below: list[Tensor]) -> list[Tensor]:
        nodes = [x]
        for node, join, up in zip(below, self.joins, self.ups, strict=True):
            nodes.append(join(torch.cat([*nodes, up(node)], dim=1)))
        return nodes


class _DoubleConv(nn.Sequential):
    """Two conv-BN-ReLU layers: (B, C, H, W) → (B, out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class _UpConv(nn.Module):
    """(B, C, H, W) → (B, out, 2H, 2W): bilinear, then conv-BN-ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        return F.relu(self.norm(self.conv(x)), inplace=True)


def sne_roadseg_r152_rgb(num_classes: int, *, pretrained: bool = False) -> SneRoadSeg:
    """LIX's large student: SNE-RoadSeg without the X encoder."""
    return SneRoadSeg(num_classes, depth_channels=0, pretrained=pretrained)
