"""The papers' tables as data: every experiment by its name, one file per paper."""

from __future__ import annotations

from collections.abc import Mapping

from road_kd_training.errors import TrainingError, suggest
from road_kd_training.experiments import cpkd, cwd, intra_kd, lix, overview, real_roads, sslkd
from road_kd_training.experiments.base import Experiment

__all__ = ["EXPERIMENTS", "Experiment", "find_experiment"]

EXPERIMENTS: Mapping[str, Experiment] = {
    experiment.id: experiment
    for module in (overview, real_roads, cpkd, sslkd, intra_kd, cwd, lix)
    for experiment in module.EXPERIMENTS
}


def find_experiment(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
        TrainingError: there is none; the message lists those that are.
    """
    if name not in EXPERIMENTS:
        raise TrainingError(f"experiment '{name}' is unknown: {suggest(name, EXPERIMENTS)}")
    return EXPERIMENTS[name]
