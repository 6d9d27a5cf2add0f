# SPDX-License-Identifier: Apache-2.0
"""DeepLabV3 (Chen et al., 2017) as CWD's students use it, and DeepLabV3+ (Chen et al., ECCV 2018) as SSLKD does.

V3: a dilated backbone to 1/8, atrous spatial pyramid pooling (ASPP, rates 12, 24, 36) and a 1x1 classifier. CWD names
no widths; these give its Table 5's parameters with 19 classes (12.62 M, 3.15 M, 2.45 M) and its multiplications.
V3+: a backbone to 1/16, ASPP (rates 6, 12, 18), and a decoder that adds detail from block 2 at 1/4; 58,749,090
parameters (R101) and 39,756,962 (R50) with 2 classes.

Shapes: rgb (B, 3, H, W) → logits (B, K, H, W), H and W multiples of 8 (V3) or 16 (V3+). Taps of V3: `encoder3`,
`encoder4`, `encoder5`, `aspp` and `scores`, the class scores before they are enlarged (1/8 each), and, present with an
auxiliary head, `auxiliary_logits`; of V3+: `encoder2` (1/4), `encoder5` (1/16), where SSLKD compares backbones, `aspp`
(1/16) and `decoder` (1/4).

Deviations: as in `pspnet.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from road_kd_seg.networks.common.backbones import (
    backbone_channels,
    deep_stem_backbone,
    half_resnet18_backbone,
    load_backbone,
)
from road_kd_seg.networks.common.base import FeatureInfo, SegmentationNetwork, SegOutput
from road_kd_seg.networks.common.blocks import conv_bn_relu, resize
from road_kd_seg.networks.pspnet import auxiliary_head


class DeepLabV3(SegmentationNetwork):
    """DeepLabV3 on a backbone that returns features from 1/2 to its fifth block, the last three at 1/8.

    Args:
        num_classes: K.
        backbone: from `road_kd_seg.networks.common.backbones`.
        branch_channels: width of each branch of the ASPP.
        aspp_channels: width of its result.
        auxiliary_channels: width of the auxiliary head on the fourth block; 0 for none.
    """

    size_divisor = 8
    min_training_batch = 2

    def __init__(
        self,
        num_classes: int,
        backbone: nn.Module,
        branch_channels: int,
        aspp_channels: int,
        auxiliary_channels: int = 0,
    ) -> None:
        super().__init__(num_classes)
        _, _, c3, c4, c5 = backbone_channels(backbone)
        self.backbone = backbone
        self.aspp = Aspp(c5, branch_channels, aspp_channels, rates=(12, 24, 36))
        self.classifier = nn.Conv2d(aspp_channels, num_classes, 1)
        self.auxiliary_head = auxiliary_head(c4, auxiliary_channels, num_classes) if auxiliary_channels else None
        self.feature_info = {
            "encoder3": FeatureInfo(c3, 8),
            "encoder4": FeatureInfo(c4, 8),
            "encoder5": FeatureInfo(c5, 8),
            "aspp": FeatureInfo(aspp_channels, 8),
            "scores": FeatureInfo(num_classes, 8),
        }
        if auxiliary_channels:
            self.feature_info["auxiliary_logits"] = FeatureInfo(num_classes, 8)

    def forward(self, rgb: Tensor, depth: Tensor | None = None) -> SegOutput:
        """See `SegmentationNetwork.forward`."""
        self.check_input(rgb, depth)
        _, _, encoder3, encoder4, encoder5 = self.backbone(rgb)
        aspp = self.aspp(encoder5)
        scores = self.classifier(aspp)
        features = {"encoder3": encoder3, "encoder4": encoder4, "encoder5": encoder5}
        features |= {"aspp": aspp, "scores": scores}
        if self.auxiliary_head is not None:
            features["auxiliary_logits"] = self.auxiliary_head(encoder4)
        return SegOutput(resize(scores, rgb.shape[-2:]), features)


class DeepLabV3Plus(SegmentationNetwork):
    """DeepLabV3+ on a ResNet.

    Args:
        num_classes: K.
        backbone: timm's name.
        pretrained: ImageNet weights.
    """

    size_divisor = 16
    min_training_batch = 2

    def __init__(self, num_classes: int, backbone: str, *, pretrained: bool = False) -> None:
        super().__init__(num_classes)
        self.backbone = load_backbone(backbone, pretrained=pretrained, output_stride=16, out_indices=(1, 4))
        c2, c5 = backbone_channels(self.backbone)
        self.aspp = Aspp(c5, 256, 256, rates=(6, 12, 18))
        self.detail = conv_bn_relu(c2, 48, 1)
        self.decoder = conv_bn_relu(256 + 48, 256)
        self.classifier = nn.Conv2d(256, num_classes, 1)
        self.feature_info = {
            "encoder2": FeatureInfo(c2, 4),
            "encoder5": FeatureInfo(c5, 16),
            "aspp": FeatureInfo(256, 16),
            "decoder": FeatureInfo(256, 4),
        }

    def forward(self, rgb: Tensor, depth: Tensor | None = None) -> SegOutput:
        """See `SegmentationNetwork.forward`."""
        self.check_input(rgb, depth)
        encoder2, encoder5 = self.backbone(rgb)
        aspp = self.aspp(encoder5)
        detail = self.detail(encoder2)
        decoder = self.decoder(torch.cat((detail, resize(aspp, detail.shape[-2:])), dim=1))
        features = {"encoder2": encoder2, "encoder5": encoder5, "aspp": aspp, "decoder": decoder}
        return SegOutput(resize(self.classifier(decoder), rgb.shape[-2:]), features)


class Aspp(nn.Module):
    """1x1, dilated 3x3 at each rate and a global mean, side by side, then 1x1: (B, C, h, w) → (B, out, h, w)."""

    def __init__(self, in_channels: int, branch_channels: int, out_channels: int, *, rates: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                conv_bn_relu(in_channels, branch_channels, 1),
                *(conv_bn_relu(in_channels, branch_channels, dilation=rate) for rate in rates),
            ]
        )
        self.context = conv_bn_relu(in_channels, branch_channels, 1)
        joined = (len(self.branches) + 1) * branch_channels
        self.project = nn.Sequential(conv_bn_relu(joined, out_channels, 1), nn.Dropout(0.1))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        context = self.context(x.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, *x.shape[-2:])
        out: Tensor = self.project(torch.cat([*(branch(x) for branch in self.branches), context], dim=1))
        return out


def deeplabv3_r18(num_classes: int, *, auxiliary: bool = True, pretrained: bool = False) -> DeepLabV3:
    """CWD's "Deeplab-R18": 12,617,318 parameters with 19 classes, with the deep stem and the auxiliary head."""
    return DeepLabV3(
        num_classes, deep_stem_backbone("resnet18", pretrained=pretrained), 64, 128, 128 if auxiliary else 0
    )


