# SPDX-License-Identifier: Apache-2.0
"""A drive with its predictions as a short WebM, small enough to sit inside a page."""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from road_kd_seg.frame import RgbdFrame
from road_kd_seg.replay.labels import LabelStore
from road_kd_seg.replay.report.pictures import Image, paint_prediction, shrink
from road_kd_seg.taxonomy import Taxonomy

CLIP_FRAMES = 100
"""At most; of a longer drive every n-th frame."""
CLIP_WIDTH = 480
"""Pixels."""
CLIP_RATE_HZ = 10.0


def make_clip(frames: Iterable[RgbdFrame], predictions: LabelStore, taxonomy: Taxonomy) -> str | None:
    """The frames, painted, as a data URI; None if there is no frame, or OpenCV was built without this codec."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.webm"
        writer: cv2.VideoWriter | None = None
        for frame in frames:
            painted = paint_prediction(frame.rgb, predictions.get(frame.stamp_ns), taxonomy)
            image = _even(shrink(painted, CLIP_WIDTH, cv2.INTER_AREA))
            if writer is None:
                size = (image.shape[1], image.shape[0])
                with _silent_stderr():
                    # VP8: every browser plays it, and OpenCV's wheels can write it.
                    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP80"), CLIP_RATE_HZ, size)
            if image.shape[1::-1] == size:
                writer.write(np.ascontiguousarray(image[:, :, ::-1]))
        if writer is None:
            return None
        writer.release()
        if not path.is_file() or not path.stat().st_size:
            return None
        return f"data:video/webm;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Without OpenCV's remark that the format wants another tag, which it then takes by itself."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _even(image: Image) -> Image:
    """Without the last row and column if their number is odd, which the codec refuses."""
    return image[: image.shape[0] // 2 * 2 or 1, : image.shape[1] // 2 * 2 or 1]
