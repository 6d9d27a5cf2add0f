"""Camera images to network input. Shared by the node and by training, so that both see the same tensors.

B batch, H W camera size, h w network size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from road_kd_seg.errors import FrameError, RoadKdError
from road_kd_seg.frame import Intrinsics
from road_kd_seg.normals import surface_normals
from road_kd_seg.road_plane import plane_residual

DepthKind = Literal["metric", "inverse", "plane_residual", "jet", "normals"]


@dataclass(frozen=True, slots=True)
class DepthEncoding:
    """How metres become network input.

    `metric` is z and `inverse` is 1/z, each scaled linearly so that [low, high] becomes [0, 1]; `plane_residual` is
    1/z minus the road plane's, scaled so that ±high becomes ±1 (negative lies below the road); `jet` paints
    the plane residual in the jet colours, as CPKD does with transformed disparity; `normals` are unit surface normals
    (x right, y down, z forward), as SNE-RoadSeg takes them. Invalid pixels become 0.

    Normals need a focal length. It is part of the encoding, not read from the camera: so training and the node agree by
    construction, whatever a data set knows of its cameras, and the node's answer neither waits for camera_info nor
    changes when it comes. The price: with another true focal length (another camera, an enlarged training crop), the
    tangent of every normal's angle to the optical axis is off by the quotient of the two. Set `focal` to that of the
    cameras which the model is for.
    """

    kind: DepthKind
    low: float = 0.0
    """Metres for `metric`, 1/m for `inverse`; unused otherwise."""
    high: float = 0.05
    """Metres for `metric`, 1/m otherwise; unused for `normals`."""
    focal: float = 0.5
    """For `normals`: fx over the width of the camera's image, whose pixels count as square and whose principal point as
    its middle. 0.5 is 90 degrees wide, as a RealSense D455's colour image; unused otherwise."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(DepthKind):
            raise RoadKdError(
                f"depth encoding '{self.kind}' is unknown: choose one of {', '.join(get_args(DepthKind))}"
            )
        if not self.low < self.high:
            raise RoadKdError(f"depth encoding '{self.kind}': low {self.low} must be below high {self.high}")
        if self.focal <= 0:
            raise RoadKdError(f"depth encoding '{self.kind}': focal {self.focal} must be positive")

    @property
    def channels(self) -> int:
        """Channels of the encoded depth."""
        return 3 if self.kind in ("jet", "normals") else 1

    def camera(self, height: int, width: int) -> Intrinsics:
        """The camera that `normals` assumes behind a `height` x `width` image."""
        focal_px = self.focal * width
        return Intrinsics(focal_px, focal_px, (width - 1) / 2, (height - 1) / 2, width, height)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for model.yaml."""
        scale = {"focal": self.focal} if self.kind == "normals" else {"low": self.low, "high": self.high}
        return {"kind": self.kind, **scale}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> DepthEncoding:
        """Inverse of `to_dict`; raises what a missing or malformed key does."""
        if data["kind"] == "normals":
            return DepthEncoding("normals", focal=float(data["focal"]))
        return DepthEncoding(data["kind"], float(data["low"]), float(data["high"]))


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What a network wants to be fed."""

    size: tuple[int, int]
    """(h, w) in pixels."""
    depth: DepthEncoding | None = None
    """None: the network takes RGB only."""
    crop: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    """(top, left, bottom, right) of the region that is looked at, as fractions of the camera image."""
    mean: tuple[float, float, float] = field(default=(0.485, 0.456, 0.406))
    std: tuple[float, float, float] = field(default=(0.229, 0.224, 0.225))

    def __post_init__(self) -> None:
        top, left, bottom, right = self.crop
        if not (0 <= top < bottom <= 1 and 0 <= left < right <= 1):
            raise RoadKdError(
                f"input crop {self.crop}: expected (top, left, bottom, right) fractions with 0 <= top < bottom <= 1"
            )
        if min(self.size) < 1 or min(self.std) <= 0:
            raise RoadKdError(f"input size {self.size} and std {self.std} must be positive")

    def crop_box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """(top, left, bottom, right) of the crop in pixels of a `height` x `width` image."""
        top, left, bottom, right = self.crop
        return round(top * height), round(left * width), round(bottom * height), round(right * width)

    def camera(self, height: int, width: int) -> Intrinsics | None:
        """The depth encoding's camera after a `height` x `width` image was cropped and resized; None without depth."""
        if self.depth is None:
            return None
        whole = self.depth.camera(height, width)
        top, left, bottom, right = self.crop_box(height, width)
        cropped = Intrinsics(whole.fx, whole.fy, whole.cx - left, whole.cy - top, right - left, bottom - top)
        return cropped.scaled(self.size[1], self.size[0])

    def to_dict(self) -> dict[str, Any]:
        """Plain data for model.yaml."""
        return {
            "size": list(self.size),
            "crop": list(self.crop),
            "mean": list(self.mean),
            "std": list(self.std),
            "depth": None if self.depth is None else self.depth.to_dict(),
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> InputSpec:
        """Inverse of `to_dict`.

        Raises:
            RoadKdError: a missing, unknown or malformed key.
        """
        try:
            depth = data["depth"]
            height, width = data["size"]
            top, left, bottom, right = data["crop"]
            mean, std = (tuple(float(v) for v in data[key]) for key in ("mean", "std"))
            if len(mean) != 3 or len(std) != 3:
                raise ValueError("mean and std need three values")
            return InputSpec(
                size=(int(height), int(width)),
                depth=None if depth is None else DepthEncoding.from_dict(depth),
                crop=(float(top), float(left), float(bottom), float(right)),
                mean=(mean[0], mean[1], mean[2]),
                std=(std[0], std[1], std[2]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RoadKdError(
                "input needs size [h, w], crop, mean, std and depth"
                f" (null, or kind, low, high, or kind normals and focal): {error!r}"
            ) from error


def preprocess(rgb: Tensor, depth_m: Tensor | None, spec: InputSpec) -> tuple[Tensor, Tensor | None]:
    """Crop, resize, normalise and encode, on whichever device the images are.

    Args:
        rgb: uint8 (B, H, W, 3).
        depth_m: float32 (B, H, W) in metres, 0 = invalid; may be None if `spec` takes no depth.
        spec: what the network wants.

    Returns:
        rgb (B, 3, h, w) and depth (B, C, h, w), or None for an RGB network; float32.

    Raises:
        FrameError: the network wants depth and there is none.
    """
    top, left, bottom, right = spec.crop_box(rgb.shape[1], rgb.shape[2])
    colour = rgb[:, top:bottom, left:right].permute(0, 3, 1, 2).float()
    shrinks = colour.shape[2] >= spec.size[0] and colour.shape[3] >= spec.size[1]
    if shrinks:
        colour = F.interpolate(colour, spec.size, mode="area")
    else:
        colour = F.interpolate(colour, spec.size, mode="bilinear", align_corners=False)
    mean, std = _normalisation(spec, colour.device)
    colour = (colour - mean) / std
    if spec.depth is None:
        return colour, None
    if depth_m is None:
        raise FrameError("the model takes depth and the frame has none: enable aligned depth, or use an RGB-only model")
    depth = resize_depth(depth_m[:, top:bottom, left:right], spec.size, smooth=spec.depth.kind == "normals")
    return colour, encode_depth(depth, spec.depth, spec.camera(rgb.shape[1], rgb.shape[2]))


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
    """Encode metres as network input.

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
    """The jet colours (blue, cyan, yellow, red) of values in [0, 1]: (B, 1, h, w) → RGB in [0, 1], (B, 3, h, w)."""
    centers = value.new_tensor([0.75, 0.5, 0.25]).view(1, 3, 1, 1)
    return (1.5 - 4 * (value - centers).abs()).clamp(0, 1)


@lru_cache(maxsize=8)
def _normalisation(spec: InputSpec, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and std of 8-bit colour, (1, 3, 1, 1) each; kept on the device, so that no frame has to copy them there."""
    mean, std = (torch.tensor(values, device=device).mul(255).view(1, 3, 1, 1) for values in (spec.mean, spec.std))
    return mean, std
