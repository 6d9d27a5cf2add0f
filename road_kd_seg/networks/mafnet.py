# SPDX-License-Identifier: Apache-2.0
"""MAFNet (Feng et al., "Segmentation of Road Potholes with Multimodal Attention Fusion Network", T-IM 2022).

With the widths that CPKD (Feng et al., Fig. 1) gives it: a ResNet-152 teacher and a ResNet-18 student. Two backbones,
color and depth. At every stage depth is added to color and the sum attended to; the fused map continues in the color
backbone only. Stages 1 and 2 use channel attention, 3 to 5 dual attention; stage 5 is a transformer per backbone. Five
up-sampling stages without skip connections follow; the last ends in BN and ReLU, so logits are ≥ 0.

Shapes: rgb (B, 3, H, W), depth (B, D, H, W) → logits (B, K, H, W), H and W multiples of 32, or of 64 at half scale.
Taps, at the places of CPKD's Table II (row E): `encoder1`, `encoder3`, `encoder5`, `decoder4`, `decoder2`.

Deviations: position embeddings, which the published code ties to one size, are interpolated to others.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from road_kd_seg.errors import RoadKdError
from road_kd_seg.networks.common.attention import ChannelAttention, DualAttention, TransformerStage
from road_kd_seg.networks.common.backbones import resnet_stages
from road_kd_seg.networks.common.base import FeatureInfo, SegmentationNetwork, SegOutput


class _Widths(NamedTuple):
    backbone: str
    stages: tuple[int, int, int, int, int]
    hidden: int
    """Width of the transformers' tokens."""


_R152 = _Widths("resnet152.tv_in1k", (64, 256, 512, 1024, 2048), 1024)
_R34 = _Widths("resnet34.tv_in1k", (64, 64, 128, 256, 512), 1024)
_R18 = _Widths("resnet18.tv_in1k", (64, 64, 128, 256, 512), 256)


