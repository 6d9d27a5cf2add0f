# SPDX-License-Identifier: Apache-2.0
"""Do the messages of one frame belong together, and can their numbers be true? Node and bag reader ask the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.errors import FrameError, shown

_MEDIAN_DEPTH_M = (0.2, 12.0)
"""Median depth of a camera that looks at a road: cameras at 0.3 to 3 m above it see 1 to 8 m (2.8 to 3.6 m in synthetic
drives). Depth in another unit is off by a factor of 5 or more."""
_UNITS = {1000.0: "millimeters in a floating-point image", 10.0: "0.1 mm", 5.0: "1/5000 m", 0.1: "cm", 0.001: "m"}
"""Factor by which depth comes out too large → the unit it is probably in."""


def same_frame(one: str, other: str) -> bool:
    """Whether two frame ids name one frame: a leading slash (ROS 1) does not count, an empty one fits any."""
    one, other = one.lstrip("/"), other.lstrip("/")
    return one == other or not one or not other


def check_same_frame(color_frame_id: str, depth_frame_id: str) -> None:
    """Refuse a depth image that was not aligned to the color camera.

    Raises:
        FrameError: the frame ids differ.
    """
    if not same_frame(color_frame_id, depth_frame_id):
        raise FrameError(
            f"depth is in frame {shown(depth_frame_id)}, color in {shown(color_frame_id)}: the depth must be aligned to"
            " the color image (RealSense: align_depth.enable:=true and the topic aligned_depth_to_color/image_raw);"
            " where it is, and its driver only names it otherwise, set require_same_frame to false"
            " (replay_eval: --no-require-same-frame)"
        )


def depth_unit_problem(depth_m: NDArray[np.float32]) -> str:
    """What is odd about the scale of a depth image of a road, (H, W); empty if nothing is."""
    valid = depth_m[depth_m > 0]
    if valid.size == 0:
        return ""
    median_m = float(np.median(valid))
    low_m, high_m = _MEDIAN_DEPTH_M
    if low_m <= median_m <= high_m:
        return ""
    typical_m = 3.0
    factor = min(_UNITS, key=lambda factor: abs(np.log(median_m / factor / typical_m)))
    return (
        f"half of the depth is {'beyond' if median_m > high_m else 'nearer than'} {median_m:.3g} m, expected"
        f" {low_m:g} to {high_m:g} m on a road: its unit is probably {_UNITS[factor]};"
        " 16-bit depth must be in millimeters, floating-point depth in meters"
    )
