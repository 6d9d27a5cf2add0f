"""Classification trunks from timm, cut into the stages that segmentation networks tap and fuse."""

from __future__ import annotations

from typing import Any

from torch import nn

from road_kd_seg.errors import RoadKdError


def load_trunk(name: str, *, pretrained: bool, **kwargs: Any) -> nn.Module:
    """Create a timm feature trunk; `kwargs` go to `timm.create_model`.

    Raises:
        RoadKdError: the ImageNet weights are neither in timm's cache nor to be downloaded.
    """
    import timm  # here, so that networks without a trunk start without it

    if not pretrained:
        return timm.create_model(name, pretrained=False, features_only=True, **kwargs)
    if not timm.is_model_pretrained(name):
        raise RoadKdError(f"backbone '{name}': timm has no ImageNet weights for it: pass pretrained=False")
    try:
        return timm.create_model(name, pretrained=True, features_only=True, **kwargs)
    except Exception as error:  # the hub's client raises families of its own (OSError, httpx, RuntimeError)
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        config = timm.get_pretrained_cfg(name)
        weights = config.hf_hub_id if config else name
        raise RoadKdError(
            f"backbone '{name}': ImageNet weights '{weights}' are neither in timm's cache nor to be downloaded"
            f" ({reason}): run `timm.create_model('{name}', pretrained=True)` once with a connection, copy the"
            " Hugging Face cache of a machine that has them, or pass pretrained=False"
        ) from error


def resnet_stages(
    name: str, *, in_channels: int = 3, pretrained: bool = False, depth: int = 4, output_stride: int = 32, **kwargs: Any
) -> nn.ModuleList:
    """A ResNet as a list: stem (1/2), max-pool with layer 1 (1/4), and layers 2 to `depth`.

    Args:
        name: timm's name, e.g. "resnet18".
        in_channels: of the image; timm adapts ImageNet weights to any number.
        pretrained: ImageNet weights.
        depth: the last layer kept; later ones are not built into the result.
        output_stride: 8 or 16 trade the last layers' strides for dilation (2, 4).
        **kwargs: further options of timm's ResNet.
    """
    trunk = load_trunk(
        name,
        pretrained=pretrained,
        in_chans=in_channels,
        out_indices=tuple(range(depth + 1)),
        output_stride=output_stride,
        **kwargs,
    )
    parts = dict(trunk.named_children())
    stem = nn.Sequential(parts["conv1"], parts["bn1"], parts["act1"])
    first = nn.Sequential(parts["maxpool"], parts["layer1"])
    return nn.ModuleList([stem, first, *(parts[f"layer{index}"] for index in range(2, depth + 1))])
