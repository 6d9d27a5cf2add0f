# SPDX-License-Identifier: Apache-2.0
"""Labels that a network makes for frames that nobody labeled, to train on (CPKD's NO-4K was made so). K classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.errors import FrameError
from road_kd_seg.frame import IGNORE_INDEX, RgbdFrame
from road_kd_seg.segmenter import Segmenter
from road_kd_seg.taxonomy import Taxonomy
from road_kd_training.datasets import RgbdDataset, RgbdSample
from road_kd_training.datasets.common.label_folder import image_path, write_label, write_legend
from road_kd_training.datasets.common.output import write_png
from road_kd_training.datasets.frames import write_camera, write_frame
from road_kd_training.errors import DatasetError


@dataclass(frozen=True)
class PseudoFrame:
    """What became of one frame."""

    index: int
    """In the dataset."""
    id: str
    confidence: float
    """Mean probability of the winning class over the pixels that the network saw."""
    shares: NDArray[np.float64]
    """(K,) share of the frame's pixels by class; what is missing to 1 is ignored."""
    predicted: NDArray[np.float64]
    """(K,) the same before unsure pixels were ignored."""

    @property
    def ignored(self) -> float:
        """Share of the frame's pixels that are ignored."""
        return max(0.0, 1.0 - float(self.shares.sum()))


@dataclass(frozen=True)
class PseudoLabels:
    """What was written."""

    frames: list[PseudoFrame]
    """The frames that were labeled, in the dataset's order."""
    labeled_already: int
    """Frames that have a label of their own and were left out."""
    skipped: dict[str, str]
    """Frames that cannot be segmented: why, by ID."""

    def kept(self) -> NDArray[np.float64]:
        """(K,) share of each class's pixels above the confidence threshold; NaN for classes that were never predicted.

        Where it is far from equal, what is trained on has other proportions than what the network saw.
        """
        shares, predicted = (
            np.sum([getattr(f, name) for f in self.frames], axis=0) for name in ("shares", "predicted")
        )
        with np.errstate(invalid="ignore"):
            kept: NDArray[np.float64] = shares / predicted
        return kept

    def to_dict(self, taxonomy: Taxonomy) -> dict[str, Any]:
        """Plain data, rounded to four digits."""

        def by_class(shares: NDArray[np.float64]) -> dict[str, float]:
            return {name: round(float(share), 4) for name, share in zip(taxonomy.names, shares, strict=True)}

        return {
            "frames": {
                "pseudo_labeled": len(self.frames),
                "labeled_already": self.labeled_already,
                "skipped": len(self.skipped),
            },
            "mean_confidence": round(float(np.mean([frame.confidence for frame in self.frames])), 4),
            "ignored": round(float(np.mean([frame.ignored for frame in self.frames])), 4),
            "class_shares": by_class(np.mean([frame.shares for frame in self.frames], axis=0)),
            "class_kept": {
                name: None if np.isnan(share) else round(float(share), 4)
                for name, share in zip(taxonomy.names, self.kept(), strict=True)
            },
            "per_frame": [
                {
                    "id": frame.id,
                    "confidence": round(frame.confidence, 4),
                    "ignored": round(frame.ignored, 4),
                    "class_shares": by_class(frame.shares),
                }
                for frame in self.frames
            ],
            "skipped": self.skipped,
        }