def deeplabv3_r18_half(num_classes: int, *, auxiliary: bool = True) -> DeepLabV3:
    """CWD's "Deeplab-R18 (0.5)", trained from scratch: 3,158,854 parameters with 19 classes."""
    return DeepLabV3(num_classes, half_resnet18_backbone(), 32, 64, 64 if auxiliary else 0)


def deeplabv3_mbv2(num_classes: int, *, pretrained: bool = False) -> DeepLabV3:
    """CWD's "Deeplab-MBV2": 2,449,939 parameters with 19 classes."""
    backbone = load_backbone("mobilenetv2_100.ra_in1k", pretrained=pretrained, output_stride=8)
    return DeepLabV3(num_classes, backbone, 64, 128)


def deeplabv3plus_r101(num_classes: int, *, pretrained: bool = False) -> DeepLabV3Plus:
    """SSLKD's first teacher: 58,749,090 parameters with 2 classes."""
    return DeepLabV3Plus(num_classes, "resnet101.tv_in1k", pretrained=pretrained)


def deeplabv3plus_r50(num_classes: int, *, pretrained: bool = False) -> DeepLabV3Plus:
    """SSLKD's student: 39,756,962 parameters with 2 classes."""
    return DeepLabV3Plus(num_classes, "resnet50.tv_in1k", pretrained=pretrained)
