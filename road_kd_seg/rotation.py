# SPDX-License-Identifier: Apache-2.0
"""Cameras mounted sideways or upside down: frames are turned upright, and what was found is turned back."""

from __future__ import annotations

import numpy as np

from road_kd_seg.frame import RgbdFrame, Segmentation
from road_kd_seg.ground import GroundPlane

ROTATIONS = (0, 90, 180, 270)
"""Degrees clockwise by which a camera's image may have to be turned to be upright."""


def upright(frame: RgbdFrame, degrees: int) -> RgbdFrame:
    """The frame turned clockwise, without intrinsics; the frame itself for 0."""
    if degrees == 0:
        return frame
    turns = -degrees // 90
    rgb = np.ascontiguousarray(np.rot90(frame.rgb, turns))
    depth_m = None if frame.depth_m is None else np.ascontiguousarray(np.rot90(frame.depth_m, turns))
    return RgbdFrame(rgb, depth_m, None, frame.stamp_ns, frame.frame_id)


def turned_back(segmentation: Segmentation, degrees: int) -> Segmentation:
    """A segmentation of the upright frame as one of the camera's."""
    if degrees == 0:
        return segmentation
    turns = degrees // 90
    return Segmentation(
        np.ascontiguousarray(np.rot90(segmentation.label, turns)),
        lambda: np.ascontiguousarray(np.rot90(segmentation.confidence, turns)),
        segmentation.stamp_ns,
        segmentation.frame_id,
    )


def plane_turned_back(plane: GroundPlane | None, degrees: int, size: tuple[int, int]) -> GroundPlane | None:
    """A plane over the pixels of the upright frame as one over the camera's, whose image is of `size` (H, W)."""
    if plane is None:
        return None
    height, width = size
    # A quarter turn counter-clockwise brings pixel (row, column) to (width - 1 - column, row).
    for turn in range((-degrees // 90) % 4):
        before = width if ((-degrees // 90) % 4 - 1 - turn) % 2 == 0 else height
        plane = GroundPlane(-plane.rows, plane.columns, plane.offset + plane.rows * (before - 1))
    return plane
