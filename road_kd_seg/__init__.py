# SPDX-License-Identifier: Apache-2.0
"""Real-time segmentation of potholes, obstacles and lane markings from an RGB-D camera.

    from road_kd_seg import RgbdFrame, Segmenter

    segmenter = Segmenter.from_bundle("road_student")
    segmentation = segmenter(RgbdFrame(rgb, depth_m))  # uint8 (H, W, 3); float32 (H, W), meters, 0 where invalid
    segmentation.label, segmentation.confidence  # (H, W) class ids, (H, W) probability of the winning class

The names below are the public API. They are imported when they are first used, so that `import road_kd_seg` loads
neither torch nor OpenCV.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from road_kd_seg.bundle import Bundle, load_bundle
    from road_kd_seg.errors import RoadKdError
    from road_kd_seg.frame import IGNORE_INDEX, Intrinsics, RgbdFrame, Segmentation
    from road_kd_seg.networks import SegmentationNetwork, SegOutput, build_network
    from road_kd_seg.segmenter import Segmenter

__all__ = [
    "IGNORE_INDEX",
    "Bundle",
    "Intrinsics",
    "RgbdFrame",
    "RoadKdError",
    "SegOutput",
    "Segmentation",
    "SegmentationNetwork",
    "Segmenter",
    "build_network",
    "load_bundle",
]

_HOMES = {
    "bundle": ("Bundle", "load_bundle"),
    "errors": ("RoadKdError",),
    "frame": ("IGNORE_INDEX", "Intrinsics", "RgbdFrame", "Segmentation"),
    "networks": ("SegOutput", "SegmentationNetwork", "build_network"),
    "segmenter": ("Segmenter",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("road_kd_seg")
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
