# SPDX-License-Identifier: Apache-2.0
"""Run a model over a bag without ROS, and score any run against the ground truth."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields

import numpy as np

from road_kd_seg.bags.reader import BagReader
from road_kd_seg.bundle import Bundle
from road_kd_seg.errors import BagError, FrameError, RoadKdError
from road_kd_seg.frame import RgbdFrame, Segmentation, StageTimes
from road_kd_seg.metrics import confusion_matrix
from road_kd_seg.metrics.boundary import boundary_counts
from road_kd_seg.metrics.calibration import NUM_BINS, confidence_counts
from road_kd_seg.replay.labels import Label, LabelStore
from road_kd_seg.replay.prefetch import Afterwork, prefetch
from road_kd_seg.replay.results import DROP_REASONS, FrameScore, ReplayCounts, ReplayRun, Scores
from road_kd_seg.segmenter import Segmenter

CONFIDENCE_EVERY = 8
"""Of every eighth labeled frame confidences are counted: they cost more than labels, and neighbors are alike."""


def check_depth(reader: BagReader, bundle: Bundle) -> None:
    """Refuse a bag without depth for a model that needs it, before anything is started.

    Raises:
        BagError: no depth image, or none that belongs to a color image; or no color image either.
    """
    if bundle.input.depth is None or reader.index.num_with_depth:
        return
    depth = reader.names.depth
    what = (
        f"none of the {reader.message_counts[depth]} images on {depth} has the stamp of a color image"
        if reader.has_depth
        else f"no depth images on {depth}"
    )
    raise BagError(
        f"bag {reader.path}: {what}, and model '{bundle.name}' requires depth: record the aligned depth"
        " (RealSense: align_depth.enable:=true enable_sync:=true), name its topic with --depth-topic,"
        " or use an RGB-only model"
    )


def segment_bag(
    reader: BagReader,
    segmenters: Sequence[Segmenter],
    ground_truth: LabelStore | None = None,
    on_frame: Callable[[], None] | None = None,
) -> list[ReplayRun]:
    """Segment every frame of a bag by one model or several in turn; nothing is superseded.

    Each frame is read once and goes through all models before the next one, so that whatever slows the machine down
    hits all alike. The next frame is read, and labels are kept, while a model runs.

    Args:
        reader: an open bag.
        segmenters: each is warmed up with its first frame's size.
        ground_truth: labels by stamp, to compare confidences with.
        on_frame: called after each frame, whatever became of it.

    Returns:
        One run for each segmenter.

    Raises:
        BagError: the bag cannot be read, or has no depth for a model that requires it.
    """
    for segmenter in segmenters:
        check_depth(reader, segmenter.bundle)
    recordings = [_Recording(segmenter) for segmenter in segmenters]
    known = LabelStore() if ground_truth is None else ground_truth
    with Afterwork() as afterwork:
        for frame, read_ms in prefetch(_read_frames(reader)):
            for recording in recordings:
                if isinstance(frame, FrameError):
                    recording.drop_invalid(frame)
                else:
                    recording.segment(frame, read_ms, known, afterwork)
            if on_frame is not None:
                on_frame()
    return [recording.finish(reader) for recording in recordings]


def _read_frames(reader: BagReader) -> Iterator[tuple[RgbdFrame | FrameError, float]]:
    """Frames, or why they cannot be decoded, and the milliseconds that each took to read and decode."""
    invalid: list[FrameError] = []
    since = time.perf_counter()
    for frame, _ in reader.frames(on_invalid=invalid.append):
        yield from ((error, 0.0) for error in invalid)
        invalid.clear()
        yield frame, (time.perf_counter() - since) * 1e3
        since = time.perf_counter()
    yield from ((error, 0.0) for error in invalid)


class _Recording:
    """What one model makes of the frames it is shown."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self._labels = LabelStore()
        self._latency_ms: dict[int, float] = {}
        self._read_ms: list[float] = []
        self._times: list[StageTimes] = []
        self._dropped = dict.fromkeys(DROP_REASONS, 0)
        self._first_problem = ""
        self._confidence = np.zeros((len(segmenter.taxonomy), NUM_BINS, 2), np.int64)
        self._confidence_labeled = np.zeros(len(segmenter.taxonomy), np.int64)
        self._num_known = 0
        self._begun = time.perf_counter()

    def drop_invalid(self, error: FrameError) -> None:
        self._dropped["invalid"] += 1
        self._first_problem = self._first_problem or str(error)

    def segment(self, frame: RgbdFrame, read_ms: float, known: LabelStore, afterwork: Afterwork) -> None:
        segmenter = self._segmenter
        if segmenter.needs_depth and frame.depth_m is None:
            self._dropped["unsynchronized"] += 1
            return
        try:
            if not self._latency_ms:
                segmenter.warm_up(*frame.size, repeats=1)
            start = time.perf_counter()
            segmentation = segmenter(frame)
            self._latency_ms[frame.stamp_ns] = (time.perf_counter() - start) * 1e3
        except FrameError as error:
            self.drop_invalid(error)
            return
        self._read_ms.append(read_ms)
        if segmentation.times is not None:
            self._times.append(segmentation.times)
        afterwork.call(lambda: self._keep(segmentation, known))

    def _keep(self, segmentation: Segmentation, known: LabelStore) -> None:
        self._labels.put(segmentation.stamp_ns, segmentation.label)
        if segmentation.stamp_ns not in known:
            return
        self._num_known += 1
        if self._num_known % CONFIDENCE_EVERY != 1:
            return
        label, count = known.get(segmentation.stamp_ns), len(self._segmenter.taxonomy)
        if label.shape == segmentation.label.shape:
            self._confidence_labeled += np.bincount(label[label < count], minlength=count)
            self._confidence += confidence_counts(
                label, segmentation.label, segmentation.confidence, len(self._segmenter.taxonomy)
            )

    def finish(self, reader: BagReader) -> ReplayRun:
        sent = len(reader.index)
        return ReplayRun(
            mode="offline",
            stamps_ns=tuple(reader.index.stamps_ns.tolist()),
            labels=self._labels,
            latency_ms=self._latency_ms,
            latency_definition="one call of the segmenter: preprocessing, network and upsampling, after a warm-up",
            stages_ms={"read and decode": self._read_ms, **stages_of(self._times)},
            counts=ReplayCounts(sent, sent, sent - sum(self._dropped.values()), self._dropped),
            device=self._segmenter.device_name,
            wall_s=time.perf_counter() - self._begun,
            notes=(
                *self._segmenter.notes,
                *((f"first invalid frame: {self._first_problem}",) if self._first_problem else ()),
            ),
            confidence=self._confidence if self._confidence.any() else None,
            confidence_labeled=self._confidence_labeled,
        )


