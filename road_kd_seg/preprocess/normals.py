# SPDX-License-Identifier: Apache-2.0
"""Surface normals from depth: SNE (Fan et al., ECCV 2020) and three filters to normal (3F2N; Fan et al., RA-L 2021).

A plane nx·X + ny·Y + nz·Z = 1 seen through a pinhole camera has 1/Z = nx·x + ny·y + nz with x = (u − cx)/fx and
y = (v − cy)/fy. Two gradients of inverse depth therefore give nx and ny; each of the eight neighbors then gives an nz,
as its step along the surface is orthogonal to the normal. 3F2N takes the median of the eight, SNE the mean of the eight
unit normals.

Deviations: missing neighbors are left out (one-sided gradients beside holes and at the border) instead of read as
depth 0; neighbors at the same depth, whose nz is 0/0, are left out, too, and where all eight are, nz follows from the
plane's equation; every normal points to the camera, where the published SNE points upwards and ignores what lies above
the horizon.

B batch, H W size.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from road_kd_seg.errors import RoadKdError, ShapeMismatch
from road_kd_seg.frame import Intrinsics

NormalMethod = Literal["three_filters", "sne"]

_MIN_RELATIVE_STEP = 1e-5
"""|ΔZ| / Z of a neighbor below which float32's rounding (1e-7) would show in its nz."""


def surface_normals(
    depth_m: Tensor, intrinsics: Intrinsics | Tensor, *, method: NormalMethod = "three_filters"
) -> Tensor:
    """Unit normals in the camera's optical frame (x right, y down, z forward), pointing to the camera.

    Args:
        depth_m: (B, H, W) in meters; 0, or anything not finite and positive, is invalid.
        intrinsics: one camera for the batch, or (B, 4) tensor of fx, fy, cx, cy in pixels.
        method: "three_filters" or "sne".

    Returns:
        (B, 3, H, W), float32; 0 where the depth is invalid or stands alone in its row or column.

    Raises:
        ShapeMismatch: depth of another rank, or intrinsics of another size or batch.
        RoadKdError: an unknown method.
    """
    if method not in get_args(NormalMethod):
        raise RoadKdError(f"surface_normals: method is '{method}', expected one of {', '.join(get_args(NormalMethod))}")
    focal, ray = _rays(depth_m, intrinsics)
    depth = torch.where(torch.isfinite(depth_m) & (depth_m > 0), depth_m, torch.nan).float()[:, None]
    inverse = 1 / depth
    slopes = focal * torch.cat((_gradient(inverse, -1), _gradient(inverse, -2)), dim=1)  # nx, ny
    candidates = _nz_of_neighbors(slopes, torch.cat((ray * depth, depth), dim=1))
    if method == "three_filters":
        nz = candidates.nanmedian(dim=0).values
    else:  # the mean of (nx, ny, nz) / norm, divided by that of 1 / norm, so that nx and ny stay as they are
        weight = (slopes.square().sum(dim=1, keepdim=True) + candidates.square()).rsqrt()
        nz = (candidates * weight).nansum(dim=0) / weight.nansum(dim=0)
    plane_nz = inverse - (slopes * ray).sum(dim=1, keepdim=True)
    normal = torch.cat((slopes, torch.where(nz.isnan(), plane_nz, nz)), dim=1)
    normal = F.normalize(normal, dim=1)
    away = (normal[:, :2] * ray).sum(dim=1, keepdim=True) + normal[:, 2:] > 0
    return torch.where(away, -normal, normal).nan_to_num(0)


def _rays(depth_m: Tensor, intrinsics: Intrinsics | Tensor) -> tuple[Tensor, Tensor]:
    """(fx, fy), (B or 1, 2, 1, 1), and each pixel's (x, y) at z = 1, (B or 1, 2, H, W)."""
    if depth_m.ndim != 3:
        raise ShapeMismatch("surface_normals: depth_m", depth_m.shape, (1, *depth_m.shape[-2:]), hint="pass (B, H, W)")
    batch, height, width = depth_m.shape
    if isinstance(intrinsics, Intrinsics):
        if (intrinsics.height, intrinsics.width) != (height, width):
            raise ShapeMismatch(
                "surface_normals: intrinsics",
                (intrinsics.height, intrinsics.width),
                (height, width),
                hint="use Intrinsics.scaled after resizing the depth",
            )
        intrinsics = depth_m.new_tensor(
            [[intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy]], dtype=torch.float32
        )
    elif intrinsics.shape != (batch, 4):
        raise ShapeMismatch(
            "surface_normals: intrinsics", intrinsics.shape, (batch, 4), hint="pass fx, fy, cx, cy for each image"
        )
    focal, center = intrinsics.float()[:, :, None, None].split(2, dim=1)
    u = torch.arange(width, device=depth_m.device).expand(height, width)
    v = torch.arange(height, device=depth_m.device)[:, None].expand(height, width)
    return focal, (torch.stack((u, v)) - center) / focal


def _gradient(x: Tensor, dim: int) -> Tensor:
    """Central difference per pixel, one-sided where a neighbor is NaN or outside, NaN where both are; same shape."""
    step = x.diff(dim=dim)
    gap = torch.full_like(x.narrow(dim, 0, 1), torch.nan)
    return torch.stack((torch.cat((step, gap), dim), torch.cat((gap, step), dim))).nanmean(dim=0)


def _nz_of_neighbors(slopes: Tensor, points: Tensor) -> Tensor:
    """nz from each neighbor's step.

    Args:
        slopes: nx and ny, (B, 2, H, W).
        points: X, Y, Z, NaN where invalid, (B, 3, H, W).

    Returns:
        (8, B, 1, H, W), NaN where a neighbor is invalid or at the same depth, or the gradient is 0.
    """
    height, width = points.shape[-2:]
    padded = F.pad(points, (1, 1, 1, 1), value=torch.nan)
    shifts = [(row, column) for row in range(3) for column in range(3) if (row, column) != (1, 1)]
    steps = torch.stack([padded[..., v : v + height, u : u + width] for v, u in shifts]) - points
    across, along = steps.split((2, 1), dim=2)
    nz = -(slopes * across).sum(dim=2, keepdim=True) / along
    usable = (along.abs() > _MIN_RELATIVE_STEP * points[:, 2:]) & (slopes != 0).any(dim=1, keepdim=True)
    return torch.where(usable, nz, torch.nan)