class MafNet(SegmentationNetwork):
    """MAFNet with backbones of one width.

    Args:
        num_classes: K.
        widths: backbone and channels.
        depth_channels: D; CPKD colors depth with `jet` (3).
        input_scale: the network works at this fraction of the input's size, resized (nearest) before and after.
        image_size: (H, W) of the input that the position embeddings are learned at.
        pretrained: ImageNet weights for both backbones.
    """

    min_training_batch = 2

    def __init__(
        self,
        num_classes: int,
        widths: _Widths,
        *,
        depth_channels: int = 3,
        input_scale: float = 1.0,
        image_size: tuple[int, int] = (576, 1024),
        pretrained: bool = False,
    ) -> None:
        super().__init__(num_classes, depth_channels=depth_channels)
        if depth_channels < 1:
            raise RoadKdError("MafNet: depth_channels is 0, expected 1 or 3: use 'erfnet' for RGB only")
        if input_scale not in (0.5, 1.0):
            raise RoadKdError(f"MafNet: input_scale is {input_scale}, expected 0.5 (student-c, student-s) or 1.0")
        self.input_scale = input_scale
        self.size_divisor = round(32 / input_scale)
        height, width = image_size
        if height % self.size_divisor or width % self.size_divisor:
            raise RoadKdError(f"MafNet: image_size {height}x{width} must be multiples of {self.size_divisor}")
        grid = (height // self.size_divisor, width // self.size_divisor)
        c1, c2, c3, c4, c5 = widths.stages
        self.rgb_stages = resnet_stages(widths.backbone, pretrained=pretrained, depth=3)
        self.depth_stages = resnet_stages(widths.backbone, in_channels=depth_channels, pretrained=pretrained, depth=3)
        self.rgb_stages.append(TransformerStage(c4, widths.hidden, c5, grid))
        self.depth_stages.append(TransformerStage(c4, widths.hidden, c5, grid))
        self.fusions = nn.ModuleList(
            [
                ChannelAttention(c1, c1 // 2),
                ChannelAttention(c2, c2 // 2),
                DualAttention(c3),
                DualAttention(c4),
                DualAttention(c5),
            ]
        )
        outs = (c5 // 2, c5 // 4, c5 // 8, c5 // 16, num_classes)
        self.decoders = nn.ModuleList(_UpStage(*pair) for pair in zip((c5, *outs[:-1]), outs, strict=True))
        self.feature_info = {
            name: FeatureInfo(channels, round(stride / input_scale))
            for name, channels, stride in (
                ("encoder1", c1, 2),
                ("encoder3", c3, 8),
                ("encoder5", c5, 32),
                ("decoder4", outs[1], 8),
                ("decoder2", outs[3], 2),
            )
        }

    def forward(self, rgb: Tensor, depth: Tensor | None = None) -> SegOutput:
        """See `SegmentationNetwork.forward`. Training needs a batch of 2, as in CPKD, or more."""
        self.check_input(rgb, depth)
        assert depth is not None  # check_input saw to it
        fused, depth = self._resize(rgb, self.input_scale), self._resize(depth, self.input_scale)
        features = {}
        encoder = zip(self.rgb_stages, self.depth_stages, self.fusions, strict=True)
        for index, (rgb_stage, depth_stage, fusion) in enumerate(encoder, start=1):
            depth = depth_stage(depth)
            fused = features[f"encoder{index}"] = fusion(rgb_stage(fused) + depth)
        for index, decoder in zip((5, 4, 3, 2, 1), self.decoders, strict=True):
            fused = features[f"decoder{index}"] = decoder(fused)
        return SegOutput(
            self._resize(fused, 1 / self.input_scale), {name: features[name] for name in self.feature_info}
        )

    @staticmethod
    def _resize(x: Tensor, scale: float) -> Tensor:
        return x if scale == 1 else F.interpolate(x, scale_factor=scale, mode="nearest")


class _UpStage(nn.Sequential):
    """A bottleneck at one size, then one that halves the channels and doubles the size."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            _TransBottleneck(in_channels, in_channels), _TransBottleneck(in_channels, out_channels, stride=2)
        )


class _TransBottleneck(nn.Module):
    """RTFNet's decoder block (Sun et al., RA-L 2019): 1x1, 3x3, 3x3 or (up-sampling) transposed 2x2; a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            _double(out_channels, out_channels)
            if stride == 2
            else nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut = (
            nn.Sequential(_double(in_channels, out_channels), nn.BatchNorm2d(out_channels))
            if stride == 2
            else nn.Identity()
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.xavier_uniform_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x), inplace=True)


def _double(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2, bias=False)


def mafnet_r152(
    num_classes: int,
    *,
    depth_channels: int = 3,
    image_size: tuple[int, int] = (576, 1024),
    pretrained: bool = False,
) -> MafNet:
    """CPKD's teacher: 354,446,570 parameters with 2 classes at 576x1024."""
    return MafNet(num_classes, _R152, depth_channels=depth_channels, image_size=image_size, pretrained=pretrained)


def mafnet_r34(
    num_classes: int,
    *,
    depth_channels: int = 3,
    image_size: tuple[int, int] = (576, 1024),
    pretrained: bool = False,
) -> MafNet:
    """MAFNet as published: 113,071,466 parameters with 2 classes at `image_size=(512, 512)`."""
    return MafNet(num_classes, _R34, depth_channels=depth_channels, image_size=image_size, pretrained=pretrained)


def mafnet_r18(
    num_classes: int,
    *,
    depth_channels: int = 3,
    input_scale: float = 0.5,
    image_size: tuple[int, int] = (576, 1024),
    pretrained: bool = False,
) -> MafNet:
    """CPKD's student, 22,351,722 parameters with 2 classes; `input_scale=1.0` makes student-u of its Table I."""
    return MafNet(
        num_classes,
        _R18,
        depth_channels=depth_channels,
        input_scale=input_scale,
        image_size=image_size,
        pretrained=pretrained,
    )
