# SPDX-License-Identifier: Apache-2.0
"""Depth in meters to network input. B batch, C channels, h w network size."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from road_kd_seg.frame import Intrinsics
from road_kd_seg.preprocess.input_spec import DepthEncoding
from road_kd_seg.preprocess.normals import surface_normals
from road_kd_seg.preprocess.road_plane import MIN_DEPTH_M, plane_residual, relative_height

PLANE_KINDS = ("plane_residual", "relative_height", "jet")
"""That are made with the road plane."""


def encode_depth(
    depth_m: Tensor, encoding: DepthEncoding, camera: Intrinsics | None = None, road_plane: Tensor | None = None
) -> Tensor:
    """Encode meters as network input.

    Args:
        depth_m: (B, h, w); 0 (or anything not finite and positive) is invalid.
        encoding: kind and range.
        camera: of the depth's pixels, for `normals`; None: the encoding's own, whose whole image the depth is.
        road_plane: of the depth's pixels, (B, 3), for the kinds that need one (see `plane_residual`); None: fit it.

    Returns:
        (B, C, h, w), 0 where the depth is invalid.
    """
    if encoding.kind == "normals":
        return surface_normals(depth_m, camera or encoding.camera(*depth_m.shape[-2:]))
    return encode_clean_depth(depth_m.nan_to_num(0, 0, 0).clamp_(min=0), encoding, road_plane)


def encode_clean_depth(depth_m: Tensor, encoding: DepthEncoding, road_plane: Tensor | None = None) -> Tensor:
    """`encode_depth` of depth that is 0 where it is invalid, (B, h, w), and may be overwritten; not for `normals`."""
    # In place wherever the memory is ours: on a CPU, fetching more of it costs as much as computing.
    depth_m = depth_m[:, None]
    if encoding.kind == "relative_height":
        height = relative_height(depth_m[:, 0], road_plane)[:, None]
        return height.div_(height.abs().add_(encoding.high))
    valid = depth_m.sign()
    if encoding.kind in ("metric", "jet_depth"):
        scaled = ((depth_m - encoding.low) / (encoding.high - encoding.low)).clamp(0, 1)
        return valid * (jet(scaled) if encoding.kind == "jet_depth" else scaled)
    inverse_depth = valid / depth_m.clamp_(min=MIN_DEPTH_M)
    if encoding.kind == "inverse":
        return valid * ((inverse_depth - encoding.low) / (encoding.high - encoding.low)).clamp(0, 1)
    residual = plane_residual(inverse_depth[:, 0], road_plane)[:, None]
    scaled = (residual / encoding.high).clamp(-1, 1)
    return scaled if encoding.kind == "plane_residual" else valid * jet((scaled + 1) / 2)


def jet(value: Tensor) -> Tensor:
    """The jet colors (blue, cyan, yellow, red) of values in [0, 1]: (B, 1, h, w) → RGB in [0, 1], (B, 3, h, w)."""
    return (1.5 - 4 * (value - _jet_centers(value.device)).abs()).clamp(0, 1)


@lru_cache(maxsize=8)
def _jet_centers(device: torch.device) -> Tensor:
    """Where red, green and blue are brightest, (1, 3, 1, 1); kept, so that no frame has to copy them to the device."""
    return torch.tensor([0.75, 0.5, 0.25], device=device).view(1, 3, 1, 1)
