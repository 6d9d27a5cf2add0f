# SPDX-License-Identifier: Apache-2.0
"""CPKD (Feng et al., ITSC 2023): how NO-4K was labeled (Section IV), and whom wrong labels mislead (Section V-C)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from road_kd_seg import metrics
from road_kd_training.config import AugmentConfig, DataConfig
from road_kd_training.experiments.base import WET_ROAD, Experiment, Method, Metric, Reported, Row
from road_kd_training.experiments.budget import halved
from road_kd_training.experiments.cpkd import FULL, MEANS, OBSTACLE, REAL, STUDENT_S_REPORTED
from road_kd_training.experiments.few_labels import REDUCED as FEW
from road_kd_training.experiments.metrics import false_positives, of_all, of_class
from road_kd_training.experiments.scales import TEST_SEED, TRAIN_SEED, synthetic_scenes

_WET_NETWORK: Mapping[str, Any] = {"network": "roadlite", "options": {"size": "s", "depth_channels": 0}}
"""Of teacher and students: what differs is then whom they learn from, and a CPU can train it. Without depth, which
contradicts a wet patch that is labeled as a pothole, there is something to unlearn."""


_WET_REDUCED = dataclasses.replace(
    FEW,
    train=(synthetic_scenes(400, TRAIN_SEED, wrong_wet=1.0),),
    unlabeled=(),
    tests={
        "synthetic scenes": synthetic_scenes(100, TEST_SEED),
        WET_ROAD: synthetic_scenes(100, TEST_SEED, only_wet=True),
    },
    summary="900 steps of 8 on 400 synthetic scenes at 128x256, AdamW; tested on 100 other scenes with the averaged"
    " weights of the last step",
    deviations=("no ImageNet weights",),
)


def _wet_student(key: str, label: str, *, cross_entropy: float, note: str = "") -> Row:
    taps = tuple((tap, tap) for tap in ("encoder3", "encoder5", "decoder2"))
    return Row(
        key,
        label,
        "distilled",
        methods=(Method("cpkd", {"taps": taps}),),
        teachers=("teacher",),
        cross_entropy=cross_entropy,
        baseline="student_s",
        note=note,
        **_WET_NETWORK,
    )


_STUDENT_S = Row("student_s", "Student-s", "baseline", **_WET_NETWORK)

WET = Experiment(
    id="cpkd/wet",
    title="CPKD, Section V-C: does the student escape the teacher's wrong labels of wet areas?",
    dataset="",
    metrics=(
        Metric("false positives on wet road", false_positives(OBSTACLE, WET_ROAD), lower_is_better=True),
        Metric("Obstacle IoU", of_class(OBSTACLE, metrics.iou)),
        Metric("mIoU of all classes", of_all(metrics.mean_iou)),
    ),
    rows=(
        Row("teacher", "Teacher", "teacher", **_WET_NETWORK),
        _STUDENT_S,
        halved(_STUDENT_S, "tells whether few false positives are more than obstacles that were not learned yet"),
        _wet_student("student_c", "Student-c", cross_entropy=0.0),
        _wet_student(
            "student_c_labels",
            "Student-c, labels too",
            cross_entropy=1.0,
            note="not in the paper: tells whether it is the distillation or the missing labels that helps",
        ),
    ),
    primary="student_c",
    full=None,
    reduced=_WET_REDUCED,
    wrong_wet=1.0,
    real_frames=False,
    notes=(
        "the primary row, named before its seeds ran, is student-c against student-s, at equal compute (--budget cpu),"
        " on false positives on wet road",
        "wet patches of all training scenes are labeled negative_obstacle; validation and test labels are true",
        "teacher and students are the same network here, RoadLite s without depth, so that they differ by what they"
        " learn from alone, and nothing in the image contradicts the wrong labels",
        "the paper conjectures that student-c, who sees the teacher's classes and no labels, is misled less than the"
        " teacher and student-s",
    ),
)


def _no4k(split: str) -> DataConfig:
    """With the classes that Pothole-600 is given, too."""
    return DataConfig("no4k", {"split": split})


def _student(key: str, label: str, role: Any, paper: Reported, **fields: Any) -> Row:
    return Row(key, label, role, paper, "mafnet_r18", {"input_scale": 0.5}, depth=True, pretrained=True, **fields)


_LABELING_SETTINGS = {
    **FULL.settings,
    "augment": AugmentConfig(max_scale=1.0, flip=0.5, brightness=0, contrast=0, saturation=0, hue=0),
}

LABELING = Experiment(
    id="cpkd/labeling",
    title="CPKD, Section IV: a network that few labels and Pothole-600 have taught labels the rest",
    dataset="NO-4K, test",
    metrics=(*MEANS, REAL),
    rows=(
        Row("labeler", "MAFNet, few labels + Pothole-600", "teacher", {}, "mafnet_r34", depth=True, pretrained=True),
        _student("few", "Student, few labels + Pothole-600", "baseline", {}),
        _student(
            "generated",
            "Student, generated labels",
            "distilled",
            {name: STUDENT_S_REPORTED[name] for name in ("mIoU", "mPre", "mF1")},
            labels_from="labeler",
            note="Table I's student-s, who learned from the labels that were published",
        ),
        _student(
            "generated_sure",
            "Student, generated labels above 0.8",
            "distilled",
            {},
            labels_from="labeler",
            min_confidence=0.8,
            note="not in the paper, which keeps every pixel",
        ),
    ),
    full=dataclasses.replace(
        FULL,
        train=(_no4k("validation"), DataConfig("pothole600", {"split": "all"})),
        unlabeled=(_no4k("train"),),
        validation=(_no4k("test"),),
        tests={"NO-4K test": _no4k("test")},
        summary="labels by hand of 245 frames and all of Pothole-600 teach MAFNet, which labels the 3,000 frames of"
        f" train; 576x1024, SGD, {FULL.settings['steps']:,} steps in batches of {FULL.settings['batch_size']}",
        settings=_LABELING_SETTINGS,
        deviations=(
            *FULL.deviations[:1],
            'weights are picked on the test split, as the paper does: "the network with the best performance on the'
            ' testing set"',
            "all networks know the five default classes, of which these labels hold two",
            "depth of Pothole-600 is rebuilt from transformed disparity on a nominal plane",
        ),
    ),
    labeled_share=0.1,
    notes=(
        "below the labeler's folder, labels_0 and labels_0.8 hold labels, confidence and contact sheets: a person"
        " should look at them before anything else learns from them",
        "on synthetic scales a tenth of the scenes is labeled, and the real frames of stereo_pothole, where they are"
        " there, stand for Pothole-600",
    ),
)

EXPERIMENTS = (WET, LABELING)
