# SPDX-License-Identifier: Apache-2.0
"""Our own student, and every student and teacher of the five papers, by name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from road_kd_seg.errors import RoadKdError
from road_kd_seg.networks.common.base import FeatureInfo, SegmentationNetwork, SegOutput
from road_kd_seg.networks.deeplab import (
    deeplabv3_mbv2,
    deeplabv3_r18,
    deeplabv3_r18_half,
    deeplabv3plus_r50,
    deeplabv3plus_r101,
)
from road_kd_seg.networks.enet import ENet
from road_kd_seg.networks.erfnet import ErfNet
from road_kd_seg.networks.lite0_fpn import Lite0Fpn
from road_kd_seg.networks.mafnet import mafnet_r18, mafnet_r34, mafnet_r152
from road_kd_seg.networks.mfnet import MfNet, mfnet_rgb
from road_kd_seg.networks.pspnet import pspnet_mbv2, pspnet_r18, pspnet_r18_half, pspnet_r101
from road_kd_seg.networks.roadlite import RoadLite
from road_kd_seg.networks.segnet import SegNetVgg16
from road_kd_seg.networks.sne_roadseg import SneRoadSeg, sne_roadseg_r152_rgb
from road_kd_seg.networks.unet import UNetR34
from road_kd_seg.plugins import WithPlugins

__all__ = ["NETWORKS", "FeatureInfo", "SegOutput", "SegmentationNetwork", "build_network"]

NETWORKS: Mapping[str, Callable[..., SegmentationNetwork]] = WithPlugins(
    "road_kd.networks",
    {
        "roadlite": RoadLite,
        "lite0_fpn": Lite0Fpn,
        "mafnet_r152": mafnet_r152,
        "mafnet_r34": mafnet_r34,
        "mafnet_r18": mafnet_r18,
        "erfnet": ErfNet,
        "enet": ENet,
        "pspnet_r101": pspnet_r101,
        "pspnet_r18": pspnet_r18,
        "pspnet_r18_half": pspnet_r18_half,
        "pspnet_mbv2": pspnet_mbv2,
        "deeplabv3_r18": deeplabv3_r18,
        "deeplabv3_r18_half": deeplabv3_r18_half,
        "deeplabv3_mbv2": deeplabv3_mbv2,
        "deeplabv3plus_r101": deeplabv3plus_r101,
        "deeplabv3plus_r50": deeplabv3plus_r50,
        "segnet_vgg16": SegNetVgg16,
        "unet_r34": UNetR34,
        "sne_roadseg_r152": SneRoadSeg,
        "sne_roadseg_r152_rgb": sne_roadseg_r152_rgb,
        "mfnet": MfNet,
        "mfnet_rgb": mfnet_rgb,
    },
)
"""Builders by name: `builder(num_classes, **kwargs)`; those of other packages enter by entry points."""


def build_network(name: str, num_classes: int, **kwargs: Any) -> SegmentationNetwork:
    """Build a network with random (or, with `pretrained=True`, ImageNet) weights.

    Args:
        name: a key of `NETWORKS`.
        num_classes: K, channels of the logits.
        **kwargs: the family's own options; its docstring lists them.

    Raises:
        RoadKdError: an unknown name or option.
    """
    if name not in NETWORKS:
        close = difflib.get_close_matches(name, NETWORKS, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(sorted(NETWORKS))}."
        raise RoadKdError(f"network '{name}' is unknown: {hint}")
    builder = NETWORKS[name]
    signature = inspect.signature(builder)
    known = [key for key in signature.parameters if key != "num_classes"]
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    for option in kwargs:
        if option not in known and not takes_any:
            close = difflib.get_close_matches(option, known, n=1, cutoff=0.5)
            hint = f"did you mean '{close[0]}'? " if close else ""
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise RoadKdError(f"network '{name}': option '{option}' is unknown: {hint}{takes}")
    try:
        signature.bind(num_classes, **kwargs)
    except TypeError as error:
        raise RoadKdError(f"network '{name}' does not take these options: {error}") from error
    return builder(num_classes, **kwargs)
