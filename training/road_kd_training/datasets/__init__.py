# SPDX-License-Identifier: Apache-2.0
"""Every dataset by name; each yields `RgbdSample`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from road_kd_seg.plugins import WithPlugins
from road_kd_training.datasets.ade20k import Ade20k
from road_kd_training.datasets.apolloscape_lane import ApolloscapeLane
from road_kd_training.datasets.bag import Bag
from road_kd_training.datasets.camvid import CamVid
from road_kd_training.datasets.cityscapes import Cityscapes
from road_kd_training.datasets.common.sample import DatasetMetric, RgbdDataset, RgbdSample
from road_kd_training.datasets.culane import CuLane, CuLaneF1
from road_kd_training.datasets.frames import Frames
from road_kd_training.datasets.kitti_semantics import KittiSemantics
from road_kd_training.datasets.llamas import Llamas, LlamasAp
from road_kd_training.datasets.no4k import No4k
from road_kd_training.datasets.nuimages import NuImages
from road_kd_training.datasets.pothole600 import Pothole600
from road_kd_training.datasets.real_roads import RealRoads
from road_kd_training.datasets.roadnet import RoadNet
from road_kd_training.datasets.stereo_pothole import StereoPothole, threshold_baseline
from road_kd_training.datasets.synthetic import SyntheticScenes
from road_kd_training.datasets.vkitti2 import VirtualKitti2
from road_kd_training.datasets.voc import PascalVoc
from road_kd_training.errors import DatasetError, suggest

__all__ = ["BASELINES", "DATASETS", "DATASET_METRICS", "DatasetMetric", "RgbdDataset", "RgbdSample", "build_dataset"]

DATASETS: Mapping[str, Callable[..., RgbdDataset]] = WithPlugins(
    "road_kd.datasets",
    {
        "synthetic": SyntheticScenes,
        "bag": Bag,
        "frames": Frames,
        "stereo_pothole": StereoPothole,
        "pothole600": Pothole600,
        "no4k": No4k,
        "real_roads": RealRoads,
        "roadnet": RoadNet,
        "apolloscape_lane": ApolloscapeLane,
        "culane": CuLane,
        "llamas": Llamas,
        "cityscapes": Cityscapes,
        "camvid": CamVid,
        "kitti_semantics": KittiSemantics,
        "vkitti2": VirtualKitti2,
        "nuimages": NuImages,
        "voc": PascalVoc,
        "ade20k": Ade20k,
    },
)
"""Builders by name; those of other packages enter by entry points."""

BASELINES: Mapping[str, Callable[..., dict[str, Any]]] = {"stereo_pothole": threshold_baseline}
"""What needs no network, printed beside every score on that dataset."""

DATASET_METRICS: Mapping[str, Callable[[], DatasetMetric]] = {"culane": CuLaneF1, "llamas": LlamasAp}
"""A dataset's own metric, gathered from the probabilities while it is scored."""


def build_dataset(name: str, /, **kwargs: Any) -> RgbdDataset:
    """Build a dataset.

    Raises:
        DatasetError: an unknown name or option, or whatever the dataset finds wrong with its files.
    """
    if name not in DATASETS:
        raise DatasetError(f"dataset '{name}' is unknown: use one of {', '.join(DATASETS)}")
    known = inspect.signature(DATASETS[name]).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    for option in kwargs:
        if option not in known and not takes_any:
            raise DatasetError(f"dataset '{name}': option '{option}' is unknown: {suggest(option, known)}")
    missing = [
        key
        for key, parameter in known.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        and parameter.default is parameter.empty
        and key not in kwargs
    ]
    if missing:
        raise DatasetError(
            f"dataset '{name}': option {', '.join(missing)} is missing: it takes {', '.join(known)}, as key=value"
        )
    return DATASETS[name](**kwargs)
