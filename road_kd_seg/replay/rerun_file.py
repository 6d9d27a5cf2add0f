# SPDX-License-Identifier: Apache-2.0
"""A drive with its predictions as a recording of Rerun: scrub through images, depth, labels and latency side by side.

Only a file is written. No viewer is started and no connection opened, so nothing of Rerun's analytics runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np

from road_kd_seg.errors import RoadKdError
from road_kd_seg.frame import IGNORE_INDEX, RgbdFrame
from road_kd_seg.replay.labels import LabelStore
from road_kd_seg.replay.report.pictures import paint_errors
from road_kd_seg.taxonomy import Taxonomy

RERUN_FILE = "replay.rrd"
"""Beside the report."""


def check_rerun() -> None:
    """Refuse to begin without the extra.

    Raises:
        RoadKdError: rerun-sdk is not installed.
    """
    try:
        import rerun  # noqa: F401
    except ImportError as error:
        raise RoadKdError("--rerun needs rerun-sdk: pip install 'road_kd_seg[rerun]'") from error


def write_rerun_file(
    folder: Path,
    frames: Iterable[RgbdFrame],
    predictions: LabelStore,
    ground_truth: LabelStore,
    latency_ms: Mapping[int, float],
    taxonomy: Taxonomy,
) -> None:
    """Write RERUN_FILE below a folder; that of an earlier run is replaced.

    Args:
        folder: of the report.
        frames: those that have a prediction.
        predictions: label images by stamp.
        ground_truth: label images by stamp.
        latency_ms: by stamp.
        taxonomy: names and colors.

    Raises:
        RoadKdError: rerun-sdk is not installed.
    """
    check_rerun()
    import rerun as rr

    recording = rr.RecordingStream("road_kd_seg")
    recording.save(folder / RERUN_FILE)
    classes = [(c.id, c.name, c.color) for c in taxonomy.classes]
    recording.log("camera", rr.AnnotationContext([*classes, (IGNORE_INDEX, "unknown", (0, 0, 0))]), static=True)
    for frame in frames:
        label = predictions.get(frame.stamp_ns)
        recording.set_time("stamp", timestamp=np.datetime64(frame.stamp_ns, "ns"))
        recording.log("camera/color", rr.EncodedImage(contents=_jpeg(frame.rgb), media_type="image/jpeg"))
        if frame.depth_m is not None:
            recording.log("camera/depth", rr.DepthImage(frame.depth_m, meter=1.0))
        recording.log("camera/prediction", rr.SegmentationImage(label))
        if frame.stamp_ns in ground_truth:
            known = ground_truth.get(frame.stamp_ns)
            recording.log("camera/ground_truth", rr.SegmentationImage(known))
            errors = _jpeg(paint_errors(frame.rgb, known, label, taxonomy))
            recording.log("errors", rr.EncodedImage(contents=errors, media_type="image/jpeg"))
        if frame.stamp_ns in latency_ms:
            recording.log("latency_ms", rr.Scalars(latency_ms[frame.stamp_ns]))
    recording.flush()
    recording.disconnect()


def _jpeg(rgb: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()
