# SPDX-License-Identifier: Apache-2.0
"""`road-kd distill`: one run from a recipe that has a teacher."""

from __future__ import annotations

from jsonargparse import Namespace

from road_kd_training.commands import train
from road_kd_training.errors import TrainingError


def run(options: Namespace) -> None:
    """Train, or resume training.

    Raises:
        TrainingError: the recipe distils nothing.
    """
    if not options.distillers:
        raise TrainingError("the recipe has no distillers: add one ('road-kd list distillers'), or use 'road-kd train'")
    train.run(options)
