"""Run a model over a bag without ROS, and score any run against the ground truth."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from road_kd_seg.bags.reader import BagReader
from road_kd_seg.bundle import Bundle
from road_kd_seg.errors import BagError, FrameError, RoadKdError
from road_kd_seg.metrics import confusion_matrix
from road_kd_seg.metrics.boundary import boundary_counts
from road_kd_seg.replay.labels import Label, LabelStore
from road_kd_seg.replay.results import DROP_REASONS, FrameScore, ReplayCounts, ReplayRun, Scores
from road_kd_seg.segmenter import Segmenter


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


def segment_bag(reader: BagReader, segmenter: Segmenter, on_frame: Callable[[], None] | None = None) -> ReplayRun:
    """Segment every frame of a bag, one after the other; nothing is superseded.

    Args:
        reader: an open bag.
        segmenter: it is warmed up with the first frame's size.
        on_frame: called after each frame, whatever became of it.

    Raises:
        BagError: the bag cannot be read, or has no depth for a model that takes it.
    """
    check_depth(reader, segmenter.bundle)
    labels, latency_ms = LabelStore(), dict[int, float]()
    dropped = dict.fromkeys(DROP_REASONS, 0)
    reasons: list[str] = []
    begun = time.perf_counter()

    def drop_invalid(error: FrameError) -> None:
        dropped["invalid"] += 1
        reasons.append(str(error))

    def drop_undecodable(error: FrameError) -> None:
        drop_invalid(error)
        if on_frame is not None:
            on_frame()

    for frame, _ in reader.frames(on_invalid=drop_undecodable):
        if segmenter.needs_depth and frame.depth_m is None:
            dropped["unsynchronized"] += 1
        else:
            try:
                if not labels:
                    segmenter.warm_up(*frame.size)
                start = time.perf_counter()
                segmentation = segmenter(frame)
                latency_ms[frame.stamp_ns] = (time.perf_counter() - start) * 1e3
                labels.put(frame.stamp_ns, segmentation.label)
            except FrameError as error:
                drop_invalid(error)
        if on_frame is not None:
            on_frame()
    sent = len(reader.index)
    return ReplayRun(
        mode="offline",
        stamps_ns=tuple(reader.index.stamps_ns.tolist()),
        labels=labels,
        latency_ms=latency_ms,
        latency_definition="one call of the segmenter: preprocessing, network and upsampling, after a warm-up",
        counts=ReplayCounts(sent, sent, sent - sum(dropped.values()), dropped),
        device=segmenter.device_name,
        wall_s=time.perf_counter() - begun,
        notes=tuple(f"first invalid frame: {reason}" for reason in reasons[:1]),
    )


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
