# SPDX-License-Identifier: Apache-2.0
"""What each number of a run's configuration may be, checked before anything is read or built."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from road_kd_seg.errors import shown
from road_kd_training.config import (
    AugmentConfig,
    DataConfig,
    DistillerConfig,
    InputConfig,
    NetworkConfig,
    TeacherConfig,
    TrainConfig,
)
from road_kd_training.errors import TrainingError

_MANY = 1e9
_PIXELS = (8, 4096)
_SHARE = (0, 1)

RANGES: Mapping[type, Mapping[str, tuple[float, float]]] = {
    TrainConfig: {
        "gradient_share": (0, _MANY),
        "cross_entropy": (0, _MANY),
        "auxiliary_weight": (0, _MANY),
        "unlabeled_batch_size": (0, 1e5),
        "steps": (1, _MANY),
        "batch_size": (1, 1e5),
        "learning_rate": (0, 1e3),
        "weight_decay": (0, 1e3),
        "encoder_learning_rate_factor": (0, 1e3),
        "warmup_steps": (0, _MANY),
        "power": (0, 100),
        "gamma": _SHARE,
        "milestones": (0, _MANY),
        "class_weights": (0, _MANY),
        "max_grad_norm": (0, _MANY),
        "ema_decay": _SHARE,
        "mixup": _SHARE,
        "teacher_view": (1, 4),
        "stored_crops": (0, 1000),
        "num_workers": (0, 1000),
        "validate_every": (1, _MANY),
        "snapshot_every": (1, _MANY),
        "patience": (1, _MANY),
        "seed": (0, 2**32 - 1),
    },
    DataConfig: {"weight": (0, _MANY)},
    NetworkConfig: {},
    InputConfig: {
        "height": _PIXELS,
        "width": _PIXELS,
        "depth_low": (-1e4, 1e4),
        "depth_high": (-1e4, 1e4),
        "depth_focal": (0, 1e4),
        "crop": _SHARE,
    },
    AugmentConfig: {
        "min_scale": (0, 100),
        "max_scale": (0, 100),
        "crop_height": _PIXELS,
        "crop_width": _PIXELS,
        "flip": _SHARE,
        "brightness": _SHARE,
        "contrast": _SHARE,
        "saturation": _SHARE,
        "hue": _SHARE,
        "depth_scale": _SHARE,
        "relief_scale": _SHARE,
        "weather": _SHARE,
        "depth_noise": _SHARE,
        "far_road": _SHARE,
        "drop_depth": _SHARE,
    },
    TeacherConfig: {},
    DistillerConfig: {"weights": (-_MANY, _MANY), "teachers": (0, 1000), "start_step": (0, _MANY)},
}
"""Of each class, by field, both ends included; of a list or a map each value. None, where it is allowed, is no number.
Options of a dataset, network or method are for whoever takes them."""


def check_numbers(config: Any, where: str = "") -> None:
    """Refuse a configuration with a number that cannot be meant.

    Args:
        config: a `TrainConfig`, or any of its parts.
        where: its name in the recipe, with a dot.

    Raises:
        TrainingError: a number that is not finite or out of range, with its name, value and range.
    """
    for name in (field.name for field in dataclasses.fields(config)):
        limits = RANGES[type(config)].get(name)
        for key, value in _entries(getattr(config, name), where + name):
            if dataclasses.is_dataclass(value):
                check_numbers(value, f"{key}.")
            elif limits is not None and value is not None:
                _check(key, value, *limits)


def _entries(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return ((f"{name}.{key}", item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return ((f"{name}[{i}]", item) for i, item in enumerate(value))
    return iter([(name, value)])


def _check(name: str, value: Any, low: float, high: float) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise TrainingError(f"{name} is {shown(value)}, expected a number from {low:.10g} to {high:.10g}")
