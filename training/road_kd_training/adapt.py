# SPDX-License-Identifier: Apache-2.0
"""Adapting a model to a team's own road: pseudo-labels of a drive that nobody labeled, and what a student gained there.

K classes, H W image size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg import metrics
from road_kd_seg.frame import IGNORE_INDEX, RgbdFrame
from road_kd_seg.metrics.bootstrap import block_bootstrap
from road_kd_seg.segmenter import Segmenter
from road_kd_training.config import (
    AugmentConfig,
    DataConfig,
    DistillerConfig,
    InputConfig,
    NetworkConfig,
    TeacherConfig,
    TrainConfig,
)
from road_kd_training.datasets import RgbdDataset, RgbdSample
from road_kd_training.datasets.common.label_folder import write_legend
from road_kd_training.datasets.frames import write_frame
from road_kd_training.errors import TrainingError
from road_kd_training.pseudo_label import predict

AGREEMENT_PX = 9
"""How far a class may have moved between neighboring frames, in pixels of the camera's image."""


@dataclass(frozen=True)
class Gain:
    """What a student gained on frames that it did not learn from; mIoU over the classes that are labeled."""

    before: float
    after: float
    low: float
    """Of the 95 % interval of after - before; NaN with too few frames."""
    high: float

    @property
    def worse(self) -> bool:
        """Whether the student lost."""
        return self.after <= self.before


def evenly(count: int, most: int) -> list[int]:
    """At most `most` of the numbers 0 … count - 1, evenly spread."""
    return sorted({int(i) for i in np.linspace(0, count - 1, min(count, most)).round()}) if count else []


def agreeing(
    label: NDArray[np.uint8], neighbor: NDArray[np.uint8], num_classes: int, radius_px: int = AGREEMENT_PX
) -> NDArray[np.bool_]:
    """Where a pixel's class also stands, at most `radius_px` away, in the neighboring frame's label: (H, W).

    Args:
        label: class ids (H, W).
        neighbor: the same of the frame before or after.
        num_classes: K.
        radius_px: half the side of the square that is searched.
    """
    side = 2 * radius_px + 1
    kept = np.zeros(label.shape, bool)
    for class_id in range(num_classes):
        near = cv2.dilate((neighbor == class_id).astype(np.uint8), np.ones((side, side), np.uint8))
        kept |= (label == class_id) & (near > 0)
    return kept


def write_drive(
    teacher: Segmenter,
    drive: RgbdDataset,
    out: Path,
    *,
    most: int,
    min_confidence: float,
    keep_labels: bool,
    on_frame: Callable[[], None] | None = None,
) -> int:
    """Write frames of a drive and their labels as a dataset `frames`; a folder that is complete stays.

    A pixel keeps the teacher's class where that is at least `min_confidence` probable and agrees with the next frame's.

    Args:
        teacher: makes the labels.
        drive: frames in order of time.
        out: the folder.
        most: so many frames at most, evenly spread.
        min_confidence: 0 to 1.
        keep_labels: frames that have a label keep it; otherwise nobody looks at it.
        on_frame: called after each frame.

    Returns:
        How many of the frames have a label of their own.
    """
    done, own = out / "complete", 0
    if done.is_file():
        return int(done.read_text(encoding="utf-8"))
    write_legend(out / "label", teacher.taxonomy)
    for index in evenly(len(drive), most):
        sample = drive[index]
        if keep_labels and sample.label is not None:
            label, own = sample.label, own + 1
        else:
            label = _pseudo_label(teacher, drive, index, sample, min_confidence)
        (out / "label" / f"{sample.id}.png").unlink(missing_ok=True)  # of a run that was interrupted
        write_frame(out, sample, label)
        if on_frame is not None:
            on_frame()
    done.write_text(str(own), encoding="utf-8")
    return own


