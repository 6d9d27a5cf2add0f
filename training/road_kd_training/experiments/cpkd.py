# SPDX-License-Identifier: Apache-2.0
"""CPKD (Feng et al., ITSC 2023): Tables I to III."""

from __future__ import annotations

from road_kd_seg import metrics
from road_kd_training.config import AugmentConfig, DataConfig, InputConfig
from road_kd_training.distillers.cpkd import VARIANTS
from road_kd_training.experiments.base import REAL_FRAMES, Experiment, Method, Metric, Protocol, Reported, Row
from road_kd_training.experiments.metrics import forward_ms, of_both, of_class

OBSTACLE = "negative_obstacle"
EPOCHS, TRAIN_FRAMES, BATCH = 200, 3000, 2

MEANS = (
    Metric("mIoU", of_both(OBSTACLE, metrics.mean_iou)),
    Metric("mPre", of_both(OBSTACLE, metrics.mean_precision)),
    Metric("mF1", of_both(OBSTACLE, metrics.mean_f1)),
)
REAL = Metric("IoU, real frames", of_class(OBSTACLE, metrics.iou, test=REAL_FRAMES))
_BOTH_CLASSES = (
    Metric("Background Pre", of_class(OBSTACLE, metrics.precision, rest=True)),
    Metric("Background F1", of_class(OBSTACLE, metrics.f1, rest=True)),
    Metric("Background IoU", of_class(OBSTACLE, metrics.iou, rest=True)),
    Metric("Obstacle Pre", of_class(OBSTACLE, metrics.precision)),
    Metric("Obstacle F1", of_class(OBSTACLE, metrics.f1)),
    Metric("Obstacle IoU", of_class(OBSTACLE, metrics.iou)),
)


def _no4k(split: str) -> DataConfig:
    return DataConfig("no4k", {"split": split, "two_classes": True})


FULL = Protocol(
    train=(_no4k("train"),),
    validation=(_no4k("validation"),),
    tests={"NO-4K test": _no4k("test")},
    summary=f"NO-4K at 576x1024, SGD, {EPOCHS} epochs of {TRAIN_FRAMES} frames in batches of {BATCH}",
    settings={
        "input": InputConfig(576, 1024),
        "augment": AugmentConfig(max_scale=1.0, flip=0, brightness=0, contrast=0, saturation=0, hue=0),
        "steps": EPOCHS * TRAIN_FRAMES // BATCH,
        "batch_size": BATCH,
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "weight_decay": 5e-4,
        "schedule": "exponential",
        "gamma": 0.95**EPOCHS,
        "validate_every": 5 * TRAIN_FRAMES // BATCH,
        "patience": 10,
    },
    depth={"depth": "jet_depth", "depth_low": 0.0, "depth_high": 10.0},
    pretrained=True,
    deviations=(
        "images are normalized as the backbones' ImageNet weights expect; the authors' code divides by 255",
        "weights are picked on the validation split; the authors' code scores every epoch on the test split",
        "a run ends after 50 epochs without a better validation",
        "ImageNet weights start all backbones; the paper does not say",
    ),
)

_TEACHER_REPORTED: Reported = {
    "Background Pre": 99.44, "Background F1": 99.17, "Background IoU": 98.35, "Obstacle Pre": 82.36,
    "Obstacle F1": 86.12, "Obstacle IoU": 75.62, "mPre": 90.90, "mF1": 92.64, "mIoU": 86.98, "ms": 119.95,
}  # fmt: skip
STUDENT_S_REPORTED: Reported = {
    "Background Pre": 99.34, "Background F1": 99.03, "Background IoU": 98.08, "Obstacle Pre": 79.80,
    "Obstacle F1": 83.91, "Obstacle IoU": 72.28, "mPre": 89.57, "mF1": 91.47, "mIoU": 85.18, "ms": 18.43,
}  # fmt: skip


def _teacher(paper: Reported) -> Row:
    return Row("teacher", "Teacher", "teacher", paper, "mafnet_r152", depth=True, pretrained=True)


def _supervised(key: str, label: str, paper: Reported, *, scale: float = 0.5) -> Row:
    options = {"input_scale": scale}
    return Row(key, label, "baseline", paper, "mafnet_r18", options, depth=True, pretrained=True)


