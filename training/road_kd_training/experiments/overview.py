"""One method of each paper on one student: no paper's table, but the five side by side under one schedule."""

from __future__ import annotations

from road_kd_seg import metrics
from road_kd_training.distillers.common.taps import LOGITS_TO_LOGITS
from road_kd_training.experiments.base import Experiment, Method, Metric, Row
from road_kd_training.experiments.metrics import of_all, of_class

TEACHER, SECOND_TEACHER, STUDENT = "mfnet", "pspnet_r18", "mfnet_rgb"
DEEP = (("encoder5", "encoder5"),)
EVERY = (("encoder3", "encoder3"), ("encoder5", "encoder5"), ("decoder2", "decoder2"))


def _distilled(
    key: str, label: str, method: Method, *, teachers: tuple[str, ...] = ("teacher",), cross_entropy: float = 1.0
) -> Row:
    return Row(
        key,
        label,
        "distilled",
        network=STUDENT,
        methods=(method,),
        teachers=teachers,
        cross_entropy=cross_entropy,
    )


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
        _distilled("cpkd", "+ CPKD", Method("cpkd", {"taps": EVERY}), cross_entropy=0.0),
        _distilled("sslkd", "+ SSLKD", Method("sslkd", {"taps": DEEP}), teachers=("teacher", "teacher2")),
        _distilled("intra_kd", "+ IntRA-KD", Method("intra_kd", {"taps": DEEP})),
        _distilled("cwd", "+ CWD", Method("cwd", {"taps": LOGITS_TO_LOGITS})),
        _distilled("lix", "+ LIX", Method("lix", {"taps": EVERY[:2]})),
    ),
    full=None,
    real_frames=False,
    notes=("SSLKD learns from the labeled scenes like all others, not from unlabeled ones, so that data are equal",),
)

KD = Method("dense_kd", {"temperature": 2.0})
CWD_LOGITS = Method("cwd", {"taps": LOGITS_TO_LOGITS, "temperature": 4.0}, {"channel_kl": 3.0})


def _of_few(key: str, label: str, *methods: Method) -> Row:
    return Row(
        key,
        label,
        "distilled" if methods else "baseline",
        network="roadlite",
        options={"size": "s", "depth_channels": 0},
        methods=methods,
        teachers=("teacher",) if methods else (),
        unlabeled=bool(methods),
    )


FEW_LABELS = Experiment(
    id="overview/few_labels",
    title="One label in fifty: a teacher that sees depth, students that see color and the unlabeled rest",
    dataset="",
    metrics=METHODS.metrics,
    rows=(
        Row("teacher", "Teacher: RoadLite s, RGB-D", "teacher", network="roadlite", options={"size": "s"}, depth=True),
        _of_few("baseline", "Student: RoadLite s, RGB, labeled scenes alone"),
        _of_few("kd", "+ KD on all pixels", KD),
        _of_few("cwd", "+ CWD", CWD_LOGITS),
        _of_few("kd_cwd", "+ KD + CWD (primary)", KD, CWD_LOGITS),
    ),
    full=None,
    labeled_share=0.02,
    real_frames=False,
    notes=(
        "the primary row is KD + CWD; teacher and students have the same labels",
        "distilled rows see as many unlabeled images as labeled ones in each step, so a step costs about three times"
        " the baseline's: read the gain as one at equal steps",
    ),
)

EXPERIMENTS = (METHODS, FEW_LABELS)
