"""Camera images to network input. B batch, C channels, H W camera size, h w network size."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from road_kd_seg.errors import FrameError
from road_kd_seg.preprocess.encodings import encode_depth, resize_depth
from road_kd_seg.preprocess.input_spec import InputSpec


def preprocess(rgb: Tensor, depth_m: Tensor | None, spec: InputSpec) -> tuple[Tensor, Tensor | None]:
    """Crop, resize, normalize and encode, on whichever device the images are.

    Args:
        rgb: uint8 (B, H, W, 3).
        depth_m: float32 (B, H, W) in meters, 0 = invalid; may be None if `spec` takes no depth.
        spec: what the network wants.

    Returns:
        rgb (B, 3, h, w) and depth (B, C, h, w), or None for an RGB network; float32.

    Raises:
        FrameError: the network wants depth and there is none.
    """
    top, left, bottom, right = spec.crop_box(rgb.shape[1], rgb.shape[2])
    color = rgb[:, top:bottom, left:right].permute(0, 3, 1, 2).float()
    shrinks = color.shape[2] >= spec.size[0] and color.shape[3] >= spec.size[1]
    if shrinks:
        color = F.interpolate(color, spec.size, mode="area")
    else:
        color = F.interpolate(color, spec.size, mode="bilinear", align_corners=False)
    mean, std = _normalization(spec, color.device)
    color = (color - mean) / std
    if spec.depth is None:
        return color, None
    if depth_m is None:
        raise FrameError(
            "the model requires depth and the frame has none: enable aligned depth, or use an RGB-only model"
        )
    depth = resize_depth(depth_m[:, top:bottom, left:right], spec.size, smooth=spec.depth.kind == "normals")
    return color, encode_depth(depth, spec.depth, spec.camera(rgb.shape[1], rgb.shape[2]))


@lru_cache(maxsize=8)
def _normalization(spec: InputSpec, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and std of 8-bit color, (1, 3, 1, 1) each; kept on the device, so that no frame has to copy them there."""
    mean, std = (torch.tensor(values, device=device).mul(255).view(1, 3, 1, 1) for values in (spec.mean, spec.std))
    return mean, std
