# SPDX-License-Identifier: Apache-2.0
"""`road-kd train`: one run from a recipe."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from jsonargparse import Namespace

from road_kd_training.config import TrainConfig
from road_kd_training.engine import Trainer
from road_kd_training.recipes import check_recipe
from road_kd_training.terminal import plain_console


def run(options: Namespace) -> None:
    """Train, or resume training.

    Raises:
        TrainingError: a recipe with an unknown key, or a run that cannot be resumed.
    """
    for path in options.config or ():
        check_recipe(Path(path))
    config = TrainConfig(**{field.name: options[field.name] for field in dataclasses.fields(TrainConfig)})
    bundle = Trainer(config).run()
    plain_console().print(f"wrote {bundle}; next: road-kd evaluate DATASET --model {bundle}", soft_wrap=True)
