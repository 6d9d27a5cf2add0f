# SPDX-License-Identifier: Apache-2.0
"""The papers' tables, and our own, as data: every experiment by its name."""

from __future__ import annotations

import re
from collections.abc import Mapping

from road_kd_training.errors import TrainingError, suggest
from road_kd_training.experiments import (
    cpkd,
    cpkd_labels,
    cwd,
    cwd_detection,
    cwd_supplement,
    few_labels,
    intra_kd,
    intra_kd_ablations,
    lix,
    new_camera,
    overview,
    real_roads,
    sslkd,
    zero_shot,
)
from road_kd_training.experiments.base import Experiment

__all__ = ["EXPERIMENTS", "Experiment", "find_experiment"]

EXPERIMENTS: Mapping[str, Experiment] = {
    experiment.id: experiment
    for module in (
        *(overview, real_roads, few_labels, new_camera, zero_shot),
        *(cpkd, cpkd_labels, sslkd, intra_kd, intra_kd_ablations, cwd, cwd_detection, cwd_supplement, lix),
    )
    for experiment in module.EXPERIMENTS
}


def find_experiment(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
        TrainingError: there is none; the message lists those that are.
    """
    american = re.sub("ll(?=ing)", "l", name)  # the other spelling of labeling is no error
    if american not in EXPERIMENTS:
        raise TrainingError(f"experiment '{name}' is unknown: {suggest(name, EXPERIMENTS)}")
    return EXPERIMENTS[american]
