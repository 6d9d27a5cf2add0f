# SPDX-License-Identifier: Apache-2.0
"""CWD (Shu et al., ICCV 2021): Table 6, object detection on COCO."""

from __future__ import annotations

from road_kd_training.config import MIRRORED_ONLY, DataConfig, InputConfig
from road_kd_training.experiments.base import Experiment, Method, Metric, Protocol, Reported, Row
from road_kd_training.experiments.metrics import box_metric, frames_per_second, parameters_m

EPOCH = 7330
"""Steps of 16 for the 117,266 images of COCO that have boxes."""

FULL = Protocol(
    train=(DataConfig("coco", {"split": "train"}),),
    validation=(DataConfig("coco", {"split": "validation"}),),
    tests={"COCO val2017": DataConfig("coco", {"split": "validation"})},
    summary=f"COCO 2017, images of 800 by at most 1333, SGD, 24 epochs of {EPOCH:,} steps of 16 (teachers: 12)",
    settings={
        "input": InputConfig(800, 1333),
        "augment": MIRRORED_ONLY,
        "steps": 24 * EPOCH,
        "batch_size": 16,
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "weight_decay": 1e-4,
        "schedule": "step",
        "milestones": [16 * EPOCH, 22 * EPOCH],
        "warmup_steps": 500,
        "mixed_precision": "no",
        "validate_every": EPOCH,
    },
    teacher_settings={"steps": 12 * EPOCH, "milestones": [8 * EPOCH, 11 * EPOCH]},
    pretrained=True,
    deviations=(
        "the paper takes teachers and settings from Zhang and Ma (ICLR 2021) and prints neither: the schedule is"
        " mmdetection's of 24 epochs, whose baselines reach the printed ones, and each teacher is the student's own"
        " detector on ResNeXt-101 64x4d, trained here for 12 epochs",
        "temperature 1 and weight 5 on the four finest levels are those of the one configuration that was published,"
        " for RetinaNet; Faster R-CNN takes the same",
        "detectors are torchvision's, where the paper used mmdetection's: the numbers of parameters differ a little",
        "weights are those of the last step",
    ),
)

METRICS = (
    *(
        Metric(printed, box_metric(name), decimals=1)
        for printed, name in (("AP", "AP"), ("AP50", "AP50"), ("AP75", "AP75"), ("AP_S", "APS"), ("AP_M", "APM"),
                              ("AP_L", "APL"))
    ),
    Metric("FPS", frames_per_second, decimals=1),
    Metric("Params (M)", parameters_m, lower_is_better=True),
)  # fmt: skip


def _reported(*values: float) -> Reported:
    """In the order of the columns."""
    return dict(zip((metric.name for metric in METRICS), values, strict=True))


def _family(
    key: str, label: str, group: str, network: str, cost: tuple[float, float], finest: int, rate: float,
    reported: dict[str, tuple[float, ...]],
) -> tuple[Row, ...]:  # fmt: skip
    """Teacher, baseline, the rows of other works, and ours; without a network all are cited."""
    levels = tuple((f"p{level}", f"p{level}") for level in range(finest, finest + 4))
    method = Method("cwd", {"taps": levels, "temperature": 1.0}, {"channel_kl": 5.0})
    full = {"learning_rate": rate}
    plain, *others, ours = reported
    rows = [
        Row(key, f"{label}, R50", "baseline" if network else "cited", _reported(*reported[plain], *cost),
            network and f"{network}_r50", pretrained=True, group=group, full=full)
    ]  # fmt: skip
    rows += [
        Row(f"{key}_{other.split()[0].lower()}", f"+{other}", "cited", _reported(*reported[other], *cost), baseline=key,
            group=group)
        for other in others
    ]  # fmt: skip
    if not network:
        return (*rows, Row(f"{key}_ours", "+Our Method", "cited", _reported(*reported[ours], *cost), baseline=key,
                           group=group, note="not run: torchvision has no RepPoints"))  # fmt: skip
    teacher = Row(f"{key}_teacher", f"Teacher: {label}, X101", "teacher", {}, f"{network}_x101", pretrained=True,
                  group=group, full=full, note="the table does not print its teachers")  # fmt: skip
    distilled = Row(f"{key}_ours", "+Our Method", "distilled", _reported(*reported[ours], *cost), f"{network}_r50",
                    pretrained=True, methods=(method,), teachers=(teacher.key,), baseline=key, group=group,
                    full=full)  # fmt: skip
    return (teacher, *rows, distilled)


TABLE_6 = Experiment(
    id="cwd/table6",
    title="CWD, Table 6: object detection",
    dataset="COCO 2017, val",
    task="detection",
    metrics=METRICS,
    rows=(
        *_family("faster_rcnn", "Faster RCNN", "Two-stage anchor based", "faster_rcnn", (18.1, 43.57), 2, 0.02, {
            "plain": (38.4, 59.0, 42.0, 21.5, 42.1, 50.3),
            "Chen et al.": (38.7, 59.0, 42.1, 22.0, 41.9, 51.0),
            "Wang et al.": (39.1, 59.8, 42.8, 22.2, 42.9, 51.1),
            "Heo et al.": (38.9, 60.1, 42.6, 21.8, 42.7, 50.7),
            "Zhang et al.": (41.5, 62.2, 45.1, 23.5, 45.0, 55.3),
            "ours": (41.7, 62.0, 45.5, 23.3, 45.5, 55.5),
        }),
        *_family("retinanet", "RetinaNet", "One-stage anchor based", "retinanet", (20.0, 36.19), 3, 0.01, {
            "plain": (37.4, 56.7, 39.6, 20.0, 40.7, 49.7),
            "Heo et al.": (37.8, 58.3, 41.1, 21.6, 41.2, 48.3),
            "Zhang et al.": (39.6, 58.8, 42.1, 22.7, 43.3, 52.5),
            "ours": (40.8, 60.4, 43.4, 22.7, 44.5, 55.3),
        }),
        *_family("reppoints", "RepPoints", "Anchor free", "", (18.2, 36.62), 3, 0.01, {
            "plain": (38.6, 59.6, 41.6, 22.5, 42.2, 50.4),
            "Zhang et al.": (40.6, 61.7, 43.8, 23.4, 44.6, 53.0),
            "ours": (42.0, 63.0, 45.3, 24.1, 46.1, 55.0),
        }),
    ),
    full=FULL,
    real_frames=False,
    speed=True,
    notes=(
        "the printed frames per second are of a GPU that the paper does not name",
        "AP needs faster-coco-eval: pip install 'road_kd_training[detection]'",
    ),
)  # fmt: skip

EXPERIMENTS = (TABLE_6,)
