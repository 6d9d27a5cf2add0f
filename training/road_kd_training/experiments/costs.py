# SPDX-License-Identifier: Apache-2.0
"""What networks cost, measured on this machine or counted; weights do not matter for it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from road_kd_seg.backends.torch_backend import TorchBackend, pick_device
from road_kd_seg.networks import SegmentationNetwork, build_network
from road_kd_seg.tools.frame_timing import time_interleaved
from road_kd_training.components import without_pretrained
from road_kd_training.config import NetworkConfig
from road_kd_training.detection.detectors import build_detector
from road_kd_training.experiments.metrics import gflops
from road_kd_training.experiments.plan import Plan
from road_kd_training.experiments.records import Record
from road_kd_training.experiments.runs import Key

ROUNDS = 15


def with_costs(plan: Plan, records: Mapping[Key, Record]) -> dict[Key, Record]:
    """The records with what the table's columns ask for: operations, and times of forward passes side by side."""
    found: dict[Key, Record] = dict(records)
    configs = {(run.row.key, run.seed): run.config for run in plan.runs}
    if any(metric.measure is gflops for metric in plan.experiment.metrics):
        for key, record in found.items():
            size = plan.experiment.counted_size
            counted = count_gflops(configs[key].network, len(record.outcome.main.classes), size)
            found[key] = dataclasses.replace(record, outcome=dataclasses.replace(record.outcome, gflops=counted))
    if plan.experiment.speed and found:
        classes = len(next(iter(found.values())).outcome.main.classes)
        timed = {key: (configs[key].network, (configs[key].input.height, configs[key].input.width)) for key in found}
        names = {key: json.dumps([dataclasses.asdict(network), size]) for key, (network, size) in timed.items()}
        forward = {"segmentation": _forward, "detection": _detect}[plan.experiment.task]
        distinct = {names[key]: forward(*timed[key], classes) for key in found}
        times = time_interleaved(distinct, ROUNDS, pick_device("auto"))
        for key, record in found.items():
            outcome = dataclasses.replace(record.outcome, forward_ms=times[names[key]].median_ms)
            found[key] = dataclasses.replace(record, outcome=outcome)
    return found


def count_gflops(network: NetworkConfig, num_classes: int, size: tuple[int, int]) -> float:
    """10^9 multiply-adds of one forward pass on an image of `size` (H, W), without weights or computation."""
    with torch.device("meta"):
        model = _build(network, num_classes)
        with FlopCounterMode(display=False) as counter:
            model(*_images(model, size))
    return float(counter.get_total_flops()) / 2e9


def _forward(network: NetworkConfig, size: tuple[int, int], num_classes: int) -> Callable[[], object]:
    backend = TorchBackend(_build(network, num_classes), str(pick_device("auto")))
    rgb, depth = _images(backend.network, size)
    rgb = rgb.to(backend.device)
    depth = None if depth is None else depth.to(backend.device)
    return lambda: backend.infer(rgb, depth)


def _detect(network: NetworkConfig, size: tuple[int, int], num_classes: int) -> Callable[[], object]:
    detector = build_detector(network.name, num_classes, sides=size, frozen_norms=True).to(pick_device("auto"))
    image = torch.zeros(3, *size, device=pick_device("auto"))
    return lambda: detector.detect([image])


def _build(network: NetworkConfig, num_classes: int) -> SegmentationNetwork:
    return build_network(network.name, num_classes, **without_pretrained(network.options)).eval()


def _images(network: SegmentationNetwork, size: tuple[int, int]) -> tuple[Tensor, Tensor | None]:
    depth = torch.zeros(1, network.depth_channels, *size) if network.depth_channels else None
    return torch.zeros(1, 3, *size), depth
