# SPDX-License-Identifier: Apache-2.0
"""SegNet on VGG-16 (Badrinarayanan et al., "SegNet", T-PAMI 2017), the second teacher of SSLKD.

Thirteen conv-BN-ReLU layers with five max-pools, and their mirror image, which un-pools with the encoder's indices;
no other skip connections.

Shapes: rgb (B, 3, H, W) → logits (B, K, H, W), H and W multiples of 32. Taps: `encoder3` (256, 1/8), `encoder4` (512,
1/16), `encoder5` (512, 1/32), each after its pool, and `decoder` (64, 1/1).
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from road_kd_seg.networks.common.backbones import load_backbone
from road_kd_seg.networks.common.base import FeatureInfo, SegmentationNetwork, SegOutput
from road_kd_seg.networks.common.blocks import max_unpool

_ENCODER = ((3, 64, 64), (64, 128, 128), (128, 256, 256, 256), (256, 512, 512, 512), (512, 512, 512, 512))
_DECODER = ((512, 512, 512, 512), (512, 512, 512, 256), (256, 256, 256, 128), (128, 128, 64), (64, 64))


class SegNetVgg16(SegmentationNetwork):
    """SegNet.

    Args:
        num_classes: K.
        pretrained: ImageNet weights (VGG-16 with batch norm) for the encoder.
    """

    size_divisor = 32

    def __init__(self, num_classes: int, *, pretrained: bool = False) -> None:
        super().__init__(num_classes)
        self.encoders = nn.ModuleList(_stage(widths) for widths in _ENCODER)
        self.decoders = nn.ModuleList(_stage(widths) for widths in _DECODER)
        self.classifier = nn.Conv2d(64, num_classes, 3, padding=1)
        self.feature_info = {
            "encoder3": FeatureInfo(256, 8),
            "encoder4": FeatureInfo(512, 16),
            "encoder5": FeatureInfo(512, 32),
            "decoder": FeatureInfo(64, 1),
        }
        if pretrained:
            weights = load_backbone("vgg16_bn.tv_in1k", pretrained=True).state_dict().values()
            self.encoders.load_state_dict(dict(zip(self.encoders.state_dict(), weights, strict=True)))

    def forward(self, rgb: Tensor, depth: Tensor | None = None) -> SegOutput:
        """See `SegmentationNetwork.forward`."""
        self.check_input(rgb, depth)
        x, pools, features = rgb, [], {}
        for index, encoder in enumerate(self.encoders, start=1):
            x, indices = F.max_pool2d(encoder(x), 2, return_indices=True)
            features[f"encoder{index}"] = x
            pools.append(indices)
        for decoder in self.decoders:
            x = decoder(max_unpool(x, pools.pop()))
        features["decoder"] = x
        return SegOutput(self.classifier(x), {name: features[name] for name in self.feature_info})


def _stage(widths: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for in_channels, out_channels in pairwise(widths):
        conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        layers += [conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
