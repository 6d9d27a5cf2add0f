# SPDX-License-Identifier: Apache-2.0
"""Classification backbones from timm, as feature pyramids or cut into the stages that networks fuse."""

from __future__ import annotations

from typing import Any, Literal

from torch import nn

from road_kd_seg.errors import RoadKdError


def load_backbone(name: str, *, pretrained: bool, **kwargs: Any) -> nn.Module:
    """Create a timm feature backbone: (B, C, H, W) → its blocks' features, from 1/2 down.

    Args:
        name: timm's name, with the tag of the weights.
        pretrained: ImageNet weights, from timm's cache or downloaded.
        **kwargs: for `timm.create_model`, e.g. `out_indices`, `output_stride`, `in_chans`.

    Raises:
        RoadKdError: the weights are neither in timm's cache nor to be downloaded.
    """
    import timm  # here, so that networks without a backbone start without it

    if not pretrained:
        return timm.create_model(name, pretrained=False, features_only=True, **kwargs)
    try:
        return timm.create_model(name, pretrained=True, features_only=True, **kwargs)
    except Exception as error:  # the hub's client raises families of its own (OSError, httpx, RuntimeError)
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RoadKdError(
            f"backbone '{name}': its ImageNet weights are neither in timm's cache nor to be downloaded ({reason}): run"
            f" `timm.create_model('{name}', pretrained=True)` once with a connection, copy the Hugging Face cache of a"
            " machine that has them, or pass pretrained=False"
        ) from error


def backbone_channels(backbone: nn.Module) -> list[int]:
    """Channels of each feature that a backbone returns."""
    info: Any = backbone.feature_info
    return list(info.channels())


def deep_stem_backbone(name: Literal["resnet18", "resnet101"], *, pretrained: bool = False) -> nn.Module:
    """A ResNet at 1/8 whose stem is three 3x3 convolutions (64, 64, 128), as PSPNet's is.

    No ImageNet weights of ResNet-18 with this stem are public: `pretrained` takes those of the plain one for every
    layer of equal shape, and leaves the stem and the two convolutions on its 128 channels random.
    """
    if name == "resnet101":
        return load_backbone("resnet101s.gluon_in1k", pretrained=pretrained, output_stride=8)
    backbone = load_backbone("resnet18", pretrained=False, output_stride=8, stem_type="deep", stem_width=64)
    if pretrained:
        own = backbone.state_dict()
        plain = load_backbone("resnet18.tv_in1k", pretrained=True).state_dict()
        own.update({key: value for key, value in plain.items() if key in own and own[key].shape == value.shape})
        backbone.load_state_dict(own)
    return backbone


def half_resnet18_backbone() -> nn.Module:
    """ResNet-18 at 1/8 with a deep stem and half the channels throughout. No ImageNet weights exist."""
    return load_backbone(
        "resnet18", pretrained=False, output_stride=8, stem_type="deep", stem_width=32, channels=(32, 64, 128, 256)
    )


def resnet_stages(name: str, *, in_channels: int = 3, pretrained: bool = False, depth: int = 4) -> nn.ModuleList:
    """A ResNet as a list: stem (1/2), max-pool with layer 1 (1/4), and layers 2 to `depth`.

    Args:
        name: timm's name.
        in_channels: of the image; timm adapts ImageNet weights to any number.
        pretrained: ImageNet weights.
        depth: the last layer kept.
    """
    backbone = load_backbone(name, pretrained=pretrained, in_chans=in_channels, out_indices=tuple(range(depth + 1)))
    parts = dict(backbone.named_children())
    stem = nn.Sequential(parts["conv1"], parts["bn1"], parts["act1"])
    first = nn.Sequential(parts["maxpool"], parts["layer1"])
    return nn.ModuleList([stem, first, *(parts[f"layer{index}"] for index in range(2, depth + 1))])
