# SPDX-License-Identifier: Apache-2.0
"""IntRA-KD (Hou et al., CVPR 2020): Tables 2 to 4 and Fig. 7."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from road_kd_seg import metrics
from road_kd_training.config import AugmentConfig, DataConfig, InputConfig
from road_kd_training.distillers.common.functional import TapPair
from road_kd_training.experiments.base import Experiment, Method, Metric, Protocol, Reported, Row
from road_kd_training.experiments.metrics import dataset_metric, forward_ms, of_all, of_class, parameters_m, share

MIDDLE: TapPair = ("block2", "encoder3")
HIGH: TapPair = ("block3", "encoder5")
"""ERFNet's tap and the ResNet-101's: its blocks 3 and 5."""

_BASELINE = "Baseline"
_LANES = of_class("lane_marking", metrics.iou)
MIOU = Metric("mIoU", of_all(metrics.mean_iou), decimals=1)
F1 = Metric("F1", dataset_metric("f1", 100, _LANES), decimals=1, stand_in="the IoU of lane_marking")
MAP = Metric("mAP", dataset_metric("map", 1, share(_LANES)), decimals=3, stand_in="the IoU of lane_marking")

_AUGMENT = AugmentConfig(max_scale=1.0, flip=0, brightness=0, contrast=0, saturation=0, hue=0)
"""The paper names no augmentation, and its authors' lists hold neither mirror images nor colors."""
_SGD: Mapping[str, Any] = {"optimizer": "sgd", "learning_rate": 0.01, "weight_decay": 1e-4}
_DEVIATIONS = (
    "no rotation in training; one scale in the test, not 4 scales and 4 crops",
    "the teacher is trained under the student's schedule, with half its learning rate in all layers (the authors' head"
    " has ten times as much)",
    "weights are picked on the validation split",
)


