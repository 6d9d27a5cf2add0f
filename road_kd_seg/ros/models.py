# SPDX-License-Identifier: Apache-2.0
"""The models that the node runs: one for its camera, and perhaps one for when depth is missing."""

from __future__ import annotations

from dataclasses import dataclass

from road_kd_seg.errors import RoadKdError
from road_kd_seg.frame import RgbdFrame, Segmentation
from road_kd_seg.ros.parameters import Settings
from road_kd_seg.segmenter import Segmenter
from road_kd_seg.smoothing import Smoother
from road_kd_seg.taxonomy import Taxonomy

_CAMERA_SIZE = (720, 1280)
"""Of a RealSense's color images by default; the true size is known only when the camera sends."""


@dataclass(frozen=True)
class Models:
    """What segments a frame with depth, and what segments one without."""

    main: Segmenter
    rgb_only: Segmenter | None
    """None: frames without depth cannot be segmented."""
    forecast_hz: float
    """Frames of a usual camera's size that `main` segments per second, as just measured."""

    @staticmethod
    def load(settings: Settings) -> Models:
        """Load and warm up, or fail without side effects.

        Raises:
            RoadKdError: a bundle, the device, the precision or the backend; or the two models do not fit together.
        """
        main, frame_ms = _load(settings.model, settings)
        forecast_hz = 1000 / frame_ms
        if not main.needs_depth:
            return Models(main, main, forecast_hz)
        if not settings.rgb_only_model:
            return Models(main, None, forecast_hz)
        rgb_only, _ = _load(settings.rgb_only_model, settings)
        if rgb_only.needs_depth:
            raise RoadKdError(
                f"parameter rgb_only_model: '{settings.rgb_only_model}' requires depth: choose a bundle without"
            )
        if rgb_only.taxonomy != main.taxonomy:
            raise RoadKdError(
                f"parameter rgb_only_model: '{settings.rgb_only_model}' has the classes {rgb_only.taxonomy.names},"
                f" '{settings.model}' has {main.taxonomy.names}: choose bundles with equal classes"
            )
        return Models(main, rgb_only, forecast_hz)

    @property
    def notes(self) -> list[str]:
        """What runs otherwise than was asked for, or than is best for this machine, and why."""
        segmenters = [self.main] if self.rgb_only in (None, self.main) else [self.main, self.rgb_only]
        return [note for segmenter in segmenters if segmenter is not None for note in segmenter.notes]

    @property
    def taxonomy(self) -> Taxonomy:
        """Classes of every label image."""
        return self.main.taxonomy

    def segment(self, frame: RgbdFrame, smoother: Smoother | None = None, *, color_only: bool = False) -> Segmentation:
        """Segment with the model that fits the frame.

        Args:
            frame: with or without depth.
            smoother: steadies the masks of consecutive frames.
            color_only: its depth is of no use: take the model that does without, if there is one.

        Raises:
            FrameError: it has no depth, and no model does without.
        """
        with_depth = frame.depth_m is not None and not color_only
        segmenter = self.main if with_depth else self.rgb_only or self.main
        return segmenter(frame, smoother)


def _load(name_or_path: str, settings: Settings) -> tuple[Segmenter, float]:
    """The model, warm, and the milliseconds that it takes for a frame."""
    segmenter = Segmenter.from_bundle(
        name_or_path,
        device=settings.device,
        precision=settings.precision,
        backend=settings.backend,
        trusted_key=settings.trusted_key,
        num_threads=settings.num_threads,
    )
    return segmenter, segmenter.warm_up(*_CAMERA_SIZE)
