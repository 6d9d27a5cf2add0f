# SPDX-License-Identifier: Apache-2.0
"""Training and distillation for road_kd_seg: losses as functions, methods as modules, datasets, one engine.

    from road_kd_training import channel_wise_kl

    loss = channel_wise_kl(student_features, teacher_features, temperature=3.0)  # (B, C, H, W) each

The names below are the public API, imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from road_kd_training.datasets import DATASETS, RgbdDataset, RgbdSample, build_dataset
    from road_kd_training.distillers import DISTILLERS, Distiller, Needs, NetworkInfo
    from road_kd_training.distillers.arfd import cka, recalibrate
    from road_kd_training.distillers.cpkd import channel_loss, position_loss, position_map
    from road_kd_training.distillers.cwd import channel_wise_kl
    from road_kd_training.distillers.dkd import dkd_terms
    from road_kd_training.distillers.dwld import DynamicWeightController
    from road_kd_training.distillers.intra_kd import (
        affinity_graph,
        affinity_loss,
        aoi_masks,
        attention_map,
        moment_pool,
    )
    from road_kd_training.distillers.sslkd import cross_pseudo_loss, ensemble_probabilities, feature_mae
    from road_kd_training.errors import DatasetError, TrainingError
    from road_kd_training.feature_taps import TappedModel

__all__ = [
    "DATASETS",
    "DISTILLERS",
    "DatasetError",
    "Distiller",
    "DynamicWeightController",
    "Needs",
    "NetworkInfo",
    "RgbdDataset",
    "RgbdSample",
    "TappedModel",
    "TrainingError",
    "affinity_graph",
    "affinity_loss",
    "aoi_masks",
    "attention_map",
    "build_dataset",
    "channel_loss",
    "channel_wise_kl",
    "cka",
    "cross_pseudo_loss",
    "dkd_terms",
    "ensemble_probabilities",
    "feature_mae",
    "moment_pool",
    "position_loss",
    "position_map",
    "recalibrate",
]

_HOMES = {
    "datasets": ("DATASETS", "RgbdDataset", "RgbdSample", "build_dataset"),
    "distillers": ("DISTILLERS", "Distiller", "Needs", "NetworkInfo"),
    "distillers.arfd": ("cka", "recalibrate"),
    "distillers.cpkd": ("channel_loss", "position_loss", "position_map"),
    "distillers.cwd": ("channel_wise_kl",),
    "distillers.dkd": ("dkd_terms",),
    "distillers.dwld": ("DynamicWeightController",),
    "distillers.intra_kd": ("affinity_graph", "affinity_loss", "aoi_masks", "attention_map", "moment_pool"),
    "distillers.sslkd": ("cross_pseudo_loss", "ensemble_probabilities", "feature_mae"),
    "errors": ("DatasetError", "TrainingError"),
    "feature_taps": ("TappedModel",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