def _pseudo_label(
    teacher: Segmenter, drive: RgbdDataset, index: int, sample: RgbdSample, min_confidence: float
) -> NDArray[np.uint8]:
    label, confidence = predict(teacher, RgbdFrame(sample.rgb, sample.depth_m), flip=False)
    other = drive[index + 1 if index + 1 < len(drive) else index - 1]
    neighbor = teacher(RgbdFrame(other.rgb, other.depth_m)).label
    kept = (confidence >= min_confidence) & agreeing(label, neighbor, len(teacher.taxonomy))
    return np.where(kept, label, np.uint8(IGNORE_INDEX))


def adaptation_recipe(
    student: Segmenter,
    teacher: str,
    frames: Path,
    held_back: Path,
    run: Path,
    *,
    steps: int,
    rehearsal: DataConfig | None,
    seed: int,
) -> TrainConfig:
    """A short distillation from the student's present weights on a drive's pseudo-labels.

    Args:
        student: whose weights it starts from.
        teacher: bundle of the teacher.
        frames: dataset of `write_drive` to learn from.
        held_back: another, scored once, at the end.
        run: the run's folder.
        steps: optimizer steps.
        rehearsal: labeled scenes for a third of each batch, so that what the student knew is not lost; None: none.
        seed: of the run.
    """
    bundle, spec = student.bundle, student.bundle.input
    if spec.crop != (0.0, 0.0, 1.0, 1.0):
        raise TrainingError(f"adapt: model '{bundle.name}' sees a crop of the image only, which training cannot repeat")
    depth = spec.depth
    frame = InputConfig(*spec.size, "none")
    if depth is not None:
        frame = InputConfig(*spec.size, depth.kind, depth.low, depth.high, depth.focal)
    logits = {"taps": [["logits", "logits"]], "temperature": 4.0}
    train = [DataConfig("frames", {"root": str(frames)}, 1.0 if rehearsal is None else 2 / 3)]
    return TrainConfig(
        name=f"{bundle.name}_adapted",
        network=NetworkConfig(bundle.network, dict(bundle.network_kwargs)),
        train=train if rehearsal is None else [*train, rehearsal],
        validation=[DataConfig("frames", {"root": str(held_back)})],
        output=str(run),
        init_from=str(bundle.path),
        teachers=[TeacherConfig(bundle=teacher)],
        distillers=[DistillerConfig("dense_kd"), DistillerConfig("cwd", logits)],
        input=frame,
        augment=AugmentConfig(max_scale=1.5),
        steps=steps,
        batch_size=6,
        learning_rate=5e-4,
        schedule="cosine",
        warmup_steps=min(20, steps // 4),
        ema_decay=0.98,
        mixed_precision="no",
        num_workers=1,
        validate_every=steps,  # once, so that nothing is chosen by what the report scores
        seed=seed,
    )


def measure_gain(before: Segmenter, after: Segmenter, frames: RgbdDataset) -> Gain:
    """Both models on the same labeled frames, in order of time."""
    num_classes = len(before.taxonomy)
    counts = np.stack([_counts((before, after), frames[index], num_classes) for index in range(len(frames))])
    intervals = block_bootstrap(counts, _miou_and_gain)
    value = intervals.value
    return Gain(float(value[0]), float(value[1]), float(intervals.low[2]), float(intervals.high[2]))


def _counts(models: Sequence[Segmenter], sample: RgbdSample, num_classes: int) -> NDArray[np.int64]:
    """(2, K, K)."""
    if sample.label is None:
        return np.zeros((len(models), num_classes, num_classes), np.int64)
    frame = RgbdFrame(sample.rgb, sample.depth_m)
    return np.stack([metrics.confusion_matrix(sample.label, m(frame).label, num_classes) for m in models])


def _miou_and_gain(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., 2, K, K) → mIoU before, after, and their difference, (..., 3); over the classes in the labels."""
    correct = np.diagonal(sums, axis1=-2, axis2=-1)
    labeled = sums.sum(-1)
    union = labeled + sums.sum(-2) - correct
    iou = np.where(union > 0, correct / np.maximum(union, 1), 0)
    present = labeled > 0
    with np.errstate(invalid="ignore"):
        miou = np.where(present, iou, 0).sum(-1) / present.sum(-1)
    before, after = miou[..., 0], miou[..., 1]
    return np.stack([before, after, after - before], -1)
