# SPDX-License-Identifier: Apache-2.0
"""CWD (Shu et al., ICCV 2021): the tables of its supplement, Pascal VOC and ADE20K, in the setting of Table 5."""

from __future__ import annotations

import dataclasses
from typing import Literal

from road_kd_seg import metrics
from road_kd_training.config import DataConfig, InputConfig
from road_kd_training.experiments.base import Experiment, Metric, Protocol, Row
from road_kd_training.experiments.cwd import FULL, MIOU, TABLE_5
from road_kd_training.experiments.metrics import of_all

STUDENTS = ("PSPNet-R18*", "Deeplab-R18*")
"""Headings of Table 5 whose students are run here."""


def _rows() -> tuple[Row, ...]:
    kept = [row for row in TABLE_5.rows if row.role != "cited" and row.group in ("Teacher", *STUDENTS)]
    return tuple(dataclasses.replace(row, paper={}) for row in kept)


def _protocol(dataset: Literal["voc", "ade20k"], split: str, name: str) -> Protocol:
    validation = DataConfig(dataset, {"split": "validation"})
    return dataclasses.replace(
        FULL,
        train=(DataConfig(dataset, {"split": split}),),
        validation=(validation,),
        tests={f"{name} val": validation},
        summary=FULL.summary.replace("Cityscapes", name),
        settings={**FULL.settings, "input": InputConfig(512, 512)},
        deviations=(
            *FULL.deviations,
            "images of all shapes are resized to 512x512 before they are scaled and cropped, and in the test",
            "temperature and weight are the 3 that the paper sets in all experiments; its published configuration for"
            " ADE20K has 1 and 10, on the score map",
        ),
    )


def _experiment(id_: str, name: str, protocol: Protocol) -> Experiment:
    return Experiment(
        id=id_,
        title=f"CWD, supplement: {name}",
        dataset=f"{name}, val",
        metrics=(MIOU, Metric("mAcc", of_all(metrics.mean_recall))),
        rows=_rows(),
        full=protocol,
        notes=(
            "the supplement is not part of the published paper: its results are not shown, and which students it has"
            " is not known; these are two of Table 5",
            "the paper lists mIoU and mean class accuracy (mAcc) on this dataset",
        ),
    )


EXPERIMENTS = (
    _experiment("cwd/voc", "Pascal VOC", _protocol("voc", "train_aug", "Pascal VOC")),
    _experiment("cwd/ade20k", "ADE20K", _protocol("ade20k", "train", "ADE20K")),
)