def write_pseudo_labels(
    segmenter: Segmenter,
    dataset: RgbdDataset,
    out: Path,
    *,
    min_confidence: float = 0.0,
    flip: bool = False,
    with_frames: bool = False,
    on_frame: Callable[[], None] | None = None,
) -> PseudoLabels:
    """Label every frame of a dataset that has no label.

    Writes OUT/label/ID.png (255 where ignored) with its legend and OUT/confidence/ID.png (probability x 255), which the
    datasets `bag` and `frames` take as `labels=OUT/label`, and `replay_eval --labels` as well.

    Args:
        segmenter: the network.
        dataset: frames; those with a label are left out.
        out: an empty folder.
        min_confidence: pixels whose winning class is less probable are ignored, and so are those outside the
            network's crop.
        flip: average the probabilities with those of the mirror image.
        with_frames: also write color and depth, so that OUT is a dataset `frames` by itself.
        on_frame: called after each frame, whatever became of it.

    Raises:
        DatasetError: no frame was left to label, or the folder cannot be written.
    """
    frames: list[PseudoFrame] = []
    skipped: dict[str, str] = {}
    for index in range(len(dataset)):
        outcome = _segment(segmenter, dataset, index, flip)
        if isinstance(outcome, FrameError):
            skipped[f"frame {index}"] = str(outcome)
        elif outcome is not None:
            sample, label, confidence = outcome
            if not frames:
                write_legend(out / "label", segmenter.taxonomy)
            if with_frames:
                _write_images(out, sample, with_camera=not frames)
            frames.append(ignore_unsure(index, sample.id, label, confidence, min_confidence, len(segmenter.taxonomy)))
            write_png(image_path(out / "confidence", sample.id), np.rint(confidence * 255).astype(np.uint8))
            write_label(out / "label", sample.id, label)
        if on_frame is not None:
            on_frame()
    result = PseudoLabels(frames, len(dataset) - len(frames) - len(skipped), skipped)
    if not frames:
        why = f"; the first of these: {next(iter(skipped.values()))}" if skipped else ""
        raise DatasetError(
            f"no frame to label: {result.labeled_already} of {len(dataset)} have a label already,"
            f" {len(skipped)} cannot be segmented{why}"
        )
    return result


def least_sure(frames: Sequence[PseudoFrame], most: int) -> list[PseudoFrame]:
    """The frames with the lowest mean confidence, lowest first."""
    return sorted(frames, key=lambda frame: frame.confidence)[:most]


def predict(segmenter: Segmenter, frame: RgbdFrame, *, flip: bool) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Winning class and its probability, (H, W) each; the probability is 0 outside the network's crop.

    Raises:
        FrameError: the model requires depth and the frame has none.
        DatasetError: `flip`, and the network's crop is not the same in the mirror.
    """
    spec = segmenter.bundle.input
    if not flip:
        segmentation = segmenter(frame)
        label, confidence = segmentation.label, segmentation.confidence
    else:
        if abs(spec.crop[1] + spec.crop[3] - 1) > 1e-6:
            raise DatasetError(
                f"--flip: model '{segmenter.bundle.name}' sees columns {spec.crop[1]:g} to {spec.crop[3]:g} of the"
                " image, which is not the same part in a mirror image: leave --flip out"
            )
        probabilities = segmenter.probabilities(frame) + segmenter.probabilities(_mirrored(frame))[..., ::-1]
        label, confidence = probabilities.argmax(0).astype(np.uint8), probabilities.max(0) / 2
    top, left, bottom, right = spec.crop_box(*frame.size)
    looked_at = np.zeros(frame.size, bool)
    looked_at[top:bottom, left:right] = True
    return label, np.where(looked_at, confidence, 0).astype(np.float32)


def _segment(
    segmenter: Segmenter, dataset: RgbdDataset, index: int, flip: bool
) -> tuple[RgbdSample, NDArray[np.uint8], NDArray[np.float32]] | FrameError | None:
    """Sample, label and confidence; None if it has a label already; or why it cannot be segmented."""
    try:
        sample = dataset[index]
        if sample.label is not None:
            return None
        return sample, *predict(segmenter, RgbdFrame(sample.rgb, sample.depth_m), flip=flip)
    except FrameError as error:
        return error


def _write_images(out: Path, sample: RgbdSample, *, with_camera: bool) -> None:
    write_frame(out, sample, None)
    if with_camera and "intrinsics" in sample.meta:
        write_camera(out, sample.meta["intrinsics"])


def _mirrored(frame: RgbdFrame) -> RgbdFrame:
    depth_m = None if frame.depth_m is None else np.ascontiguousarray(frame.depth_m[:, ::-1])
    return RgbdFrame(np.ascontiguousarray(frame.rgb[:, ::-1]), depth_m)


def ignore_unsure(
    index: int,
    id_: str,
    label: NDArray[np.uint8],
    confidence: NDArray[np.float32],
    min_confidence: float,
    num_classes: int,
) -> PseudoFrame:
    """Set the pixels of `label` below the confidence threshold to IGNORE_INDEX, and count the others."""
    looked_at = confidence > 0
    mean_confidence = float(confidence[looked_at].mean()) if looked_at.any() else 0.0
    predicted = np.bincount(label[looked_at], minlength=num_classes) / label.size
    label[~looked_at | (confidence < min_confidence)] = IGNORE_INDEX
    shares = np.bincount(label.reshape(-1), minlength=256)[:num_classes] / label.size
    return PseudoFrame(index, id_, mean_confidence, shares, predicted)
