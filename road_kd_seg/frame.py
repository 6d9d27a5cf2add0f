# SPDX-License-Identifier: Apache-2.0
"""The two things that travel: an RGB-D frame in, a segmentation out. NumPy only; H and W are the camera's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.errors import FrameError, shown

_MIN_FOCAL_PX = 0.01
_MAX_PX = 1e7
_MAX_SIDE_PX = 65_535

IGNORE_INDEX = 255
"""Label value of a pixel that nobody annotated: neither trained on nor scored."""


DepthImage: TypeAlias = NDArray[np.float32] | NDArray[np.uint16]
"""(H, W): float32 in meters, or uint16 in millimeters; 0 where invalid."""


@dataclass(frozen=True, slots=True)
class Intrinsics:
    """A pinhole camera: focal lengths and principal point in pixels of a `width` x `height` image.

    Raises:
        FrameError: a value that is no finite number, or that no camera has.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    def __post_init__(self) -> None:
        fits = (
            all(isinstance(v, Real) for v in (self.fx, self.fy, self.cx, self.cy, self.width, self.height))
            and all(_MIN_FOCAL_PX <= f <= _MAX_PX for f in (self.fx, self.fy))
            and all(abs(c) <= _MAX_PX for c in (self.cx, self.cy))
            and all(1 <= side <= _MAX_SIDE_PX for side in (self.width, self.height))
        )
        if not fits:
            raise FrameError(
                f"camera: focal lengths {shown(self.fx)} and {shown(self.fy)}, principal point ({shown(self.cx)},"
                f" {shown(self.cy)}), size {shown(self.width)}x{shown(self.height)}: no camera has these"
            )

    def scaled(self, width: int, height: int) -> Intrinsics:
        """The same camera after its image was resized to `width` x `height`."""
        sx, sy = width / self.width, height / self.height
        return Intrinsics(self.fx * sx, self.fy * sy, self.cx * sx, self.cy * sy, width, height)


@dataclass(frozen=True, slots=True)
class RgbdFrame:
    """One synchronized color and aligned depth image.

    Raises:
        FrameError: the images are not what a camera gives (type, rank), or their sizes differ.
    """

    rgb: NDArray[np.uint8]
    """(H, W, 3), red first."""
    depth_m: NDArray[np.float32] | None
    """(H, W), meters along the optical axis, 0 where the sensor saw nothing; None without a depth sensor."""
    intrinsics: Intrinsics | None = None
    stamp_ns: int = 0
    """Acquisition time, nanoseconds since the epoch of whichever clock the camera used."""
    frame_id: str = ""
    """Optical frame of the color camera (z forward, x right, y down)."""
    depth_mm: NDArray[np.uint16] | None = None
    """(H, W), `depth_m` as the camera sent it, if that was in millimeters: half as much to read or to copy."""

    def __post_init__(self) -> None:
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.rgb.dtype != np.uint8:
            raise FrameError(f"rgb: got {self.rgb.dtype} {self.rgb.shape}, expected uint8 (H, W, 3)")
        if self.depth_m is None:
            return
        if self.depth_m.ndim != 2 or self.depth_m.dtype != np.float32:
            raise FrameError(
                f"depth_m: got {self.depth_m.dtype} {self.depth_m.shape}, expected float32 (H, W) in meters"
            )
        if self.depth_m.shape != self.rgb.shape[:2]:
            raise FrameError(
                f"depth is {self.depth_m.shape[1]}x{self.depth_m.shape[0]},"
                f" color is {self.rgb.shape[1]}x{self.rgb.shape[0]}:"
                " the depth must be aligned to the color image (RealSense: align_depth.enable:=true)"
            )

        if self.depth_mm is not None and (
            self.depth_mm.dtype != np.uint16 or self.depth_mm.shape != self.depth_m.shape
        ):
            raise FrameError(
                f"depth_mm: got {self.depth_mm.dtype} {self.depth_mm.shape}, expected uint16 {self.depth_m.shape}"
            )

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.rgb.shape[0], self.rgb.shape[1]

    @property
    def depth_as_sent(self) -> DepthImage | None:
        """(H, W) in millimeters, uint16, if the camera sent that, else in meters, float32; None without depth."""
        return self.depth_m if self.depth_mm is None else self.depth_mm


class LabeledFrame(NamedTuple):
    """A frame and, where it is known, its ground truth."""

    frame: RgbdFrame
    label: NDArray[np.uint8] | None
    """(H, W) class ids of the taxonomy, IGNORE_INDEX where unknown."""


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Where the time of a frame went, milliseconds.

    On CUDA preprocessing is what the CPU does until everything is launched, and inference ends when the label is back.
    """

    preprocess_ms: float
    inference_ms: float
    postprocess_ms: float


class Segmentation:
    """Class and certainty per pixel, at the camera's resolution.

    Args:
        label: (H, W) class ids.
        confidence: (H, W), probability of the winning class, 0 to 1; or what computes it when somebody asks: it costs
            more than the label.
        stamp_ns: of the frame.
        frame_id: of the frame.
        times: what it took.
    """

    def __init__(
        self,
        label: NDArray[np.uint8],
        confidence: NDArray[np.float32] | Callable[[], NDArray[np.float32]],
        stamp_ns: int = 0,
        frame_id: str = "",
        times: StageTimes | None = None,
    ) -> None:
        self.label = label
        self.times = times
        self.stamp_ns = stamp_ns
        self.frame_id = frame_id
        self._confidence = confidence

    @property
    def confidence(self) -> NDArray[np.float32]:
        """(H, W), probability of the winning class, 0 to 1."""
        if callable(self._confidence):
            self._confidence = self._confidence()
        return self._confidence
