# SPDX-License-Identifier: Apache-2.0
"""Camera images to network input: `preprocess` on any device, `preprocess_frame` for one frame on a CPU.

B batch, C channels, H W camera size, h w network size.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from road_kd_seg.errors import FrameError
from road_kd_seg.frame import DepthImage
from road_kd_seg.preprocess.encodings import PLANE_KINDS, encode_clean_depth, encode_depth
from road_kd_seg.preprocess.input_spec import DepthEncoding, InputSpec
from road_kd_seg.preprocess.resize import (
    resize_color,
    resize_color_array,
    resize_depth,
    resize_depth_array,
    shrink_color_planes,
    suits_planes,
)
from road_kd_seg.preprocess.road_plane_array import fit_road_plane_array

_SMOOTH = ("normals",)
"""Depth encodings that are made from interpolated, not from sampled depth."""


def preprocess(
    rgb: Tensor, depth_m: Tensor | None, spec: InputSpec, road_plane: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """Crop, resize, normalize and encode, on whichever device the images are.

    Args:
        rgb: uint8 (B, H, W, 3).
        depth_m: float32 (B, H, W) in meters, 0 = invalid; may be None if `spec` uses no depth.
        spec: what the network wants.
        road_plane: (B, 3), if it is known already, as in training, where images are windows of larger ones; None: it
            is fitted to the depth.

    Returns:
        rgb (B, 3, h, w) and depth (B, C, h, w), or None for an RGB network; float32.

    Raises:
        FrameError: the network wants depth and there is none.
    """
    top, left, bottom, right = spec.crop_box(rgb.shape[1], rgb.shape[2])
    color = resize_color(rgb[:, top:bottom, left:right].permute(0, 3, 1, 2).float(), spec.size)
    mean, std = _normalization(spec, color.device)
    color = (color - mean) / std
    if spec.depth is None:
        return color, None
    if depth_m is None:
        raise FrameError(_NO_DEPTH)
    depth = resize_depth(depth_m[:, top:bottom, left:right], spec.size, smooth=spec.depth.kind in _SMOOTH)
    return color, encode_depth(depth, spec.depth, spec.camera(rgb.shape[1], rgb.shape[2]), road_plane)


def meters(depth: Tensor) -> Tensor:
    """Depth in meters, float32: as it is, or of millimeters in 16 unsigned bits, which an int16 tensor holds, as
    PyTorch computes little in uint16."""
    return depth if depth.is_floating_point() else (depth.int() & 0xFFFF) / 1000


def preprocess_frame(rgb: NDArray[np.uint8], depth: DepthImage | None, spec: InputSpec) -> tuple[Tensor, Tensor | None]:
    """`preprocess` of one frame on a CPU, several times faster: color is mostly resized in 8 bits (off by half a
    gray level at most) and normalized by table, and only the pixels that are needed are read of the depth.

    Args:
        rgb: (H, W, 3).
        depth: (H, W) in meters, float32, or in millimeters, uint16; 0 = invalid; may be None if `spec` uses no depth.
        spec: what the network wants.

    Returns:
        rgb (1, 3, h, w) and depth (1, C, h, w), or None for an RGB network; float32.

    Raises:
        FrameError: the network wants depth and there is none.
    """
    if spec.depth is None:
        return _color_array(rgb, spec), None
    if depth is None:
        raise FrameError(_NO_DEPTH)
    return _color_array(rgb, spec), _depth_array(depth, spec, spec.depth)


def _color_array(rgb: NDArray[np.uint8], spec: InputSpec) -> Tensor:
    """Color of the crop, resized and normalized, (1, 3, h, w)."""
    top, left, bottom, right = spec.crop_box(rgb.shape[0], rgb.shape[1])
    rgb = np.ascontiguousarray(rgb[top:bottom, left:right])
    if suits_planes(rgb.shape[:2], spec.size):
        mean, std = ([255 * value for value in values] for values in (spec.mean, spec.std))
        return torch.from_numpy(shrink_color_planes(rgb, spec.size, mean, std))[None]
    color = np.empty((1, 3, *spec.size), np.float32)
    channels = cv2.split(resize_color_array(rgb, spec.size))
    for plane, channel, table in zip(color[0], channels, _normalization_tables(spec), strict=True):
        cv2.LUT(channel, table, plane)
    return torch.from_numpy(color)


def _depth_array(depth: DepthImage, spec: InputSpec, encoding: DepthEncoding) -> Tensor:
    """Depth of the crop, resized and encoded, (1, C, h, w)."""
    height, width = depth.shape
    top, left, bottom, right = spec.crop_box(height, width)
    cropped: NDArray[Any] = depth[top:bottom, left:right]
    if encoding.kind in _SMOOTH:
        smooth_m = resize_depth(torch.from_numpy(_in_meters(cropped))[None], spec.size, smooth=True)
        return encode_depth(smooth_m, encoding, spec.camera(height, width))
    depth_m = _in_meters(resize_depth_array(cropped, spec.size))
    road_plane = torch.from_numpy(fit_road_plane_array(depth_m))[None] if encoding.kind in PLANE_KINDS else None
    return encode_clean_depth(torch.from_numpy(depth_m)[None], encoding, road_plane)


def _in_meters(depth: DepthImage) -> NDArray[np.float32]:
    in_meters: NDArray[np.float32] = np.ascontiguousarray(depth, np.float32)
    return in_meters / np.float32(1000) if depth.dtype == np.uint16 else in_meters


_NO_DEPTH = "the model requires depth and the frame has none: enable aligned depth, or use an RGB-only model"


@lru_cache(maxsize=8)
def _normalization(spec: InputSpec, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and std of 8-bit color, (1, 3, 1, 1) each; kept on the device, so that no frame has to copy them there."""
    mean, std = (torch.tensor(values, device=device).mul(255).view(1, 3, 1, 1) for values in (spec.mean, spec.std))
    return mean, std


@lru_cache(maxsize=8)
def _normalization_tables(spec: InputSpec) -> NDArray[np.float32]:
    """Normalized value of each gray level by channel, (3, 256)."""
    mean, std = (values.view(3, 1) for values in _normalization(spec, torch.device("cpu")))
    tables: NDArray[np.float32] = ((torch.arange(256) - mean) / std).numpy()
    return tables
