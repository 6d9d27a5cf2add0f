"""Distillation on real roads: an ImageNet teacher, a student from random weights, baselines of equal compute.

The primary comparison, written down before its seeds run: row `kd_cwd` against `baseline_equal`, whose steps cost what
the distilled steps and the teacher's forward passes cost together, on mIoU of the validation images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from road_kd_seg import metrics
from road_kd_training.config import AugmentConfig, DataConfig, InputConfig
from road_kd_training.distillers.common.taps import LOGITS_TO_LOGITS
from road_kd_training.experiments.base import Experiment, Method, Metric, Protocol, Row
from road_kd_training.experiments.metrics import of_all, of_class

STEPS = 1200
EQUAL_COMPUTE = 2.0
"""Steps of a baseline for one distilled step: the teacher's forward pass costs as much as a step of the student."""
CLASS_WEIGHTS = (1.0, 1.0, 3.0, 6.0, 10.0)

KD = Method("dense_kd", {"temperature": 2.0, "class_weights": CLASS_WEIGHTS})
CWD = Method("cwd", {"taps": LOGITS_TO_LOGITS, "temperature": 4.0}, {"channel_kl": 3.0})


def _student(key: str, label: str, *methods: Method, **full: Any) -> Row:
    return Row(
        key,
        label,
        "distilled" if methods else "baseline",
        network="roadlite",
        options={"size": "s", "depth_channels": 0},
        methods=methods,
        teachers=("teacher",) if methods else (),
        baseline="baseline_equal" if methods else "",
        full=full,
    )


def _roads(split: str) -> DataConfig:
    return DataConfig("real_roads", {"split": split, "weak_lanes": True})


SETTINGS: Mapping[str, Any] = {
    "input": InputConfig(160, 256),
    "augment": AugmentConfig(max_scale=2.0),
    "steps": STEPS,
    "batch_size": 8,
    "learning_rate": 3e-3,
    "weight_decay": 0.01,
    "schedule": "cosine",
    "warmup_steps": 100,
    "class_weights": list(CLASS_WEIGHTS),
    "max_grad_norm": 5.0,
    "ema_decay": 0.995,
    "num_workers": 1,
    "validate_every": 100_000,
}

REAL_ROADS = Experiment(
    id="overview/real_roads",
    title="Real roads: teacher from ImageNet weights, student from random ones, both color alone",
    dataset="",
    metrics=(
        Metric("mIoU", of_all(metrics.mean_iou)),
        Metric("road IoU", of_class("road", metrics.iou)),
        Metric("lane_marking IoU (weak labels)", of_class("lane_marking", metrics.iou)),
        Metric("negative_obstacle IoU", of_class("negative_obstacle", metrics.iou)),
        Metric("positive_obstacle IoU", of_class("positive_obstacle", metrics.iou)),
    ),
    rows=(
        Row("teacher", "Teacher: EfficientNet-Lite0", "teacher", network="lite0_fpn", pretrained=True),
        Row("teacher_random", "The same from random weights", "teacher", network="lite0_fpn"),
        _student("baseline", "Student: RoadLite s"),
        _student("baseline_equal", "+ steps of equal compute", steps=round(STEPS * EQUAL_COMPUTE)),
        _student("kd", "+ KD on all pixels", KD),
        _student("cwd", "+ CWD", CWD),
        _student("kd_cwd", "+ KD + CWD (primary)", KD, CWD),
        _student("mixup", "+ KD + CWD, half of the steps on mixtures", KD, CWD, mixup=0.5),
    ),
    full=Protocol(
        train=(_roads("train"),),
        validation=(_roads("validation"),),
        tests={"real_roads, validation": _roads("validation")},
        summary=f"{STEPS} steps (600 for teachers) of 8 on 689 images at 160x256, AdamW; scored on the 155 validation"
        " images with the averaged weights of the last step: nothing is chosen by them",
        settings=SETTINGS,
        teacher_settings={"steps": 600, "encoder_learning_rate_factor": 0.167},
        pretrained=True,
        seeds=(20, 21, 22, 23, 24),
        deviations=("lane markings of these images are weak labels: read that column as agreement with a detector",),
    ),
    real_frames=False,
    notes=(
        "the primary row is KD + CWD against the baseline of equal compute",
        "teacher_random is trained as long as the teacher: what its pretrained weights are worth",
    ),
)

EXPERIMENTS = (REAL_ROADS,)
