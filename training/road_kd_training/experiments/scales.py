# SPDX-License-Identifier: Apache-2.0
"""Scales: the paper's own protocol, or synthetic scenes in three sizes that replace its dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from road_kd_training.config import MIRRORED_ONLY, DataConfig, InputConfig, NetworkConfig
from road_kd_training.errors import TrainingError, suggest
from road_kd_training.experiments.base import REAL_FRAMES, WET_ROAD, Experiment, Protocol

ScaleName = Literal["smoke", "reduced", "small", "full"]

TRAIN_SEED, VALIDATION_SEED, TEST_SEED = 0, 1_000_000, 1_000_100
"""Of the first synthetic scene of each split."""
REAL_SHARE = 0.25
"""Of the training samples, where stereo_pothole's frames join in."""

FULL_SETTINGS: Mapping[str, Any] = {
    "warmup_steps": 0,
    "max_grad_norm": 1e6,
    "ema_decay": 0.0,
    "mixed_precision": "bf16",
}
"""Where the engine does more than the papers: no warm-up, no clipping to speak of, no averaged weights."""

DETECTORS_SETTINGS: Mapping[str, Any] = {
    "augment": MIRRORED_ONLY,
    "class_weights": None,
    "ema_decay": 0.0,
    "learning_rate": 5e-4,
    "mixed_precision": "no",
}
"""Where detectors train otherwise on synthetic scenes."""


@dataclass(frozen=True)
class SyntheticScale:
    """How much of everything."""

    train_scenes: int
    validation_scenes: int
    test_scenes: int
    seeds: tuple[int, ...]
    teacher_steps: int
    settings: Mapping[str, Any]
    substitutes: Mapping[str, NetworkConfig]
    meaning: str
    """What its results tell."""


SMOKE = SyntheticScale(
    train_scenes=24,
    validation_scenes=4,
    test_scenes=6,
    seeds=(0,),
    teacher_steps=12,
    settings={
        "input": InputConfig(64, 128),
        "steps": 10,
        "batch_size": 4,
        "unlabeled_batch_size": 4,
        "warmup_steps": 2,
        "ema_decay": 0.0,
        "mixed_precision": "no",
        "num_workers": 0,
        "validate_every": 1000,
    },
    substitutes={
        "mafnet_r152": NetworkConfig("mafnet_r18", {"input_scale": 1.0}),
        "mafnet_r34": NetworkConfig("mafnet_r18", {"input_scale": 1.0}),
        "pspnet_r101": NetworkConfig("pspnet_r18"),
        "pspnet_r18": NetworkConfig("pspnet_r18_half"),
        "deeplabv3_r18": NetworkConfig("deeplabv3_r18_half"),
        "deeplabv3plus_r101": NetworkConfig("deeplabv3plus_r50"),
        "sne_roadseg_r152": NetworkConfig("mfnet"),
        "sne_roadseg_r152_rgb": NetworkConfig("mfnet_rgb"),
        "retinanet_x101": NetworkConfig("retinanet_r50"),
        "retinanet_r50": NetworkConfig("retinanet_r18"),
        "faster_rcnn_x101": NetworkConfig("faster_rcnn_r50"),
        "faster_rcnn_r50": NetworkConfig("faster_rcnn_r18"),
    },
    meaning="smoke proves that every row runs: the results rank nothing",
)

REDUCED = SyntheticScale(
    train_scenes=400,
    validation_scenes=10,
    test_scenes=40,
    seeds=(0, 1, 2),
    teacher_steps=800,
    settings={
        "input": InputConfig(128, 256),
        "steps": 300,
        "batch_size": 4,
        "learning_rate": 2e-3,
        "class_weights": [1.0, 1.0, 2.0, 4.0, 3.0],
        "unlabeled_batch_size": 4,
        "warmup_steps": 30,
        "ema_decay": 0.98,
        "mixed_precision": "no",
        "validate_every": 100,
    },
    substitutes=SMOKE.substitutes,
    meaning="reduced is small for two CPU cores, on images a quarter as wide: it ranks rows there, and says"
    " little of larger images",
)

SMALL = SyntheticScale(
    train_scenes=800,
    validation_scenes=40,
    test_scenes=100,
    seeds=(0, 1, 2),
    teacher_steps=4500,
    settings={
        "input": InputConfig(320, 576),
        "steps": 1500,
        "batch_size": 8,
        "unlabeled_batch_size": 8,
        "warmup_steps": 100,
        "ema_decay": 0.99,
        "mixed_precision": "bf16",
        "validate_every": 500,
    },
    substitutes={},
    meaning="small ranks rows on synthetic scenes under one short schedule: not comparable with the reported results",
)

SYNTHETIC: Mapping[str, SyntheticScale] = {"smoke": SMOKE, "reduced": REDUCED, "small": SMALL}


