# SPDX-License-Identifier: Apache-2.0
"""One method of each paper on one student: no paper's table, but the five side by side under one schedule."""

from __future__ import annotations

from dataclasses import replace

from road_kd_seg import metrics
from road_kd_training.distillers import DISTILLERS
from road_kd_training.distillers.common.taps import LOGITS_TO_LOGITS
from road_kd_training.experiments.base import Experiment, Method, Metric, Row
from road_kd_training.experiments.five_methods import methods_of_the_papers, rows_of_the_papers
from road_kd_training.experiments.metrics import of_all, of_class

TEACHER, SECOND_TEACHER, STUDENT = "mfnet", "pspnet_r18", "mfnet_rgb"
DEEP = (("encoder5", "encoder5"),)
EVERY = (("encoder3", "encoder3"), ("encoder5", "encoder5"), ("decoder2", "decoder2"))
PAPERS = {
    **methods_of_the_papers(DEEP, EVERY),
    "cwd": ("CWD", Method("cwd", {"taps": LOGITS_TO_LOGITS})),
    "lix": ("LIX", Method("lix", {"taps": EVERY[:2]})),
}
"""Each with its default options and weights."""
LIX_TENTH = {term: weight / 10 for term, weight in DISTILLERS["lix"].default_weights.items()}
WHY = "Why two of them harm"


def _why(key: str, label: str, method: Method) -> Row:
    return Row(key, label, "distilled", network=STUDENT, methods=(method,), teachers=("teacher",), group=WHY)


METHODS = Experiment(
    id="overview/methods",
    title="One method of each of the five papers: a student that sees color, teachers that also see depth",
    dataset="",
    metrics=(
        Metric("mIoU", of_all(metrics.mean_iou)),
        Metric("negative_obstacle IoU", of_class("negative_obstacle", metrics.iou)),
        Metric("positive_obstacle IoU", of_class("positive_obstacle", metrics.iou)),
        Metric("lane_marking IoU", of_class("lane_marking", metrics.iou)),
    ),
    rows=(
        Row("teacher", "Teacher: MFNet, RGB-X", "teacher", network=TEACHER, depth=True),
        Row("teacher2", "Second teacher (SSLKD): PSPNet-R18, RGB", "teacher", network=SECOND_TEACHER),
        Row("baseline", "Student: MFNet, RGB", "baseline", network=STUDENT),
        *rows_of_the_papers(PAPERS, network=STUDENT),
        _why("cpkd_labels", "+ CPKD, labels too", PAPERS["cpkd"][1]),
        _why("lix_tenth", "+ LIX, a tenth of its weights", replace(PAPERS["lix"][1], weights=LIX_TENTH)),
    ),
    full=None,
    real_frames=False,
    notes=("SSLKD learns from the labeled scenes like all others, not from unlabeled ones, so that data are equal",),
)

EXPERIMENTS = (METHODS,)
