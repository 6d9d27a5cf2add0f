# SPDX-License-Identifier: Apache-2.0
"""How the runs of a plan train, said from their configurations, so that no report forgets what it changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from road_kd_training.config import AugmentConfig, TrainConfig
from road_kd_training.experiments.plan import Plan


def describe_settings(plan: Plan) -> list[str]:
    """One line per aspect; where rows differ, each value with the rows that have it."""
    aspects = {**_ASPECTS, **(_OF_DETECTORS if plan.experiment.task == "detection" else {})}
    return [f"{aspect}: {_value(plan, say)}" for aspect, say in aspects.items()]


def _value(plan: Plan, say: Callable[[TrainConfig], str]) -> str:
    rows: dict[str, list[str]] = {}
    for run in plan.runs:
        keys = rows.setdefault(say(run.config), [])
        if run.row.key not in keys:
            keys.append(run.row.key)
    if len(rows) == 1:
        return next(iter(rows))
    most = max(rows, key=lambda value: len(rows[value]))
    others = "; ".join(f"{', '.join(keys)}: {value}" for value, keys in rows.items() if value != most)
    return f"{most}; but {others}"


def _schedule(config: TrainConfig) -> str:
    unlabeled = f" and {config.unlabeled_batch_size} unlabeled" if config.unlabeled_batch_size else ""
    stop = "" if config.patience is None else f", at most, ended after {config.patience} validations without progress"
    return f"{config.steps:,} steps of {config.batch_size}{unlabeled}{stop}"


def _optimizer(config: TrainConfig) -> str:
    return (
        f"{config.optimizer}, learning rate {config.learning_rate:g} ({config.schedule}, {config.warmup_steps} steps of"
        f" warm-up), weight decay {config.weight_decay:g}, gradients clipped to norm {config.max_grad_norm:g}"
    )


def _images(config: TrainConfig) -> str:
    frame, augment = config.input, config.augment
    window = (augment.crop_height or frame.height, augment.crop_width or frame.width)
    top, left, bottom, right = frame.crop
    crop = "" if (top, left, bottom, right) == (0, 0, 1, 1) else f" of rows {top:.0%} to {bottom:.0%}"
    scales = f"{augment.min_scale:g} to {augment.max_scale:g} times the size"
    return f"{frame.height}x{frame.width}{crop}, depth {frame.depth}; windows of {window[0]}x{window[1]}, {scales}"


def _augmentation(config: TrainConfig) -> str:
    neutral = {"min_scale", "max_scale", "crop_height", "crop_width"}
    drawn = {
        field.name: getattr(config.augment, field.name)
        for field in dataclasses.fields(AugmentConfig)
        if field.name not in neutral and getattr(config.augment, field.name)
    }
    return ", ".join(f"{name} {value}" for name, value in drawn.items()) or "none"


def _loss(config: TrainConfig) -> str:
    terms = [f"cross entropy x {config.cross_entropy:g}"]
    terms += [f"auxiliary head x {config.auxiliary_weight:g}"] if config.auxiliary_weight else []
    weights = config.class_weights
    return ", ".join(terms) + ("" if weights is None else f", classes weighted {', '.join(f'{x:g}' for x in weights)}")


_ASPECTS: Mapping[str, Callable[[TrainConfig], str]] = {
    "schedule": _schedule,
    "optimizer": _optimizer,
    "images": _images,
    "augmentation": _augmentation,
    "supervised loss": _loss,
    "precision": lambda config: config.mixed_precision,
    "averaged weights": lambda config: f"decay {config.ema_decay:g}" if config.ema_decay else "none",
}

_OF_DETECTORS: Mapping[str, Callable[[TrainConfig], str]] = {
    "images": lambda config: (
        f"shorter side {config.input.height}, longer one at most {config.input.width}, 1 times the size"
    ),
    "supervised loss": lambda config: f"the detector's own x {config.cross_entropy:g}",
}
"""What is said otherwise of a table of detectors."""