def protocol_at(experiment: Experiment, scale: str, *, real_frames: bool = False) -> Protocol:
    """What the rows of a table share at a scale.

    Args:
        experiment: the table.
        scale: smoke, reduced, small or full.
        real_frames: whether there is a folder of stereo_pothole; they join the synthetic scenes where the table lets
            them.

    Raises:
        TrainingError: an unknown scale, or full of a table that only synthetic scenes can tell.
    """
    if scale not in get_args(ScaleName):
        raise TrainingError(f"scale '{scale}' is unknown: {suggest(scale, get_args(ScaleName))}")
    if scale == "reduced" and experiment.reduced is not None:
        return experiment.reduced
    if scale != "full":
        return _synthetic(experiment, SYNTHETIC[scale], real_frames=real_frames and experiment.real_frames)
    if experiment.full is None:
        raise TrainingError(
            f"{experiment.id} has no full scale: no dataset tells what it asks, only synthetic scenes do: use --scale"
            " small"
        )
    return experiment.full


def meaning_of(scale: str) -> str:
    """What results of a scale tell."""
    return (
        SYNTHETIC[scale].meaning
        if scale in SYNTHETIC
        else "full is the paper's data and schedule, as far as said below"
    )


def _synthetic(experiment: Experiment, scale: SyntheticScale, *, real_frames: bool) -> Protocol:
    labeled = max(1, round(experiment.labeled_share * scale.train_scenes))
    test = synthetic_scenes(scale.test_scenes, TEST_SEED)
    tests = {"synthetic scenes": test}
    train = [synthetic_scenes(labeled, TRAIN_SEED, wrong_wet=experiment.wrong_wet)]
    if experiment.wrong_wet:
        tests[WET_ROAD] = synthetic_scenes(scale.test_scenes, TEST_SEED, only_wet=True)
    if real_frames:
        train = [
            DataConfig(train[0].dataset, train[0].options, 1 - REAL_SHARE),
            DataConfig("stereo_pothole", {"split": "train"}, REAL_SHARE),
        ]
        tests[REAL_FRAMES] = DataConfig("stereo_pothole", {"split": "validation"})
    unlabeled = scale.train_scenes - labeled
    return Protocol(
        train=tuple(train),
        unlabeled=(synthetic_scenes(unlabeled, TRAIN_SEED + labeled),) if unlabeled else (),
        validation=(synthetic_scenes(scale.validation_scenes, VALIDATION_SEED),),
        tests=tests,
        summary=_summary(scale, labeled, unlabeled, real_frames=real_frames),
        settings={**scale.settings, **(DETECTORS_SETTINGS if experiment.task == "detection" else {})},
        teacher_settings={"steps": scale.teacher_steps},
        depth={"depth": "plane_residual", "depth_high": 0.05},
        substitutes=scale.substitutes,
        seeds=scale.seeds,
        deviations=_deviations(experiment, scale),
    )


def synthetic_scenes(count: int, first_seed: int, **options: Any) -> DataConfig:
    """Scenes of consecutive seeds, with those of the data set's options that are not 0 or False."""
    given = {name: value for name, value in options.items() if value}
    return DataConfig("synthetic", {"num_scenes": count, "first_seed": first_seed, **given})


def _summary(scale: SyntheticScale, labeled: int, unlabeled: int, *, real_frames: bool) -> str:
    size: InputConfig = scale.settings["input"]
    scenes = f"{labeled} labeled and {unlabeled} unlabeled" if unlabeled else f"{labeled}"
    real = " and 42 real frames" if real_frames else ""
    return (
        f"{scale.settings['steps']} steps ({scale.teacher_steps} for teachers) of {scale.settings['batch_size']} on"
        f" {scenes} synthetic scenes{real} at {size.height}x{size.width}, AdamW; tested on {scale.test_scenes} other"
        " scenes"
    )


def _deviations(experiment: Experiment, scale: SyntheticScale) -> tuple[str, ...]:
    scenes = {"segmentation": "scenes of five classes", "detection": "scenes, whose obstacles have boxes,"}
    said = [f"synthetic {scenes[experiment.task]} replace {experiment.dataset}"] if experiment.dataset else []
    said.append("no ImageNet weights")
    networks = {row.network for row in experiment.rows} | {peer for row in experiment.rows for peer in row.peers}
    swapped = [f"{scale.substitutes[name].name} for {name}" for name in sorted(networks & scale.substitutes.keys())]
    if swapped:
        said.append(f"lighter networks: {', '.join(swapped)}")
    if any(row.depth for row in experiment.rows):
        said.append("depth is encoded as the residual of the road plane")
    said += [f"{m.name}: on synthetic scenes {m.stand_in}" for m in experiment.metrics if m.stand_in]
    return tuple(said)
