# SPDX-License-Identifier: Apache-2.0
"""New cameras: does it matter for roads that nobody trained on in which order a student learns from its teacher?

GKD (CVPR 2026) finds that for unseen domains features should be distilled first, without labels, and the task be
learned on a frozen encoder afterwards; one-stage distillation can fall below none. Here the foundation is a teacher
that sees depth. The primary comparison, written down before its seeds ran: row `two_stage` against `one_stage` under
`--budget cpu`, on the classes of real_roads that were labeled by hand; no row has seen an image of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from road_kd_seg import metrics
from road_kd_training.config import DataConfig
from road_kd_training.experiments.base import Experiment, Method, Metric, Row
from road_kd_training.experiments.few_labels import REDUCED as FEW
from road_kd_training.experiments.five_methods import CWD_LOGITS
from road_kd_training.experiments.metrics import of_all, of_class, of_classes
from road_kd_training.experiments.real_roads import BY_HAND
from road_kd_training.experiments.scales import TRAIN_SEED

LABELED, SCENES = 400, 1600
ROADS, POTHOLES = "real_roads", "stereo_pothole"
STUDENT: Mapping[str, Any] = {"network": "roadlite", "options": {"size": "s", "depth_channels": 0}}
CLASS_WEIGHTS = (1.0, 1.0, 3.0, 5.0, 15.0)
ENCODER = ["stages"]

FEATURES = Method("cwd", {"taps": (("encoder3", "encoder3"), ("encoder4", "encoder4"), ("encoder5", "encoder5"))})
KD = Method("dense_kd", {"temperature": 2.0, "class_weights": CLASS_WEIGHTS})


def _distilled(key: str, label: str, *methods: Method, **fields: Any) -> Row:
    return Row(key, label, "distilled", methods=methods, teachers=("teacher",), unlabeled=True, **fields, **STUDENT)


def _head(key: str, label: str, *, freeze: list[str], **fields: Any) -> Row:
    """The second stage: half of the budget, on labels, from what the first has taught."""
    return Row(
        key, label, "distilled", schedule=0.5, starts_from="features", full={"freeze": freeze}, **fields, **STUDENT
    )


REDUCED = replace(
    FEW,
    train=(DataConfig("synthetic", {"num_scenes": LABELED, "first_seed": TRAIN_SEED}),),
    unlabeled=(DataConfig("synthetic", {"num_scenes": SCENES - LABELED, "first_seed": TRAIN_SEED + LABELED}),),
    summary=f"900 steps of 8 on {LABELED} labeled scenes, of 4 and 4 with {SCENES - LABELED} unlabeled ones, at"
    " 128x256, AdamW; scored on 100 other scenes and, zero-shot, on real roads",
)

NEW_CAMERA = Experiment(
    id="overview/new_camera",
    title="Roads and cameras that nobody trained on: distilled at once, or features first, then the head",
    dataset="",
    metrics=(
        Metric("zero-shot: mIoU by hand, real roads", of_classes(BY_HAND, metrics.iou, test=ROADS)),
        Metric("zero-shot: road IoU, real roads", of_class("road", metrics.iou, test=ROADS)),
        Metric("zero-shot: negative_obstacle IoU, real roads", of_class("negative_obstacle", metrics.iou, test=ROADS)),
        Metric(
            "zero-shot: negative_obstacle IoU, stereo_pothole",
            of_class("negative_obstacle", metrics.iou, test=POTHOLES),
        ),
        Metric("mIoU, scenes as in training", of_all(metrics.mean_iou)),
    ),
    primary="two_stage",
    rows=(
        Row("teacher", "Teacher: RoadLite s, RGB-D", "teacher", network="roadlite", options={"size": "s"}, depth=True),
        Row("baseline", "Student: RoadLite s, RGB, labels alone", "baseline", **STUDENT),
        _distilled("one_stage", "Distilled at once: labels, features, KD + CWD", FEATURES, KD, CWD_LOGITS),
        _distilled(
            "features",
            "First stage: features alone",
            FEATURES,
            cross_entropy=0.0,
            schedule=0.5,
            note="no labels: its head knows nothing yet, and its results mean nothing",
        ),
        _head("two_stage", "Features, freeze, then the head (primary)", freeze=ENCODER, baseline="one_stage"),
        _head("two_stage_free", "Features, then everything on labels", freeze=[]),
    ),
    full=None,
    reduced=REDUCED,
    labeled_share=LABELED / SCENES,
    real_frames=False,
    zero_shot={
        ROADS: DataConfig("real_roads", {"split": "validation", "weak_lanes": True}),
        POTHOLES: DataConfig("stereo_pothole", {"split": "all"}),
    },
    notes=(
        "the primary row, named before its seeds ran, is features first, then the head on a frozen encoder; its gain is"
        " over distillation at once, at equal compute (--budget cpu); both stages together cost what one stage costs",
        "without the folders real_roads and stereo_pothole there is nothing to score zero-shot",
    ),
)

EXPERIMENTS = (NEW_CAMERA,)
