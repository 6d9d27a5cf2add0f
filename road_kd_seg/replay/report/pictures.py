# SPDX-License-Identifier: Apache-2.0
"""Frames as pictures that every kind of color vision reads, and pictures as data URIs. H W size."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg.frame import IGNORE_INDEX
from road_kd_seg.postprocess import overlay
from road_kd_seg.taxonomy import Role, Taxonomy

PICTURE_WIDTH = 640
"""Pixels: sharp when enlarged to a phone's width, and eight rows stay below five megabytes."""
OVERLAY_ALPHA = 0.55
ERROR_COLORS = {
    "missed obstacle": (255, 110, 20),
    "false obstacle": (70, 150, 255),
    "other error": (235, 235, 235),
}
"""Over a dimmed gray image."""

Image = NDArray[np.uint8]
Label = NDArray[np.uint8]


def paint_depth(depth_m: NDArray[np.float32], range_m: tuple[float, float]) -> Image:
    """Near is bright, far is dark (cividis), black where invalid; (H, W, 3) RGB.

    Jet has its brightest color in the middle and is ambiguous without color vision.
    """
    near_m, far_m = range_m
    nearness = np.clip((far_m - depth_m) / (far_m - near_m), 0, 1)
    painted = cv2.applyColorMap((nearness * 255).astype(np.uint8), cv2.COLORMAP_CIVIDIS)[:, :, ::-1]
    return np.where((depth_m > 0)[..., None], painted, 0).astype(np.uint8)


def paint_prediction(rgb: Image, label: Label, taxonomy: Taxonomy) -> Image:
    """Class colors over the image, obstacles outlined in their color between two black lines."""
    painted = overlay(rgb, label, taxonomy, OVERLAY_ALPHA)
    line_px = max(1, rgb.shape[1] // 400)
    for c in taxonomy.classes:
        if c.role is Role.OBSTACLE:
            outlines = _outlines(label == c.id)
            cv2.drawContours(painted, outlines, -1, (0, 0, 0), 3 * line_px)
            cv2.drawContours(painted, outlines, -1, c.color, line_px)
    return painted


def paint_errors(rgb: Image, ground_truth: Label, prediction: Label, taxonomy: Taxonomy) -> Image:
    """Where the prediction is wrong, in ERROR_COLORS over a dimmed gray image; ignored pixels stay gray."""
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) // 2
    painted = np.repeat(gray[..., None], 3, axis=2)
    missed, false, other = error_masks(ground_truth, prediction, taxonomy)
    for mask, color in zip((other, missed, false), (ERROR_COLORS[k] for k in _PAINT_ORDER), strict=True):
        painted[mask] = color
    return painted.astype(np.uint8, copy=False)


_PAINT_ORDER = ("other error", "missed obstacle", "false obstacle")


def error_masks(
    ground_truth: Label, prediction: Label, taxonomy: Taxonomy
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """(H, W) each: an obstacle that is predicted as none, an obstacle where there is none, and any other error."""
    obstacle = taxonomy.role_table(Role.OBSTACLE).astype(bool)
    known = ground_truth != IGNORE_INDEX
    is_one, said_one = obstacle[ground_truth] & known, obstacle[prediction] & known
    missed, false = is_one & ~said_one, said_one & ~is_one
    return missed, false, (ground_truth != prediction) & known & ~missed & ~false


def crop_around(image: Image, box: Sequence[int], min_px: int = 96) -> Image:
    """A square of the image around a (left, top, width, height) box, with room around it."""
    height, width = image.shape[:2]
    left, top, box_width, box_height = box
    side = min(height, width, max(min_px, round(1.6 * max(box_width, box_height))))
    x = int(np.clip(left + box_width // 2 - side // 2, 0, width - side))
    y = int(np.clip(top + box_height // 2 - side // 2, 0, height - side))
    return image[y : y + side, x : x + side]


def jpeg_uri(rgb: Image) -> str:
    """A photograph as a data URI."""
    small = shrink(rgb, PICTURE_WIDTH, cv2.INTER_AREA)
    return _uri("jpeg", cv2.imencode(".jpg", small[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])[1])


def png_uri(rgb: Image) -> str:
    """Flat colors as a data URI, without JPEG's halos."""
    return _uri("png", cv2.imencode(".png", shrink(rgb, PICTURE_WIDTH, cv2.INTER_NEAREST)[:, :, ::-1])[1])


def shrink(image: Image, max_width: int, interpolation: int) -> Image:
    """The image at no more than this width."""
    height, width = image.shape[:2]
    if width <= max_width:
        return image
    size = (max_width, max(1, round(height * max_width / width)))
    return cv2.resize(image, size, interpolation=interpolation).astype(np.uint8, copy=False)


def _outlines(mask: NDArray[np.bool_]) -> Sequence[NDArray[np.int32]]:
    found = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    return [contour.astype(np.int32, copy=False) for contour in found]


def _uri(kind: str, encoded: Image) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(encoded.tobytes()).decode('ascii')}"
