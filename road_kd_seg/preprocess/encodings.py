"""Depth in meters to network input. B batch, C channels, h w network size."""

from __future__ import annotations

import torch
from torch import Tensor

from road_kd_seg.frame import Intrinsics
from road_kd_seg.preprocess.input_spec import DepthEncoding
from road_kd_seg.preprocess.normals import surface_normals
from road_kd_seg.preprocess.road_plane import plane_residual, relative_height


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
    valid = (depth_m > 0) & (depth_m < torch.inf)
    if encoding.kind in ("metric", "jet_depth"):
        scaled = ((depth_m - encoding.low) / (encoding.high - encoding.low)).clamp(0, 1)[:, None]
        return torch.where(valid[:, None], jet(scaled) if encoding.kind == "jet_depth" else scaled, 0)
    inverse_depth = torch.where(valid, 1 / depth_m, 0)
    if encoding.kind == "inverse":
        scaled = (inverse_depth - encoding.low) / (encoding.high - encoding.low)
        return torch.where(valid, scaled.clamp(0, 1), 0)[:, None]
    if encoding.kind == "relative_height":
        height = relative_height(inverse_depth, valid, road_plane)
        return (height / (height.abs() + encoding.high))[:, None]
    residual = plane_residual(inverse_depth, valid, road_plane)
    scaled = (residual / encoding.high).clamp(-1, 1)[:, None]
    if encoding.kind == "plane_residual":
        return scaled
    return torch.where(valid[:, None], jet((scaled + 1) / 2), 0)


def jet(value: Tensor) -> Tensor:
    """The jet colors (blue, cyan, yellow, red) of values in [0, 1]: (B, 1, h, w) → RGB in [0, 1], (B, 3, h, w)."""
    centers = value.new_tensor([0.75, 0.5, 0.25]).view(1, 3, 1, 1)
    return (1.5 - 4 * (value - centers).abs()).clamp(0, 1)