def _protocol(dataset: str, test: DataConfig, summary: str, settings: Mapping[str, Any], *more: str) -> Protocol:
    return Protocol(
        train=(DataConfig(dataset, {"split": "train"}),),
        validation=(DataConfig(dataset, {"split": "validation"}),),
        tests={f"{dataset} {test.options['split']}": test},
        summary=summary,
        settings={**_SGD, **settings, "validate_every": settings["steps"] // 20},
        teacher_settings={"learning_rate": 0.005},
        pretrained=True,
        deviations=(*_DEVIATIONS, *more),
    )


APOLLOSCAPE = _protocol(
    "apolloscape_lane",
    DataConfig("apolloscape_lane", {"split": "validation", "evaluated_only": True}),
    "ApolloScape lane marks below row 1700 at half size, windows of 496x1488, SGD, 180,000 steps of 8",
    {
        "input": InputConfig(504, 1696, crop=(1700 / 2710, 0.0, 1.0, 1.0)),
        "augment": dataclasses.replace(_AUGMENT, crop_height=496, crop_width=1488),
        "steps": 180_000,
        "batch_size": 8,
        "class_weights": [0.05, *[1.0] * 35],
    },
    "the test labels are with the benchmark's server: the validation split is reported, on which weights are also"
    " picked, and its 10,000 frames are other ones than the paper's",
)
_APOLLOSCAPE_BY_32 = {
    "input": InputConfig(512, 1696, crop=(1700 / 2710, 0.0, 1.0, 1.0)),
    "augment": dataclasses.replace(_AUGMENT, crop_height=512, crop_width=1504),
}
"""For UNet, whose sides must be multiples of 32."""
_LANE_WEIGHTS = [0.4, 1.0, 1.0, 1.0, 1.0]
CULANE = _protocol(
    "culane",
    DataConfig("culane", {"split": "test"}),
    "CULane below row 240 at 208x976, SGD, 80,000 steps of 12",
    {
        "input": InputConfig(208, 976, crop=(240 / 590, 0.0, 1.0, 1.0)),
        "augment": _AUGMENT,
        "steps": 80_000,
        "batch_size": 12,
        "class_weights": _LANE_WEIGHTS,
    },
    "networks have no head for the existence of lanes: the ones that are found in the score map exist",
)
LLAMAS = _protocol(
    "llamas",
    DataConfig("llamas", {"split": "test"}),
    "LLAMAS below row 333 at 288x960, SGD, 80,000 steps of 12",
    {
        "input": InputConfig(288, 960, crop=(333 / 717, 0.0, 1.0, 1.0)),
        "augment": _AUGMENT,
        "steps": 80_000,
        "batch_size": 12,
        "class_weights": _LANE_WEIGHTS,
    },
)


def _cited(key: str, label: str, group: str, paper: Reported) -> Row:
    return Row(key, label, "cited", paper, group=group, note="not run: another network")


def _unet(paper: Reported, full: Mapping[str, Any] | None = None) -> Row:
    return Row(
        "unet_r34", "UNet-ResNet-34", "baseline", paper, "unet_r34", pretrained=True, group=_BASELINE, full=full or {}
    )  # fmt: skip


def teacher_row(paper: Reported) -> Row:
    """The paper's ResNet-101 with its results of one table."""
    options = {"variant": "intra_kd"}
    return Row("teacher", "ResNet-101", "teacher", paper, "pspnet_r101", options, pretrained=True, group="Teacher")


def student_row(paper: Reported) -> Row:
    """ERFNet without distillation, likewise."""
    return Row("erfnet", "ERFNet", "baseline", paper, "erfnet", group="Student")


def erfnet_row(key: str, label: str, paper: Reported, method: Method, *, teacher: bool = True) -> Row:
    """ERFNet with one method, distilled from that teacher unless it teaches itself."""
    return Row(
        key,
        label,
        "distilled",
        paper,
        "erfnet",
        methods=(method,),
        teachers=("teacher",) if teacher else (),
        baseline="erfnet",
        group="Teacher-student distillation" if teacher else "Self distillation",
    )


def intra(
    taps: Sequence[TapPair] = (MIDDLE, HIGH),
    moments: tuple[int, ...] = (1, 2, 3),
    affinity: float = 0.1,
    attention: float = 0.1,
    kernel_size: int = 5,
) -> Method:
    """Eq. 5: α1 weighs the affinity, α2 the attention maps."""
    options = {"taps": tuple(taps), "moments": moments, "kernel_size": kernel_size}
    return Method("intra_kd", options, {"affinity": affinity, "attention": attention})


_METHODS: Mapping[str, tuple[str, Method, bool]] = {
    "dks": ("ERFNet-DKS", Method("dks"), False),
    "sad": ("ERFNet-SAD", Method("sad", start=0.5), False),
    "kd": ("ERFNet-KD", Method("kd"), True),
    "skd": ("ERFNet-SKD", Method("skd"), True),
    "psn": ("ERFNet-PS-N", Method("psn"), True),
    "irg": ("ERFNet-IRG", Method("irg"), True),
    "bifpn": ("ERFNet-BiFPN", Method("bifpn"), True),
    "intra_kd": ("ERFNet-IntRA-KD", intra(), True),
}


def _distilled(metric: str, values: Sequence[float | None], **common: float) -> tuple[Row, ...]:
    return tuple(
        erfnet_row(key, label, {metric: value, **common}, method, teacher=teacher)
        for (key, (label, method, teacher)), value in zip(_METHODS.items(), values, strict=True)
    )


TABLE_2 = Experiment(
    id="intra_kd/table2",
    title="IntRA-KD, Table 2: ApolloScape",
    dataset="ApolloScape lane marks, test",
    metrics=(MIOU,),
    rows=(
        _cited("wide_resnet38", "Wide ResNet-38", _BASELINE, {"mIoU": 42.2}),
        Row("enet", "ENet", "baseline", {"mIoU": 39.8}, "enet", group=_BASELINE),
        _cited("resnet50", "ResNet-50", _BASELINE, {"mIoU": 41.3}),
        _unet({"mIoU": 42.4}, _APOLLOSCAPE_BY_32),
        teacher_row({"mIoU": 46.6}),
        student_row({"mIoU": 40.4}),
        *_distilled("mIoU", (40.8, 40.9, 40.7, 40.9, 40.6, 41.0, 41.6, 43.2)),
    ),
    full=APOLLOSCAPE,
)

TABLE_3 = Experiment(
    id="intra_kd/table3",
    title="IntRA-KD, Table 3: CULane",
    dataset="CULane, test",
    metrics=(
        F1,
        Metric("Runtime (ms)", forward_ms, decimals=1, lower_is_better=True),
        Metric("# Param (M)", parameters_m, lower_is_better=True),
    ),
    rows=(
        _cited("scnn", "SCNN", _BASELINE, {"F1": 71.6, "Runtime (ms)": 133.5, "# Param (M)": 20.72}),
        _cited("resnet18_sad", "ResNet-18-SAD", _BASELINE, {"F1": 70.5, "Runtime (ms)": 25.3, "# Param (M)": 12.41}),
        _cited("resnet34_sad", "ResNet-34-SAD", _BASELINE, {"F1": 70.7, "Runtime (ms)": 50.5, "# Param (M)": 22.72}),
        teacher_row({"F1": 72.8, "Runtime (ms)": 171.2, "# Param (M)": 52.53}),
        student_row({"F1": 70.2, "Runtime (ms)": 10.2, "# Param (M)": 2.49}),
        *_distilled(
            "F1", (70.6, 71.0, 70.5, 70.7, None, 70.7, 71.4, 72.4), **{"Runtime (ms)": 10.2, "# Param (M)": 2.49}
        ),
    ),
    full=CULANE,
    speed=True,
    notes=(
        "the paper's runtimes are of a GTX TITAN X (Maxwell); its parameters of ERFNet match no published version",
        "PS-N's result was not available",
    ),
)

TABLE_4 = Experiment(
    id="intra_kd/table4",
    title="IntRA-KD, Table 4: LLAMAS",
    dataset="LLAMAS, test (half of the original validation set)",
    metrics=(MAP,),
    rows=(
        _cited("scnn", "SCNN", _BASELINE, {"mAP": 0.597}),
        _cited("resnet50", "ResNet-50", _BASELINE, {"mAP": 0.578}),
        _unet({"mAP": 0.592}),
        teacher_row({"mAP": 0.607}),
        student_row({"mAP": 0.570}),
        *_distilled("mAP", (0.573, 0.575, 0.572, 0.576, 0.575, 0.576, 0.583, 0.598)),
    ),
    full=LLAMAS,
)

_STUDENTS: Mapping[str, tuple[str, str, Mapping[str, Any], tuple[TapPair, ...]]] = {
    "enet": ("ENet", "enet", {}, (("encoder1", "encoder3"), ("encoder3", "encoder5"))),
    "erfnet": ("ERFNet", "erfnet", {}, (MIDDLE, HIGH)),
    "resnet18": ("ResNet-18", "pspnet_r18", {"auxiliary": False}, (("encoder3", "encoder3"), ("encoder5", "encoder5"))),
}
"""Fig. 7: label, network, options and taps."""


def _students() -> Iterator[Row]:
    for key, (label, network, options, taps) in _STUDENTS.items():
        yield Row(key, label, "baseline", {}, network, options, group=label)
        for method in (Method("bifpn", {"taps": taps}), intra(taps)):
            name = f"{label}-{'BiFPN' if method.name == 'bifpn' else 'IntRA-KD'}"
            yield Row(
                f"{key}_{method.name}", name, "distilled", {}, network, options,
                methods=(method,), teachers=("teacher",), baseline=key, group=label,
            )  # fmt: skip


FIG_7 = Experiment(
    id="intra_kd/fig7",
    title="IntRA-KD, Fig. 7: three students",
    dataset="ApolloScape lane marks, test",
    metrics=(MIOU,),
    rows=(teacher_row({"mIoU": 46.6}), *_students()),
    full=APOLLOSCAPE,
    notes=(
        "the figure's bars are not printed; it says that IntRA-KD brings every student more than BiFPN",
        "the paper does not say what is on top of its ResNet-18: a pyramid of pooled contexts here; nor where ENet and"
        " ResNet-18 are distilled: the ends of two encoder stages",
    ),
)


EXPERIMENTS = (TABLE_2, TABLE_3, TABLE_4, FIG_7)
