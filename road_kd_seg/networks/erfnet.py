# SPDX-License-Identifier: Apache-2.0
"""ERFNet (Romera et al., "ERFNet: Efficient Residual Factorized ConvNet", T-ITS 2018), the student of IntRA-KD.

Table I of the paper: 16 layers of encoder down to 1/8 of the input, 6 of decoder, no skip connections. Depth, where
it is given, is stacked on the color channels (early fusion), which costs one wider first convolution and nothing
else.

Shapes: rgb (B, 3, H, W), depth (B, D, H, W) → logits (B, K, H, W), H and W multiples of 8. Taps: `block2` (64, 1/4)
and `block3` (128, 1/8), which IntRA-KD pairs with blocks 3 and 5 of its ResNet-101, `decoder` (16, 1/2), and, present
with `auxiliary`, `auxiliary_logits` (K, 1/8). With `lane_existence`, a key of that name holds logits (B, L, 1, 1).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from road_kd_seg.networks.common.base import FeatureInfo, SegmentationNetwork, SegOutput

_BN_EPS = 1e-3
_DILATIONS = (2, 4, 8, 16)
_EXISTENCE_GRID = (13, 61)
"""The existence head's pooled grid: half of 1/8 of CULane's 208x976 crop."""


class ErfNet(SegmentationNetwork):
    """ERFNet, RGB or RGB-D by early fusion.

    Args:
        num_classes: K.
        depth_channels: D; 0 makes an RGB network.
        auxiliary: keep the 1x1 classifier on the encoder's output, with which the paper trains the encoder first. The
            published parameter counts include it. It learns from a loss on `auxiliary_logits` only: without one,
            leave it out.
        lane_existence: L, the lanes whose existence a second head predicts (CULane: 4); 0 for none. The published
            head (SCNN's) works at 208x976 only; here it pools any size to the grid of that one.
    """

    size_divisor = 8

    def __init__(
        self, num_classes: int, *, depth_channels: int = 0, auxiliary: bool = True, lane_existence: int = 0
    ) -> None:
        super().__init__(num_classes, depth_channels=depth_channels)
        self.block1 = _Downsample(3 + depth_channels, 16)
        self.block2 = nn.Sequential(_Downsample(16, 64), *(_NonBottleneck1d(64, 0.03) for _ in range(5)))
        self.block3 = nn.Sequential(
            _Downsample(64, 128), *(_NonBottleneck1d(128, 0.3, dilation) for dilation in _DILATIONS * 2)
        )
        self.auxiliary_head = nn.Conv2d(128, num_classes, 1) if auxiliary else None
        self.existence_head = _LaneExistence(num_classes, lane_existence) if lane_existence else None
        self.decoder = nn.Sequential(
            _Upsample(128, 64),
            _NonBottleneck1d(64),
            _NonBottleneck1d(64),
            _Upsample(64, 16),
            _NonBottleneck1d(16),
            _NonBottleneck1d(16),
        )
        self.classifier = nn.ConvTranspose2d(16, num_classes, 2, stride=2)
        self.feature_info = {
            "block2": FeatureInfo(64, 4),
            "block3": FeatureInfo(128, 8),
            "decoder": FeatureInfo(16, 2),
        }
        if auxiliary:
            self.feature_info["auxiliary_logits"] = FeatureInfo(num_classes, 8)

    def forward(self, rgb: Tensor, depth: Tensor | None = None) -> SegOutput:
        """See `SegmentationNetwork.forward`."""
        self.check_input(rgb, depth)
        x = rgb if depth is None else torch.cat((rgb, depth), dim=1)
        block2 = self.block2(self.block1(x))
        block3 = self.block3(block2)
        decoder = self.decoder(block3)
        features = {"block2": block2, "block3": block3, "decoder": decoder}
        if self.auxiliary_head is not None:
            features["auxiliary_logits"] = self.auxiliary_head(block3)
        if self.existence_head is not None:
            features["lane_existence"] = self.existence_head(block3)
        return SegOutput(self.classifier(decoder), features)


class _Downsample(nn.Module):
    """A strided convolution beside a max-pool, concatenated: (B, C, H, W) → (B, out, H/2, W/2)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels - in_channels, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(out_channels, eps=_BN_EPS)

    def forward(self, x: Tensor) -> Tensor:
        joined = torch.cat((self.conv(x), F.max_pool2d(x, 2)), dim=1)
        return F.relu(self.norm(joined), inplace=True)


class _NonBottleneck1d(nn.Module):
    """Two 3x3 convolutions factorized into 3x1 and 1x3, the second pair dilated, with a shortcut (Fig. 2c)."""

    def __init__(self, channels: int, dropout: float = 0.0, dilation: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, (3, 1), padding=(1, 0)),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, (1, 3), padding=(0, 1)),
            nn.BatchNorm2d(channels, eps=_BN_EPS),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, (3, 1), padding=(dilation, 0), dilation=(dilation, 1)),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, (1, 3), padding=(0, dilation), dilation=(1, dilation)),
            nn.BatchNorm2d(channels, eps=_BN_EPS),
            nn.Dropout2d(dropout) if dropout else nn.Identity(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + x, inplace=True)


class _Upsample(nn.Sequential):
    """(B, C, H, W) → (B, out, 2H, 2W) by a transposed 3x3 convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1),
            nn.BatchNorm2d(out_channels, eps=_BN_EPS),
            nn.ReLU(inplace=True),
        )


class _LaneExistence(nn.Module):
    """Which lanes are there (SCNN's head, as IntRA-KD's ERFNet uses it): (B, 128, h, w) → logits (B, lanes, 1, 1)."""

    def __init__(self, num_classes: int, lanes: int) -> None:
        super().__init__()
        self.reduce = nn.Sequential(
            nn.Conv2d(128, 32, 3, padding=4, dilation=4, bias=False),
            nn.BatchNorm2d(32, eps=_BN_EPS),
            nn.ReLU(inplace=True),
            nn.Dropout2d(0.1),
            nn.Conv2d(32, num_classes, 1),
        )
        cells = num_classes * _EXISTENCE_GRID[0] * _EXISTENCE_GRID[1]
        self.vote = nn.Sequential(nn.Linear(cells, 128), nn.ReLU(inplace=True), nn.Linear(128, lanes))

    def forward(self, x: Tensor) -> Tensor:
        grid = F.adaptive_max_pool2d(self.reduce(x).softmax(dim=1), _EXISTENCE_GRID)
        votes: Tensor = self.vote(grid.flatten(1))
        return votes[:, :, None, None]
