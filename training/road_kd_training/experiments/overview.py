"""One method of each paper on one student: no paper's table, but the five side by side under one schedule."""

from __future__ import annotations

from road_kd_seg import metrics
from road_kd_training.experiments.base import Experiment, Metric, Row
from road_kd_training.experiments.five_methods import methods_of_the_papers, rows_of_the_papers
from road_kd_training.experiments.metrics import of_all, of_class

TEACHER, SECOND_TEACHER, STUDENT = "mfnet", "pspnet_r18", "mfnet_rgb"
DEEP = (("encoder5", "encoder5"),)
EVERY = (("encoder3", "encoder3"), ("encoder5", "encoder5"), ("decoder2", "decoder2"))
PAPERS = methods_of_the_papers(DEEP, EVERY)


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
    ),
    full=None,
    real_frames=False,
    notes=("SSLKD learns from the labeled scenes like all others, not from unlabeled ones, so that data are equal",),
)

EXPERIMENTS = (METHODS,)
