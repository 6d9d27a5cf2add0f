# SPDX-License-Identifier: Apache-2.0
"""Few labels: a teacher that sees depth and eight labeled scenes, students that see color and 392 unlabeled ones.

CPKD's workflow for NO-4K and LIX's RGB-X teacher in one. Two comparisons under `--budget cpu`, on the mIoU of the test
scenes, written down before the protocol's seeds ran:

- primary: row `pseudo_cwd`, whose teacher runs at every step, against `baseline`, 900 steps;
- `pseudo_long` against `baseline_x2`, 1,800 steps: pseudo-labels alone, from a teacher with three times as many steps
  whose outputs are stored.

Seeds 20 to 34 ran before the averaged weights of short runs forgot their random first weights (`newest_share`), which
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
from road_kd_training.experiments.metrics import of_all, of_class
from road_kd_training.experiments.scales import TEST_SEED, TRAIN_SEED, VALIDATION_SEED, synthetic_scenes

LABELED, SCENES = 8, 400
CLASS_WEIGHTS = (1.0, 1.0, 3.0, 5.0, 15.0)
"""Chosen by the teacher: with milder ones it does not learn obstacles from eight scenes at all."""
OTHER_CAMERA = "stereo_pothole"
STUDENT: Mapping[str, Any] = {"network": "roadlite", "options": {"size": "s", "depth_channels": 0}}
DEEP = (("encoder5", "encoder5"),)
EVERY = (("encoder3", "encoder3"), ("encoder5", "encoder5"), ("decoder2", "decoder2"))

STORED_CROPS = 4
PSEUDO = Method("pseudo_labels", {"min_confidence": 0.8, "class_weights": CLASS_WEIGHTS})
KD = Method("dense_kd", {"temperature": 2.0, "class_weights": CLASS_WEIGHTS})
PAPERS = methods_of_the_papers(DEEP, EVERY, feature_teacher=1)
TEACHER = Row("teacher", "Teacher: RoadLite s, RGB-D", "teacher", network="roadlite", options={"size": "s"}, depth=True)
BASELINE = Row("baseline", "Student: RoadLite s, RGB, labeled scenes alone", "baseline", **STUDENT)


def _distilled(key: str, label: str, *methods: Method, teacher: str = "teacher", **full: Any) -> Row:
    return Row(key, label, "distilled", methods=methods, teachers=(teacher,), unlabeled=True, full=full, **STUDENT)


REDUCED = Protocol(
    train=(synthetic_scenes(LABELED, TRAIN_SEED),),
    unlabeled=(synthetic_scenes(SCENES - LABELED, TRAIN_SEED + LABELED),),
    validation=(synthetic_scenes(10, VALIDATION_SEED),),
    tests={"synthetic scenes": synthetic_scenes(100, TEST_SEED)},
    summary=f"900 steps of 8 on {LABELED} labeled scenes, of 4 and 4 with {SCENES - LABELED} unlabeled ones, at"
    " 128x256, AdamW; scored on 100 other scenes with the averaged weights of the last step",
    settings={
        "input": InputConfig(128, 256),
        "augment": AugmentConfig(max_scale=2.0),
        "steps": 900,
        "batch_size": 8,
        "learning_rate": 3e-3,
        "weight_decay": 0.01,
        "schedule": "cosine",
        "warmup_steps": 60,
        "class_weights": list(CLASS_WEIGHTS),
        "max_grad_norm": 5.0,
        "ema_decay": 0.995,
        "mixed_precision": "auto",
        "num_workers": 1,
        "validate_every": 100_000,
    },
    unlabeled_settings={"batch_size": 4, "unlabeled_batch_size": 4},
    depth={"depth": "plane_residual", "depth_high": 0.05},
    seeds=(50, 51, 52, 53, 54),
    deviations=("no ImageNet weights", "depth is encoded as the residual of the road plane"),
)

FEW_LABELS = Experiment(
    id="overview/few_labels",
    title="One label in fifty: a teacher that sees depth, students that see color and the unlabeled rest",
    dataset="",
    metrics=(
        Metric("mIoU", of_all(metrics.mean_iou)),
        Metric("road IoU", of_class("road", metrics.iou)),
        Metric("lane_marking IoU", of_class("lane_marking", metrics.iou)),
        Metric("negative_obstacle IoU", of_class("negative_obstacle", metrics.iou)),
        Metric("positive_obstacle IoU", of_class("positive_obstacle", metrics.iou)),
        Metric(
            "zero-shot: negative_obstacle IoU, real frames",
            of_class("negative_obstacle", metrics.iou, test=OTHER_CAMERA),
        ),
    ),
    primary="pseudo_cwd",
    rows=(
        TEACHER,
        BASELINE,
        halved(BASELINE, "tells what of a loss is that of the steps that a teacher in every step costs"),
        replace(longer(BASELINE, 2), max_seeds=None),
        _distilled("pseudo_cwd", "+ pseudo-labels + CWD (primary)", PSEUDO, CWD_LOGITS),
        _distilled("pseudo", "+ pseudo-labels", PSEUDO),
        _distilled("kd_cwd", "+ KD + CWD", KD, CWD_LOGITS),
        replace(TEACHER, key="teacher_long", label=f"{TEACHER.label}, 3 times the steps", schedule=3.0),
        replace(
            _distilled(
                "pseudo_long",
                "+ pseudo-labels, better teacher, its outputs stored, twice the budget",
                PSEUDO,
                teacher="teacher_long",
                stored_crops=STORED_CROPS,
            ),
            schedule=2.0,
            baseline="baseline_x2",
        ),
        Row("teacher2", "Second teacher, SSLKD's: RoadLite s, RGB", "teacher", **STUDENT),
        *rows_of_the_papers(PAPERS, share=EQUAL_SHARE, unlabeled=True, **STUDENT),
    ),
    full=None,
    reduced=REDUCED,
    labeled_share=LABELED / SCENES,
    real_frames=False,
    zero_shot={OTHER_CAMERA: DataConfig("stereo_pothole", {"split": "all"})},
    notes=(
        "the primary row, named before its seeds ran, is pseudo-labels + CWD against the baseline, at equal compute"
        " (--budget cpu); teachers and students have the same labels",
        "a second one was named with it: pseudo_long against the baseline with twice the steps; the one-time forward"
        f" passes of its teacher on {STORED_CROPS} crops of each image are part of its budget",
    ),
)

EXPERIMENTS = (FEW_LABELS,)
