"""Depth in meters to network input. B batch, C channels, H W camera size, h w network size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from road_kd_seg.frame import Intrinsics
from road_kd_seg.preprocess.input_spec import DepthEncoding
from road_kd_seg.preprocess.normals import surface_normals
from road_kd_seg.preprocess.road_plane import plane_residual


def resize_depth(depth_m: Tensor, size: tuple[int, int], *, smooth: bool = False) -> Tensor:
    """Resize depth by sampling, as averaging across an edge or a hole would invent surfaces.

    Args:
        depth_m: (B, H, W); 0 (or anything not finite and positive) is invalid.
        size: (h, w).
        smooth: interpolate 1/z between the four pixels around a point where all are valid. On a plane that is exact,
            whereas the uneven steps of sampling would make slopes uneven: what normals need.

    Returns:
        (B, h, w).
    """
    sampled = F.interpolate(depth_m[:, None], size, mode="nearest-exact")[:, 0]
    if not smooth:
        return sampled
    valid = torch.isfinite(depth_m) & (depth_m > 0)
    inverse_depth = torch.where(valid, 1 / depth_m, torch.nan)[:, None]
    interpolated = 1 / F.interpolate(inverse_depth, size, mode="bilinear", align_corners=False)[:, 0]
    return torch.where(interpolated.isnan(), sampled, interpolated)


def encode_depth(depth_m: Tensor, encoding: DepthEncoding, camera: Intrinsics | None = None) -> Tensor:
    """Encode meters as network input.

    Args:
        depth_m: (B, h, w); 0 (or anything not finite and positive) is invalid.
        encoding: kind and range.
        camera: of the depth's pixels, for `normals`; None: the encoding's own, whose whole image the depth is.

    Returns:
        (B, C, h, w), 0 where the depth is invalid.
    """
    if encoding.kind == "normals":
        return surface_normals(depth_m, camera or encoding.camera(*depth_m.shape[-2:]))
    valid = torch.isfinite(depth_m) & (depth_m > 0)
    if encoding.kind == "metric":
        scaled = (depth_m - encoding.low) / (encoding.high - encoding.low)
        return torch.where(valid, scaled.clamp(0, 1), 0)[:, None]
    inverse_depth = torch.where(valid, 1 / depth_m, 0)
    if encoding.kind == "inverse":
        scaled = (inverse_depth - encoding.low) / (encoding.high - encoding.low)
        return torch.where(valid, scaled.clamp(0, 1), 0)[:, None]
    residual = plane_residual(inverse_depth, valid)
    scaled = (residual / encoding.high).clamp(-1, 1)[:, None]
    if encoding.kind == "plane_residual":
        return scaled
    return torch.where(valid[:, None], jet((scaled + 1) / 2), 0)


def jet(value: Tensor) -> Tensor:
    """The jet colors (blue, cyan, yellow, red) of values in [0, 1]: (B, 1, h, w) → RGB in [0, 1], (B, 3, h, w)."""
    centers = value.new_tensor([0.75, 0.5, 0.25]).view(1, 3, 1, 1)
    return (1.5 - 4 * (value - centers).abs()).clamp(0, 1)
