"""Camera images to network input. Shared by the node and by training, so that both see the same tensors.

B batch, H W camera size, h w network size, N sampled points, M plane hypotheses.
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

DepthKind = Literal["metric", "inverse", "plane_residual", "jet"]

PLANE_TOLERANCE_PER_M = 0.01
"""|1/z - plane| in 1/m up to which a point counts as road while the plane is being found: several times the noise of
a D455 (0.15 px of disparity), and less than half of a 5 cm pothole two metres ahead."""

ROAD_SLOPE_PER_M = 0.05
"""Least growth of 1/z in 1/m from the middle of the image to its bottom for a plane to be a road; seen from a metre
above, a road has 0.2 to 0.6, a wall across the view 0."""


@dataclass(frozen=True, slots=True)
class DepthEncoding:
    """How metres become network input.

    `metric` is z and `inverse` is 1/z, each scaled linearly so that [low, high] becomes [0, 1]; `plane_residual` is
    1/z minus the road plane's, scaled so that ±high becomes ±1 (negative lies below the road); `jet` paints
    the plane residual in the jet colours, as CPKD does with transformed disparity. Invalid pixels become 0.
    """

    kind: DepthKind
    low: float = 0.0
    """Metres for `metric`, 1/m for `inverse`; unused otherwise."""
    high: float = 0.05
    """Metres for `metric`, 1/m otherwise."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(DepthKind):
            raise RoadKdError(
                f"depth encoding '{self.kind}' is unknown: choose one of {', '.join(get_args(DepthKind))}"
            )
        if not self.low < self.high:
            raise RoadKdError(f"depth encoding '{self.kind}': low {self.low} must be below high {self.high}")

    @property
    def channels(self) -> int:
        """Channels of the encoded depth."""
        return 3 if self.kind == "jet" else 1


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

    def to_dict(self) -> dict[str, Any]:
        """Plain data for model.yaml."""
        depth = (
            None if self.depth is None else {"kind": self.depth.kind, "low": self.depth.low, "high": self.depth.high}
        )
        return {
            "size": list(self.size),
            "crop": list(self.crop),
            "mean": list(self.mean),
            "std": list(self.std),
            "depth": depth,
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
                depth=None
                if depth is None
                else DepthEncoding(depth["kind"], float(depth["low"]), float(depth["high"])),
                crop=(float(top), float(left), float(bottom), float(right)),
                mean=(mean[0], mean[1], mean[2]),
                std=(std[0], std[1], std[2]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RoadKdError(
                f"input needs size [h, w], crop, mean, std and depth (null or kind, low, high): {error!r}"
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
    # Averaging across a depth edge or a hole would invent surfaces, so depth is always sampled.
    depth = F.interpolate(depth_m[:, None, top:bottom, left:right], spec.size, mode="nearest-exact")[:, 0]
    return colour, encode_depth(depth, spec.depth)


def encode_depth(depth_m: Tensor, encoding: DepthEncoding) -> Tensor:
    """Encode metres as network input.

    Args:
        depth_m: (B, h, w); 0 (or anything not finite and positive) is invalid.
        encoding: kind and range.

    Returns:
        (B, C, h, w), 0 where the depth is invalid.
    """
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


def plane_residual(inverse_depth: Tensor, valid: Tensor) -> Tensor:
    """What lies above (positive) or below (negative) the road plane, in inverse depth.

    A plane is linear in inverse depth, 1/z = a·u + b·v + c, for any pinhole camera.

    Args:
        inverse_depth: 1/z in 1/m, (B, h, w).
        valid: (B, h, w), bool.

    Returns:
        1/z minus the fitted plane, 1/m, (B, h, w); 0 where invalid. Without a plane (no valid depth), 0 everywhere.
    """
    plane, found = fit_road_plane(inverse_depth, valid)
    fitted = (_pixel_grid(*inverse_depth.shape[-2:], inverse_depth.device) @ plane[:, None, :, None])[..., 0]
    return torch.where(valid & found[:, None, None], inverse_depth - fitted, 0)


def fit_road_plane(inverse_depth: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """The plane that most of the image's lower two thirds agree on.

    MSAC over fixed triplets, then reweighted least squares.
    Only planes that come nearer towards the bottom of the image count, so that a wall cannot pass for the road.

    Args:
        inverse_depth: 1/z in 1/m, (B, h, w).
        valid: (B, h, w), bool.

    Returns:
        (a, b, c) with u and v in [-1, 1] over the image, (B, 3); and whether a plane was found, (B,) bool.
    """
    height, width = inverse_depth.shape[-2:]
    rows, columns, triplets, solvers = _hypotheses(height, width, inverse_depth.device)
    points = _pixel_grid(height, width, inverse_depth.device)[rows, columns]  # (N, 3)
    target = inverse_depth[:, rows, columns].float()  # (B, N)
    usable = valid[:, rows, columns]

    planes = (solvers @ target[:, triplets, None])[..., 0]  # (B, M, 3)
    error = target[:, None] - planes @ points.T  # (B, M, N)
    score = ((1 - (error / PLANE_TOLERANCE_PER_M).square()).clamp(min=0) * usable[:, None]).sum(-1)
    possible = usable[:, triplets].all(-1) & (planes[..., 1] > ROAD_SLOPE_PER_M)
    best_score, best = torch.where(possible, score, -1).max(dim=1)
    plane = planes.gather(1, best[:, None, None].expand(-1, 1, 3))[:, 0]

    for _ in range(3):  # enough for the weights to settle
        error = target - plane @ points.T
        weight = (1 - (error / (2 * PLANE_TOLERANCE_PER_M)).square()).clamp(min=0).square() * usable
        weighted = points * weight[..., None]  # (B, N, 3)
        normal = weighted.transpose(1, 2) @ points
        plane = (_inverse_3x3(normal) @ (weighted.transpose(1, 2) @ target[..., None]))[..., 0]
    found = (best_score > 0) & plane.isfinite().all(-1)
    return torch.where(found[:, None], plane, 0), found


@lru_cache(maxsize=8)
def _normalisation(spec: InputSpec, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and std of 8-bit colour, (1, 3, 1, 1) each; kept on the device, so that no frame has to copy them there."""
    mean, std = (torch.tensor(values, device=device).mul(255).view(1, 3, 1, 1) for values in (spec.mean, spec.std))
    return mean, std


@lru_cache(maxsize=8)
def _pixel_grid(height: int, width: int, device: torch.device) -> Tensor:
    """(h, w, 3): u and v in [-1, 1], and 1."""
    v = torch.linspace(-1, 1, height, device=device)
    u = torch.linspace(-1, 1, width, device=device)
    return torch.stack(
        [u.expand(height, width), v[:, None].expand(height, width), torch.ones(height, width, device=device)], -1
    )


@lru_cache(maxsize=8)
def _hypotheses(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sampled pixels (rows, columns; (N,) each), triplets of them (M, 3), and each triplet's inverse matrix (M, 3, 3).

    Fixed once for a size, so that the fit is deterministic and needs no solver at run time.
    """
    top = height // 3
    row = torch.linspace(top, height - 1, min(height - top, 40)).round().long()
    column = torch.linspace(0, width - 1, min(width, 64)).round().long()
    rows, columns = (index.flatten() for index in torch.meshgrid(row, column, indexing="ij"))
    points = _pixel_grid(height, width, torch.device("cpu"))[rows, columns]
    generator = torch.Generator().manual_seed(0)
    triplets = torch.randint(len(rows), (4096, 3), generator=generator)
    corners = points[triplets]
    spread = torch.linalg.det(corners).abs()  # twice the triangle's area: small ones extrapolate noise
    triplets = triplets[spread > 0.2 * spread.max()][:160]
    solvers = torch.linalg.inv(points[triplets])
    return rows.to(device), columns.to(device), triplets.to(device), solvers.to(device)


def _inverse_3x3(matrix: Tensor) -> Tensor:
    """Inverse by cross products: no solver call, so nothing synchronises the device; not finite where singular."""
    a, b, c = matrix.unbind(-2)
    cofactors = torch.stack([torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], -1)
    determinant = (a * cofactors[..., 0]).sum(-1)
    return cofactors / determinant[..., None, None]
