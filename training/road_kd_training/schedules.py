# SPDX-License-Identifier: Apache-2.0
"""Learning rates over a run."""

from __future__ import annotations

import math

from road_kd_training.config import TrainConfig


def learning_rate(config: TrainConfig, step: int) -> float:
    """The rate of one step (from 0): linear warm-up times the schedule.

    `poly` is DeepLab's (1 - step / steps) ** power; `cosine` falls to 0 along half a wave; `exponential` falls evenly
    to `gamma` of the peak; `step` falls to `gamma` of what it was at each milestone.
    """
    progress = step / config.steps
    factors = {
        "poly": (1 - progress) ** config.power,
        "cosine": (1 + math.cos(math.pi * progress)) / 2,
        "exponential": config.gamma**progress,
        "step": config.gamma ** sum(step >= milestone for milestone in config.milestones),
        "constant": 1.0,
    }
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    return float(config.learning_rate * warm * factors[config.schedule])
