# SPDX-License-Identifier: Apache-2.0
"""Distillation on real roads: an ImageNet teacher, a student from random weights, every row at equal compute.

Three comparisons under `--budget cpu`, where a distilled row, its teacher's forward passes included, costs what its
baseline's steps cost; on the mIoU of the classes that were labeled by hand, over the validation images. All were
written down before the protocol's seeds ran:

- primary: row `kd_cwd`, whose teacher runs at every step, against `baseline`, 1,200 steps;
- `kd_cwd_stored` against `baseline`: the teacher sees `STORED_CROPS` fixed crops of each image, once;
- `kd_cwd_long` against `baseline_x2`, 2,400 steps: twice the budget pays for twice the crops.

The number of crops comes from arithmetic. On the machine that ran the first seeds a step with stored outputs costs 1.11
of a baseline's, and the teacher's forward pass on a batch of 8 costs 1.03, so N crops of 689 images leave
(1200 - 89 N) / 1.11 steps: 1,002, 922, 762 and 442 for N = 1, 2, 4 and 8, against 551 with the teacher in every step.
With two, an image has four views, mirror images counted, each of them seen 2.7 times in 922 steps of 8; four cost the
same as two whose outputs are averaged with those of their mirror images.

Seeds 20 to 44 ran before the averaged weights of short runs forgot their random first weights (`newest_share`), which
took up to 30 points from rows whose budget is few steps: what they said of the shorter budget is withdrawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from road_kd_seg import metrics
from road_kd_training.config import AugmentConfig, DataConfig, InputConfig
from road_kd_training.experiments.base import Experiment, Method, Metric, Protocol, Row
from road_kd_training.experiments.budget import halved, longer
from road_kd_training.experiments.five_methods import (
    CWD_LOGITS,
    EQUAL_SHARE,
    methods_of_the_papers,
    rows_of_the_papers,
)
from road_kd_training.experiments.metrics import of_all, of_class, of_classes
from road_kd_training.experiments.scales import TEST_SEED

STORED_CROPS = 2
CLASS_WEIGHTS = (1.0, 1.0, 3.0, 6.0, 10.0)
MILDER_CLASS_WEIGHTS = (1.0, 1.0, 2.0, 3.0, 4.0)
"""Those of the shipped road_student_rgb."""
BY_HAND = ("background", "road", "negative_obstacle", "positive_obstacle")
OTHER_CAMERA, SCENES = "stereo_pothole", "synthetic scenes"
STUDENT: Mapping[str, Any] = {"network": "roadlite", "options": {"size": "s", "depth_channels": 0}}
DEEP = (("encoder5", "encoder5"),)
EVERY = (("encoder3", "encoder3"), ("encoder5", "encoder5"), ("decoder2", "decoder2"))

KD = Method("dense_kd", {"temperature": 2.0, "class_weights": CLASS_WEIGHTS})
PAPERS = methods_of_the_papers(DEEP, EVERY, feature_teacher=1)
BASELINE = Row("baseline", "Student: RoadLite s", "baseline", **STUDENT)


def _distilled(key: str, label: str, *methods: Method, **full: Any) -> Row:
    return Row(key, label, "distilled", methods=methods, teachers=("teacher",), full=full, **STUDENT)


def _roads(split: str) -> DataConfig:
    return DataConfig("real_roads", {"split": split, "weak_lanes": True})


SETTINGS: Mapping[str, Any] = {
    "input": InputConfig(160, 256),
    "augment": AugmentConfig(max_scale=2.0),
    "steps": 1200,
    "batch_size": 8,
    "learning_rate": 3e-3,
    "weight_decay": 0.01,
    "schedule": "cosine",
    "warmup_steps": 100,
    "class_weights": list(CLASS_WEIGHTS),
    "max_grad_norm": 5.0,
    "ema_decay": 0.995,
    "mixed_precision": "auto",
    "num_workers": 1,
    "validate_every": 100_000,
}

REDUCED = Protocol(
    train=(_roads("train"),),
    validation=(_roads("validation"),),
    tests={"real_roads, validation": _roads("validation")},
    summary="1,200 steps (600 for the teacher) of 8 on 689 images at 160x256, AdamW; scored on the 155 validation"
    " images with the averaged weights of the last step: nothing is chosen by them",
    settings=SETTINGS,
    teacher_settings={"steps": 600, "encoder_learning_rate_factor": 0.167},
    pretrained=True,
    seeds=(50, 51, 52, 53, 54),
    deviations=(
        "lane markings of these images are weak labels: read that column as agreement with a detector, not as accuracy",
    ),
)

REAL_ROADS = Experiment(
    id="overview/real_roads",
    title="Real roads: teacher from ImageNet weights, student from random ones, both color alone",
    dataset="",
    metrics=(
        Metric("mIoU by hand", of_classes(BY_HAND, metrics.iou)),
        Metric("mIoU with weak lanes", of_all(metrics.mean_iou)),
        Metric("road IoU", of_class("road", metrics.iou)),
        Metric("lane_marking IoU (weak labels)", of_class("lane_marking", metrics.iou)),
        Metric("negative_obstacle IoU", of_class("negative_obstacle", metrics.iou)),
        Metric("positive_obstacle IoU", of_class("positive_obstacle", metrics.iou)),
        Metric(
            "zero-shot: negative_obstacle IoU, another camera",
            of_class("negative_obstacle", metrics.iou, test=OTHER_CAMERA),
        ),
        Metric("zero-shot: mIoU, synthetic scenes", of_all(metrics.mean_iou, test=SCENES)),
    ),
    primary="kd_cwd",
    rows=(
        Row("teacher", "Teacher: EfficientNet-Lite0", "teacher", network="lite0_fpn", pretrained=True),
        BASELINE,
        halved(BASELINE, "tells what of a loss is that of the steps that a teacher in every step costs"),
        replace(longer(BASELINE, 2), max_seeds=None),
        replace(
            longer(BASELINE, 2),
            key="baseline_x2_mild",
            label="Student: RoadLite s, 2 times the steps, milder class weights",
            max_seeds=None,
            full={"class_weights": list(MILDER_CLASS_WEIGHTS)},
            note="tells how much of a gain is that of weighing classes otherwise",
        ),
        _distilled("kd_cwd", "+ KD + CWD (primary)", KD, CWD_LOGITS),
        _distilled(
            "kd_cwd_stored",
            "+ KD + CWD, teacher outputs stored",
            KD,
            CWD_LOGITS,
            stored_crops=STORED_CROPS,
        ),
        replace(
            _distilled(
                "kd_cwd_long",
                "+ KD + CWD, teacher outputs stored, twice the budget",
                KD,
                CWD_LOGITS,
                stored_crops=2 * STORED_CROPS,
            ),
            schedule=2.0,
            baseline="baseline_x2",
        ),
        _distilled("kd", "+ KD on all pixels", KD),
        _distilled("mixup", "+ KD + CWD, half of the steps on mixtures", KD, CWD_LOGITS, mixup=0.5),
        Row(
            "teacher2",
            "Second teacher, SSLKD's: RoadLite m",
            "teacher",
            network="roadlite",
            options={"size": "m", "depth_channels": 0},
            schedule=2.0,
        ),
        *rows_of_the_papers(PAPERS, **STUDENT),
        *rows_of_the_papers(PAPERS, share=EQUAL_SHARE, **STUDENT),
        Row("teacher_random", "The teacher from random weights", "teacher", network="lite0_fpn"),
    ),
    full=replace(
        REDUCED,
        settings={**SETTINGS, "steps": 4800},
        teacher_settings={**REDUCED.teacher_settings, "steps": 1200},
        summary=REDUCED.summary.replace("1,200", "4,800").replace("600", "1,200"),
    ),
    reduced=REDUCED,
    real_frames=False,
    zero_shot={
        OTHER_CAMERA: DataConfig("stereo_pothole", {"split": "all"}),
        SCENES: DataConfig("synthetic", {"num_scenes": 60, "first_seed": TEST_SEED}),
    },
    notes=(
        "the primary row, named before its seeds ran, is KD + CWD against the baseline, at equal compute (--budget"
        " cpu)",
        "two more were named with it: kd_cwd_stored against the baseline, where the one-time forward passes of the"
        f" teacher on {STORED_CROPS} crops of each image are part of the budget, and kd_cwd_long against the baseline"
        " with twice the steps",
        "teacher_random is trained as long as the teacher: what its pretrained weights are worth",
    ),
)

EXPERIMENTS = (REAL_ROADS,)
