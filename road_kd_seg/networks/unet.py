# SPDX-License-Identifier: Apache-2.0
"""U-Net (Ronneberger et al., MICCAI 2015) on ResNet-34: "UNet-ResNet-34" of IntRA-KD's Tables 2 and 4.

The paper gives no details; this is the common form: five up-sampling steps (nearest) of two conv-BN-ReLU layers with
256, 128, 64, 32 and 16 channels, the first four joined by the backbone's features.

Shapes: rgb (B, 3, H, W) → logits (B, K, H, W), H and W multiples of 32. Taps: `encoder3` (128, 1/8), `encoder4` (256,
1/16), `encoder5` (512, 1/32), `decoder3` (64, 1/4), `decoder1` (16, 1/1).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from road_kd_seg.networks.common.backbones import backbone_channels, load_backbone
from road_kd_seg.networks.common.base import FeatureInfo, SegmentationNetwork, SegOutput
from road_kd_seg.networks.common.blocks import conv_bn_relu

_WIDTHS = (256, 128, 64, 32, 16)


class UNetR34(SegmentationNetwork):
    """U-Net.

    Args:
        num_classes: K.
        pretrained: ImageNet weights for the backbone.
    """

    size_divisor = 32

    def __init__(self, num_classes: int, *, pretrained: bool = False) -> None:
        super().__init__(num_classes)
        self.backbone = load_backbone("resnet34.tv_in1k", pretrained=pretrained)
        c1, c2, c3, c4, c5 = backbone_channels(self.backbone)
        ins = (c5 + c4, _WIDTHS[0] + c3, _WIDTHS[1] + c2, _WIDTHS[2] + c1, _WIDTHS[3])
        self.decoders = nn.ModuleList(
            nn.Sequential(conv_bn_relu(in_channels, width), conv_bn_relu(width, width))
            for in_channels, width in zip(ins, _WIDTHS, strict=True)
        )
        self.classifier = nn.Conv2d(_WIDTHS[-1], num_classes, 3, padding=1)
        self.feature_info = {
            "encoder3": FeatureInfo(c3, 8),
            "encoder4": FeatureInfo(c4, 16),
            "encoder5": FeatureInfo(c5, 32),
            "decoder3": FeatureInfo(_WIDTHS[2], 4),
            "decoder1": FeatureInfo(_WIDTHS[4], 1),
        }

    def forward(self, rgb: Tensor, depth: Tensor | None = None) -> SegOutput:
        """See `SegmentationNetwork.forward`."""
        self.check_input(rgb, depth)
        encoded: list[Tensor] = self.backbone(rgb)
        features = {f"encoder{index}": x for index, x in enumerate(encoded, start=1)}
        x = encoded[-1]
        for index, decoder in zip((5, 4, 3, 2, 1), self.decoders, strict=True):
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            if index > 1:
                x = torch.cat((x, encoded[index - 2]), dim=1)
            x = features[f"decoder{index}"] = decoder(x)
        return SegOutput(self.classifier(x), {name: features[name] for name in self.feature_info})
