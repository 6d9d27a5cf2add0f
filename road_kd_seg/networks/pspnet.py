# SPDX-License-Identifier: Apache-2.0
"""PSPNet (Zhao et al., "Pyramid Scene Parsing Network", CVPR 2017) as CWD and IntRA-KD use it.

A dilated backbone to 1/8, a pyramid of pooled contexts, a 3x3 bottleneck and a 1x1 classifier. CWD (Table 5) has the
teacher `pspnet_r101` and the students `pspnet_r18`, `pspnet_r18_half` and `pspnet_mbv2`; IntRA-KD's teacher is
`pspnet_r101` with `variant="intra_kd"`.

Parameters: `pspnet_r101` 70,437,350 and `pspnet_r18` 13,068,262 with 19 classes, both with CWD's deep stem (three 3x3
convolutions, 64/64/128) and auxiliary head; `pspnet_r101` as IntRA-KD has it 65,576,517 with 5 classes. For the other
two students no code is public: the widths here are those that give the multiplications that Table 5 prints at
512x1024 (31.53 G and 16.40 G). For `pspnet_mbv2` they give the printed 1.98 M parameters, too; `pspnet_r18_half`,
which halves every width, has 3.27 M where the table prints 3.835 M.

Shapes: rgb (B, 3, H, W) → logits (B, K, H, W), H and W multiples of 8. Taps: `encoder3`, `encoder4`, `encoder5` (the
backbone's blocks 3 to 5, 1/8 each; IntRA-KD distils from 3 and 5), `pyramid`, after the bottleneck (1/8), where CWD
distils, `scores`, the class scores before they are enlarged (K, 1/8), and, present with `auxiliary`,
`auxiliary_logits` (K, 1/8).

Deviations: bilinear resizing without aligned corners; a max-pool that rounds down where CWD's rounds up, so that taps
are exactly 1/8; ReLU, PSPNet's, where CWD's code has leaky ReLU (0.01); the first convolution of a dilated layer
keeps the dilation of the layer before (timm), for which its ImageNet weights were trained.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from road_kd_seg.errors import RoadKdError
from road_kd_seg.networks.common.backbones import (
    backbone_channels,
    deep_stem_backbone,
    half_resnet18_backbone,
    load_backbone,
)
from road_kd_seg.networks.common.base import FeatureInfo, SegmentationNetwork, SegOutput
from road_kd_seg.networks.common.blocks import bin_means, conv_bn_relu, resize

_BINS = (1, 2, 3, 6)
_SHRINKS = (10, 20, 30, 60)


class PspNet(SegmentationNetwork):
    """PSPNet on a backbone that returns features from 1/2 to its fifth block, the last three at 1/8.

    Args:
        num_classes: K.
        backbone: from `road_kd_seg.networks.common.backbones`.
        pyramid: the module on the fifth block.
        pyramid_channels: what it returns.
        auxiliary_channels: width of the auxiliary head on the fourth block; 0 for none.
    """

    size_divisor = 8
    min_training_batch = 2

    def __init__(
        self,
        num_classes: int,
        backbone: nn.Module,
        pyramid: nn.Module,
        pyramid_channels: int,
        auxiliary_channels: int = 0,
    ) -> None:
        super().__init__(num_classes)
        _, _, c3, c4, c5 = backbone_channels(backbone)
        self.backbone = backbone
        self.pyramid = pyramid
        self.classifier = nn.Conv2d(pyramid_channels, num_classes, 1)
        self.auxiliary_head = auxiliary_head(c4, auxiliary_channels, num_classes) if auxiliary_channels else None
        self.feature_info = {
            "encoder3": FeatureInfo(c3, 8),
            "encoder4": FeatureInfo(c4, 8),
            "encoder5": FeatureInfo(c5, 8),
            "pyramid": FeatureInfo(pyramid_channels, 8),
            "scores": FeatureInfo(num_classes, 8),
        }
        if auxiliary_channels:
            self.feature_info["auxiliary_logits"] = FeatureInfo(num_classes, 8)

    def forward(self, rgb: Tensor, depth: Tensor | None = None) -> SegOutput:
        """See `SegmentationNetwork.forward`."""
        self.check_input(rgb, depth)
        _, _, encoder3, encoder4, encoder5 = self.backbone(rgb)
        pyramid = self.pyramid(encoder5)
        scores = self.classifier(pyramid)
        features = {
            "encoder3": encoder3,
            "encoder4": encoder4,
            "encoder5": encoder5,
            "pyramid": pyramid,
            "scores": scores,
        }
        if self.auxiliary_head is not None:
            features["auxiliary_logits"] = self.auxiliary_head(encoder4)
        return SegOutput(resize(scores, rgb.shape[-2:]), features)


class PyramidPooling(nn.Module):
    """Means over 1, 2x2, 3x3 and 6x6 bins, each through 1x1-BN-ReLU, and the input: (B, C, h, w) → (B, out, h, w)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.contexts = nn.ModuleList(conv_bn_relu(in_channels, out_channels, 1) for _ in _BINS)
        self.bottleneck = _bottleneck(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        size = x.shape[-2:]
        pooled = [resize(context(bin_means(x, bins)), size) for bins, context in zip(_BINS, self.contexts, strict=True)]
        out: Tensor = self.bottleneck(torch.cat([*pooled, x], dim=1))
        return out


class ShrinkPooling(nn.Module):
    """IntRA-KD's pyramid: contexts are the map scaled down bilinearly by 10, 20, 30 and 60, padded to fit.

    Deviation: the published code swaps the padding of rows and columns, which only square maps survive; here each gets
    its own.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.contexts = nn.ModuleList(conv_bn_relu(in_channels, out_channels, 1) for _ in _SHRINKS)
        self.bottleneck = _bottleneck(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) → (B, out, h, w)."""
        contexts = [self._context(x, *pair) for pair in zip(_SHRINKS, self.contexts, strict=True)]
        out: Tensor = self.bottleneck(torch.cat([x, *contexts], dim=1))
        return out

    @staticmethod
    def _context(x: Tensor, shrink: int, project: nn.Module) -> Tensor:
        height, width = x.shape[-2:]
        rows, columns = -(-height // shrink), -(-width // shrink)
        bottom, right = rows * shrink - height, columns * shrink - width
        top, left = bottom // 2, right // 2
        padded = F.pad(x, (left, right - left, top, bottom - top))
        context = resize(project(resize(padded, (rows, columns))), padded.shape[-2:])
        return context[..., top : top + height, left : left + width]


def _bottleneck(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(conv_bn_relu(in_channels + 4 * out_channels, out_channels), nn.Dropout2d(0.1))


def auxiliary_head(in_channels: int, hidden: int, num_classes: int) -> nn.Sequential:
    """CWD's classifier on the fourth block, trained with weight 0.4: (B, C, h, w) → (B, K, h, w)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, hidden, 3, padding=1),
        nn.BatchNorm2d(hidden),
        nn.ReLU(inplace=True),
        nn.Dropout2d(0.1),
        nn.Conv2d(hidden, num_classes, 1),
    )


def pspnet_r101(
    num_classes: int,
    *,
    variant: Literal["cwd", "intra_kd"] = "cwd",
    auxiliary: bool = True,
    pretrained: bool = False,
) -> PspNet:
    """The teacher of CWD (deep stem, binned pyramid, auxiliary head) or of IntRA-KD (none of the three).

    Args:
        num_classes: K.
        variant: whose.
        auxiliary: CWD's auxiliary head; IntRA-KD's teacher has none.
        pretrained: ImageNet weights.
    """
    if variant == "cwd":
        backbone = deep_stem_backbone("resnet101", pretrained=pretrained)
        return PspNet(num_classes, backbone, PyramidPooling(2048, 512), 512, 512 if auxiliary else 0)
    if variant == "intra_kd":
        backbone = load_backbone("resnet101.tv_in1k", pretrained=pretrained, output_stride=8)
        return PspNet(num_classes, backbone, ShrinkPooling(2048, 512), 512)
    raise RoadKdError(f"pspnet_r101: variant is '{variant}', expected 'cwd' or 'intra_kd'")


def pspnet_r18(num_classes: int, *, auxiliary: bool = True, pretrained: bool = False) -> PspNet:
    """CWD's main student: 13,068,262 parameters with 19 classes."""
    backbone = deep_stem_backbone("resnet18", pretrained=pretrained)
    return PspNet(num_classes, backbone, PyramidPooling(512, 128), 128, 128 if auxiliary else 0)


def pspnet_r18_half(num_classes: int, *, auxiliary: bool = True) -> PspNet:
    """CWD's student of half the width, trained from scratch: 3,271,686 parameters with 19 classes."""
    return PspNet(num_classes, half_resnet18_backbone(), PyramidPooling(256, 64), 64, 64 if auxiliary else 0)


def pspnet_mbv2(num_classes: int, *, pretrained: bool = False) -> PspNet:
    """CWD's student on MobileNetV2: 1,982,643 parameters with 19 classes."""
    backbone = load_backbone("mobilenetv2_100.ra_in1k", pretrained=pretrained, output_stride=8)
    return PspNet(num_classes, backbone, PyramidPooling(320, 32), 32)