def _distilled(
    key: str,
    label: str,
    paper: Reported,
    *,
    variant: str = "E",
    position: float = 0.5,
    channel: float = 0.5,
    note: str = "",
) -> Row:
    taps = tuple((tap, tap) for tap in VARIANTS[variant])
    weights = {"position": position, "channel": channel, "teacher_label_ce": 1.0}
    return Row(
        key,
        label,
        "distilled",
        paper,
        "mafnet_r18",
        {"input_scale": 0.5},
        depth=True,
        pretrained=True,
        methods=(Method("cpkd", {"taps": taps}, weights),),
        teachers=("teacher",),
        cross_entropy=0.0,
        baseline="student_s",
        note=note,
    )


def _means(pre: float, f1: float, iou: float) -> Reported:
    return {"mPre": pre, "mF1": f1, "mIoU": iou}


_FROM_TABLE_1 = (
    _teacher(_means(90.90, 92.64, 86.98)),
    _supervised("student_s", "Student-s", _means(89.57, 91.47, 85.18)),
)
_SHOWN = "teacher and student-s are in Table I; they are here because a gain needs them"

TABLE_1 = Experiment(
    id="cpkd/table1",
    title="CPKD, Table I: teacher and student",
    dataset="NO-4K, test",
    metrics=(*MEANS, *_BOTH_CLASSES, REAL, Metric("ms", forward_ms, lower_is_better=True)),
    rows=(
        _teacher(_TEACHER_REPORTED),
        _supervised("student_u", "Student-u", {
            "Background Pre": 99.39, "Background F1": 99.04, "Background IoU": 98.09, "Obstacle Pre": 79.49,
            "Obstacle F1": 84.16, "Obstacle IoU": 72.66, "mPre": 89.44, "mF1": 91.60, "mIoU": 85.37, "ms": 24.00,
        }, scale=1.0),
        _supervised("student_s", "Student-s", STUDENT_S_REPORTED),
        _distilled("student_c", "Student-c", {
            "Background Pre": 99.31, "Background F1": 99.23, "Background IoU": 98.48, "Obstacle Pre": 85.54,
            "Obstacle F1": 86.76, "Obstacle IoU": 76.61, "mPre": 92.43, "mF1": 92.99, "mIoU": 87.54, "ms": 18.52,
        }),
    ),
    full=FULL,
    speed=True,
    notes=(
        "the paper's ms are of one pair of 576x1024 images on an RTX 3090 (an RTX 3060: 295.59, 57.33, 19.66, 19.57)",
        "student-u has no down- and upsampling, student-s no teacher; gains are over student-s",
    ),
)  # fmt: skip

TABLE_2 = Experiment(
    id="cpkd/table2",
    title="CPKD, Table II: which stages are distilled",
    dataset="NO-4K, test",
    metrics=(*MEANS, REAL),
    rows=(
        *_FROM_TABLE_1,
        *(
            _distilled(key, f"{key}: {', '.join(VARIANTS[key])}", _means(*reported), variant=key)
            for key, reported in {
                "A": (89.97, 91.94, 85.89),
                "B": (90.80, 92.28, 86.42),
                "C": (91.01, 92.56, 86.86),
                "D": (91.16, 92.66, 87.02),
                "E": (92.43, 92.99, 87.54),
                "F": (90.87, 92.58, 86.88),
                "G": (91.39, 92.62, 86.95),
                "H": (91.20, 92.64, 86.98),
                "I": (91.23, 92.63, 86.97),
            }.items()
        ),
    ),
    full=FULL,
    notes=(_SHOWN,),
)

TABLE_3 = Experiment(
    id="cpkd/table3",
    title="CPKD, Table III: position-wise and channel-wise maps",
    dataset="NO-4K, test",
    metrics=(*MEANS, REAL),
    rows=(
        *_FROM_TABLE_1,
        _distilled("position", "Position", _means(90.42, 92.25, 86.37), channel=0.0),
        _distilled("channel", "Channel", _means(91.94, 92.89, 87.38), position=0.0),
        _distilled("both", "Position & Channel", _means(92.43, 92.99, 87.54)),
    ),
    full=FULL,
    notes=(_SHOWN,),
)

EXPERIMENTS = (TABLE_1, TABLE_2, TABLE_3)
