# SPDX-License-Identifier: Apache-2.0
"""RoadLite, a network of our own for two CPU cores: narrow dense 3x3 convolutions, logits at half the input's size.

On AVX2 a narrow dense convolution costs as little as a mobile block, quantizes better and trains several times faster;
logits at a quarter of the input's size would cost thin things, lane markings above all. Color and encoded depth enter
one stem together. Five stages halve the size, each a 3x3 convolution of stride 2 and residual blocks; a global mean
joins the last; a feature pyramid (nearest, summed) leads back to stride 2.

Shapes: rgb (B, 3, H, W), depth (B, D, H, W) → logits (B, K, H/2, W/2), H and W multiples of 32. Taps: `encoder1`
(1/2) to `encoder5` (1/32), and `decoder4` (1/16) to `decoder1` (1/2).

| size | parameters | multiplications at 288x512 |
|---|---|---|
| s | 414,737 | 0.47 G |
| m | 956,245 | 0.96 G |
| l | 1,707,037 | 2.00 G |

Both for five classes and one depth channel.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from road_kd_seg.errors import RoadKdError
from road_kd_seg.networks.common.base import FeatureInfo, SegmentationNetwork, SegOutput
from road_kd_seg.networks.common.blocks import conv_bn_relu

Size = Literal["s", "m", "l"]


@dataclass(frozen=True)
class _Shape:
    """Channels of the five encoder stages and of the four decoder levels, finest first; residual blocks per stage."""

    encoder: tuple[int, ...]
    blocks: tuple[int, ...]
    decoder: tuple[int, ...]


SHAPES = {
    "s": _Shape((12, 24, 48, 64, 96), (0, 1, 1, 1, 1), (12, 24, 24, 24)),
    "m": _Shape((16, 32, 64, 96, 128), (0, 1, 1, 2, 1), (16, 32, 32, 32)),
    "l": _Shape((24, 48, 96, 128, 160), (0, 1, 1, 2, 1), (24, 48, 48, 48)),
}


class RoadLite(SegmentationNetwork):
    """RoadLite.

    Args:
        num_classes: K.
        size: "s", "m" or "l".
        depth_channels: D; 0 for the RGB network.

    Raises:
        RoadKdError: an unknown size.
    """

    size_divisor = 32
    logits_stride = 2

    def __init__(self, num_classes: int, *, size: Size = "m", depth_channels: int = 1) -> None:
        super().__init__(num_classes, depth_channels=depth_channels)
        if size not in SHAPES:
            raise RoadKdError(f"roadlite: size is '{size}', expected one of {', '.join(SHAPES)}")
        shape = SHAPES[size]
        inputs = (3 + depth_channels, *shape.encoder)
        self.stages = nn.ModuleList(
            _stage(*widths, blocks) for widths, blocks in zip(itertools.pairwise(inputs), shape.blocks, strict=True)
        )
        deepest, widths = shape.encoder[-1], shape.decoder
        self.top = nn.Conv2d(deepest, widths[-1], 1)
        self.context = nn.Conv2d(deepest, widths[-1], 1)
        self.lateral = nn.ModuleList(nn.Conv2d(c, w, 1) for c, w in zip(shape.encoder, widths, strict=False))
        self.narrow = nn.ModuleList(
            nn.Identity() if coarse == fine else nn.Conv2d(coarse, fine, 1)
            for fine, coarse in zip(widths, (*widths[1:], widths[-1]), strict=True)
        )
        self.smooth = nn.ModuleList(conv_bn_relu(w, w) for w in widths)
        self.head = nn.Conv2d(widths[0], num_classes, 1)
        self.feature_info = {f"encoder{i}": FeatureInfo(c, 2**i) for i, c in enumerate(shape.encoder, start=1)}
        self.feature_info |= {f"decoder{i}": FeatureInfo(w, 2**i) for i, w in enumerate(widths, start=1)}

    def forward(self, rgb: Tensor, depth: Tensor | None = None) -> SegOutput:
        """See `SegmentationNetwork.forward`."""
        self.check_input(rgb, depth)
        x = rgb if depth is None else torch.cat((rgb, depth), dim=1)
        features: dict[str, Tensor] = {}
        for index, stage in enumerate(self.stages, start=1):
            x = features[f"encoder{index}"] = stage(x)
        y = self.top(x) + self.context(x.mean((2, 3), keepdim=True))
        for index in (4, 3, 2, 1):
            coarser = F.interpolate(self.narrow[index - 1](y), scale_factor=2, mode="nearest")
            y = self.smooth[index - 1](coarser + self.lateral[index - 1](features[f"encoder{index}"]))
            features[f"decoder{index}"] = y
        return SegOutput(self.head(y), features)


def _stage(in_channels: int, out_channels: int, blocks: int) -> nn.Sequential:
    """(B, C, H, W) → (B, out, H/2, W/2)."""
    down = conv_bn_relu(in_channels, out_channels, stride=2)
    return nn.Sequential(down, *(_Residual(out_channels) for _ in range(blocks)))


class _Residual(nn.Module):
    """(B, C, H, W) → the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv_bn_relu(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))
