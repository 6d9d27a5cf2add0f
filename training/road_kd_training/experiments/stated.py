# SPDX-License-Identifier: Apache-2.0
"""What the papers state of their training, and where a plan at scale full differs: found in the plan, not told."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from road_kd_training.config import TrainConfig
from road_kd_training.experiments.plan import Plan

SILENCE = "the paper says nothing of it"


@dataclass(frozen=True)
class Stated:
    """One setting."""

    field: str
    """Path in `TrainConfig`."""
    values: tuple[Any, ...]
    """What the paper has; several where it differs by row."""
    sentence: str
    """Of the paper, or where else it stands."""


def _one(field: str, value: Any, sentence: str) -> Stated:
    return Stated(field, (value,), sentence)


_CODE = "the authors' code"
_CWD_IMAGES = '"the training image for the student is randomly cropped into 512 x 512"'
_INTRA_STEPS = '"The total number of training episodes is set as 80K for CULane and LLAMAS, and 180K for ApolloScape"'
_INTRA_BATCH = '"Batch size is set as 12 for CULane and LLAMAS, and 8 for ApolloScape"'
_INTRA_SIZE = '"we further resize the processed image to 1692 x 505, 976 x 208 and 960 x 288, respectively"'
_LIX_BATCH = '"the batch size is set to 3 for SNE-RoadSeg [...] 8 for MFNet"'


def _intra_kd(height: int, width: int, steps: int, batch_size: int) -> tuple[Stated, ...]:
    return (
        _one("optimizer", "sgd", '"We use SGD to train our models"'),
        _one("learning_rate", 0.01, '"the learning rate is set as 0.01"'),
        _one("steps", steps, _INTRA_STEPS),
        _one("batch_size", batch_size, _INTRA_BATCH),
        _one("input.height", height, _INTRA_SIZE),
        _one("input.width", width, _INTRA_SIZE),
    )


def _lix(*batch_sizes: int) -> tuple[Stated, ...]:
    return (
        _one("optimizer", "sgd", '"We utilize the stochastic gradient descent (SGD) optimizer"'),
        Stated("batch_size", batch_sizes, _LIX_BATCH),
    )


_CWD = (
    _one("augment.crop_height", 512, _CWD_IMAGES),
    _one("augment.crop_width", 512, _CWD_IMAGES),
    _one("batch_size", 8, '"the batch size is set to 8"'),
    _one("steps", 40_000, '"the number of the training step is 40k"'),
    _one("auxiliary_weight", 0.4, _CODE),
)

_CWD_DETECTORS = '"the training settings as in [42]", which are mmdetection\'s of 24 epochs'

STATED: Mapping[tuple[str, str], tuple[Stated, ...]] = {
    ("cpkd", "no4k"): (
        _one("optimizer", "sgd", _CODE),
        _one("learning_rate", 0.01, _CODE),
        _one("weight_decay", 5e-4, _CODE),
        _one("batch_size", 2, _CODE),
        _one("input.height", 576, "the size of NO-4K's images"),
        _one("input.width", 1024, "the size of NO-4K's images"),
    ),
    ("sslkd", "roadnet"): (
        _one("optimizer", "sgd", '"a mini-batch SGD"'),
        _one("schedule", "poly", '"a polynomial learning rate policy"'),
        _one("input.height", 512, '"image patches of size of 512 x 512"'),
        _one("input.width", 512, '"image patches of size of 512 x 512"'),
    ),
    ("intra_kd", "apolloscape_lane"): _intra_kd(505, 1692, 180_000, 8),
    ("intra_kd", "culane"): _intra_kd(208, 976, 80_000, 12),
    ("intra_kd", "llamas"): _intra_kd(288, 960, 80_000, 12),
    ("cwd", "cityscapes"): _CWD,
    ("cwd", "voc"): _CWD,
    ("cwd", "ade20k"): _CWD,
    ("cwd", "coco"): (
        _one("optimizer", "sgd", _CWD_DETECTORS),
        _one("batch_size", 16, _CWD_DETECTORS),
        _one("weight_decay", 1e-4, _CWD_DETECTORS),
        _one("warmup_steps", 500, _CWD_DETECTORS),
        Stated("learning_rate", (0.01, 0.02), _CWD_DETECTORS),
        _one("input.height", 800, _CWD_DETECTORS),
        _one("input.width", 1333, _CWD_DETECTORS),
    ),
    ("lix", "vkitti2"): _lix(3, 8),
    ("lix", "kitti_semantics"): _lix(3, 8),
    ("lix", "nuimages"): _lix(8),
}
"""By paper and dataset of the training."""

PLAIN: Mapping[str, tuple[Any, str]] = {
    "mixed_precision": ("no", "float32"),
    "ema_decay": (0.0, "the last weights, not averaged ones"),
    "warmup_steps": (0, "no warm-up"),
    "max_grad_norm": (1e6, "gradients as they are"),
    "mixup": (0.0, "no mixtures"),
    "patience": (None, "no early end"),
    "augment.flip": (0.0, "no mirror images"),
    "augment.brightness": (0.0, "colors as they are"),
    "augment.contrast": (0.0, "colors as they are"),
    "augment.saturation": (0.0, "colors as they are"),
    "augment.hue": (0.0, "colors as they are"),
}
"""How silence is read: value, and the same in words."""

NAMED: Mapping[str, frozenset[str]] = {
    "lix": frozenset(
        {"patience", *(f"augment.{name}" for name in ("flip", "brightness", "contrast", "saturation", "hue"))}
    ),
    "cwd": frozenset({"augment.flip"}),
}
"""Of these, what a paper or its authors' code does have: "random color adjustment, photometric distortion, rescaling,
and flipping" and "early stopping" (LIX), mirror images (CWD's code)."""


def differences(plan: Plan) -> list[str]:
    """Where the runs of a plan have other settings than the paper states, and what they have beyond it.

    Empty for a table of our own.
    """
    paper = plan.experiment.id.partition("/")[0]
    dataset = plan.protocol.train[0].dataset
    if not plan.experiment.dataset:
        return []
    told = [
        f"{one.field} is {found}; the paper has {' or '.join(map(str, one.values))} ({one.sentence})"
        for one in STATED.get((paper, dataset), ())
        if (found := _other_values(plan, one.field, one.values))
    ]
    told += [
        f"{field} is {found}; {SILENCE}, read as {words}"
        for field, (value, words) in PLAIN.items()
        if field not in NAMED.get(paper, frozenset()) and (found := _other_values(plan, field, (value,)))
    ]
    picked = plan.experiment.task == "segmentation"  # detectors keep their last weights
    if picked and any(source in plan.protocol.tests.values() for source in plan.protocol.validation):
        told.append("weights are picked on the split that is also reported, in every row alike")
    return told


def _other_values(plan: Plan, field: str, expected: Sequence[Any]) -> str:
    """The values that are none of the expected ones, with the rows that have them unless all do."""
    rows: dict[str, list[str]] = {}
    for run in plan.runs:
        value = _value(run.config, field)
        if value not in expected:
            keys = rows.setdefault(str(value), [])
            keys += [run.row.key] if run.row.key not in keys else []
    everyone = len({run.row.key for run in plan.runs})
    return " and ".join(
        value if len(keys) == everyone else f"{value} ({', '.join(keys)})" for value, keys in rows.items()
    )


def _value(config: TrainConfig, field: str) -> Any:
    return functools.reduce(getattr, field.split("."), config)
