# SPDX-License-Identifier: Apache-2.0
"""What each network is and costs: the table behind `road-kd list networks`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from road_kd_seg.networks import NETWORKS, build_network
from road_kd_seg.networks.common.base import FeatureInfo

PAPERS: Mapping[str, str] = {
    "roadlite": "ours, student",
    "lite0_fpn": "ours, teacher",
    "mafnet_r152": "CPKD, teacher",
    "mafnet_r34": "MAFNet (T-IM 2022)",
    "mafnet_r18": "CPKD, student",
    "erfnet": "IntRA-KD, student",
    "enet": "IntRA-KD, student",
    "pspnet_r101": "CWD and IntRA-KD, teacher",
    "pspnet_r18": "CWD, student",
    "pspnet_r18_half": "CWD, student",
    "pspnet_mbv2": "CWD, student",
    "deeplabv3_r18": "CWD, student",
    "deeplabv3_r18_half": "CWD, student",
    "deeplabv3_mbv2": "CWD, student",
    "deeplabv3plus_r101": "SSLKD, teacher 1",
    "deeplabv3plus_r50": "SSLKD, student",
    "segnet_vgg16": "SSLKD, teacher 2",
    "unet_r34": "IntRA-KD, baseline",
    "sne_roadseg_r152": "LIX, teacher (RGB-X)",
    "sne_roadseg_r152_rgb": "LIX, student",
    "mfnet": "LIX, teacher (RGB-X)",
    "mfnet_rgb": "LIX, student",
}
"""The paper that each network serves here, and as what; another package's has its docstring's first line instead."""


@dataclass(frozen=True, slots=True)
class NetworkSummary:
    """One row of the table."""

    name: str
    paper: str
    parameters: int
    gflops: float
    """10^9 floating-point operations of one forward pass; a multiplication and its addition count as two (papers often
    print half of this)."""
    modalities: tuple[str, ...]
    taps: Mapping[str, FeatureInfo]


def summarize_networks(num_classes: int = 5, size: tuple[int, int] = (576, 1024)) -> list[NetworkSummary]:
    """Summarize every network with its default options, without weights or computation (on torch's meta device).

    Args:
        num_classes: K.
        size: (H, W) of the input, in pixels, a multiple of 64 to suit all.
    """
    return [summarize_network(name, num_classes, size) for name in NETWORKS]


def summarize_network(name: str, num_classes: int = 5, size: tuple[int, int] = (576, 1024)) -> NetworkSummary:
    """One row of `summarize_networks`.

    Raises:
        RoadKdError: an unknown network, or a size that it cannot take.
    """
    import timm  # noqa: F401  # before the context: it makes tensors when it is imported, with values that it reads

    with torch.device("meta"):
        network = build_network(name, num_classes).eval()
        rgb = torch.empty(1, 3, *size)
        depth = torch.empty(1, network.depth_channels, *size) if network.depth_channels else None
        with FlopCounterMode(display=False) as counter:
            network(rgb, depth)
    return NetworkSummary(
        name=name,
        paper=PAPERS.get(name) or (NETWORKS[name].__doc__ or "").partition("\n")[0],
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        gflops=counter.get_total_flops() / 1e9,
        modalities=network.modalities,
        taps=network.feature_info,
    )
