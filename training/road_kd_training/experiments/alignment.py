# SPDX-License-Identifier: Apache-2.0
"""How well a student's features agree with its teacher's over training: LIX's Fig. 5, from snapshots of the student.

Agreement is linear CKA over *positions*: each cell of a feature map is an example, its channels are what describes it.
With whole maps as examples, which have far more elements than there are images, unrelated features score near 1 too.
B images, C channels, H W size of the feature map, N positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from road_kd_seg.bundle import Bundle, load_bundle
from road_kd_seg.preprocess.tensors import preprocess
from road_kd_training.config import DataConfig
from road_kd_training.datasets import build_dataset
from road_kd_training.datasets.common.sample import RgbdSample
from road_kd_training.distillers.common.functional import TapPair, align_spatial

IMAGES = 40
"""Of the test set, at most."""

Alignment = Sequence[tuple[int, float]]
"""Step, and CKA averaged over the taps."""


def position_cka(student: Tensor, teacher: Tensor) -> float:
    """Linear CKA of two maps of the same images, position by position; the larger map is resized to the smaller.

    Args:
        student: (B, C, h, w).
        teacher: (B, D, H, W).

    Returns:
        0 to 1; 1 if one is the other up to rotation and scale of its channels.
    """
    size = min(student.shape[-2:], teacher.shape[-2:], key=lambda shape: shape[0] * shape[1])
    ours, theirs = (align_spatial(x, size).movedim(1, -1).flatten(0, 2) for x in (student, teacher))
    ours, theirs = ours - ours.mean(dim=0), theirs - theirs.mean(dim=0)
    # ‖XᵀY‖² / (‖XᵀX‖ ‖YᵀY‖): the Gram matrices of N positions are never built.
    norm = (ours.T @ ours).norm() * (theirs.T @ theirs).norm()
    return float((ours.T @ theirs).square().sum() / norm.clamp_min(torch.finfo(norm.dtype).tiny))


@torch.no_grad()
def alignment_of(snapshots: Path, teacher: Bundle, taps: Sequence[TapPair], source: DataConfig) -> Alignment:
    """CKA of every snapshot below `snapshots` (folders named after their steps) with the teacher, on test images."""
    dataset = build_dataset(source.dataset, **source.options)
    samples = [dataset[index] for index in range(min(IMAGES, len(dataset)))]
    theirs = features_of(teacher, [pair[1] for pair in taps], samples)
    found = []
    for folder in sorted(snapshots.iterdir(), key=lambda path: int(path.name)):
        ours = features_of(load_bundle(folder), [pair[0] for pair in taps], samples)
        values = [position_cka(one, other) for one, other in zip(ours, theirs, strict=True)]
        found.append((int(folder.name), sum(values) / len(values)))
    return found


def features_of(bundle: Bundle, taps: Sequence[str], samples: Sequence[RgbdSample]) -> list[Tensor]:
    """The network's maps (B, C, H, W) at each tap, image by image, fed as its own bundle says."""
    network = bundle.build_network().eval()
    rows: list[list[Tensor]] = [[] for _ in taps]
    for sample in samples:
        depth_m = None if sample.depth_m is None else torch.from_numpy(sample.depth_m)[None]
        output = network(*preprocess(torch.from_numpy(sample.rgb)[None], depth_m, bundle.input))
        for row, tap in zip(rows, taps, strict=True):
            row.append(output.features[tap].float())
    return [torch.cat(row) for row in rows]