def stages_of(times: Sequence[StageTimes]) -> dict[str, list[float]]:
    """By stage: the milliseconds of each frame."""
    return {stage.name.removesuffix("_ms"): [getattr(t, stage.name) for t in times] for stage in fields(StageTimes)}


def score(ground_truth: Iterable[tuple[int, Label]], predictions: LabelStore, num_classes: int) -> Scores:
    """Compare predictions with the ground truth of the same stamp.

    Args:
        ground_truth: header stamp (ns) and (H, W) class ids, IGNORE_INDEX where unknown.
        predictions: a run's labels; those without ground truth are ignored.
        num_classes: K.

    Raises:
        RoadKdError: sizes differ, or an id that is no class; the message names the frame.
    """
    frames: list[FrameScore] = []
    num_labeled = 0
    for stamp_ns, label in ground_truth:
        num_labeled += 1
        if stamp_ns not in predictions:
            continue
        prediction = predictions.get(stamp_ns)
        try:
            counts = confusion_matrix(label, prediction, num_classes)
        except RoadKdError as error:
            raise RoadKdError(f"label of {stamp_ns / 1e9:.3f} s: {error}") from error
        frames.append(FrameScore(stamp_ns, counts, boundary_counts(label, prediction, num_classes)))
    return Scores(num_classes, tuple(frames), num_labeled)
