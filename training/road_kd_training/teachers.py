# SPDX-License-Identifier: Apache-2.0
"""Trained teachers: frozen, in eval mode, each fed as its own bundle says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor

from road_kd_seg.bundle import load_bundle
from road_kd_seg.networks import SegOutput
from road_kd_seg.preprocess.input_spec import InputSpec
from road_kd_seg.preprocess.tensors import preprocess
from road_kd_seg.taxonomy import Taxonomy
from road_kd_training.errors import TrainingError
from road_kd_training.mixed_precision import pick_memory_format
from road_kd_training.windows import scaled_size


class Teacher:
    """A bundle's network.

    Args:
        bundle: its folder, or the name of a shipped one.
        taxonomy: the run's classes.
        device: where it runs.

    Raises:
        TrainingError: it knows other classes.
    """

    def __init__(self, bundle: str, taxonomy: Taxonomy, device: torch.device) -> None:
        self.bundle = load_bundle(bundle)
        if self.bundle.taxonomy.names != taxonomy.names:
            raise TrainingError(
                f"teacher {self.bundle.path} knows classes {self.bundle.taxonomy.names}, the datasets have"
                f" {taxonomy.names}: train it on datasets of the same classes"
            )
        network = self.bundle.build_network().eval().requires_grad_(False)
        self.memory_format = pick_memory_format(device, network)
        self.network = network.to(device).to(memory_format=self.memory_format)

    @torch.no_grad()
    def __call__(self, rgb: Tensor, depth_m: Tensor, road_plane: Tensor | None = None) -> SegOutput:
        """See the student's pixels, at their size, in its own encoding.

        Args:
            rgb: uint8 (B, H, W, 3).
            depth_m: (B, H, W), 0 = invalid.
            road_plane: (B, 3), if it is known.
        """
        color, depth = preprocess(rgb, depth_m, resized(self.bundle.input, rgb), road_plane)
        output: SegOutput = self.network(color.contiguous(memory_format=self.memory_format), depth)
        return output


def frozen_outputs(
    teachers: Mapping[int, Teacher], rgb: Tensor, depth_m: Tensor, plane: Tensor, stored: Mapping[int, Tensor] | None
) -> dict[int, SegOutput]:
    """The output of each teacher, by index: of now, or what was stored, which is logits without features."""
    if stored is None:
        return {index: teacher(rgb, depth_m, plane) for index, teacher in teachers.items()}
    return {index: SegOutput(logits.float(), {}) for index, logits in stored.items()}


def resized(spec: InputSpec, rgb: Tensor, view: float = 1.0) -> InputSpec:
    """The same encoding of whole images (training windows are cut already), `view` times smaller per side than `rgb`
    (B, H, W, 3)."""
    return dataclasses.replace(spec, size=scaled_size(rgb.shape[1:3], 1 / view), crop=(0.0, 0.0, 1.0, 1.0))
