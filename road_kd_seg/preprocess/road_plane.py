"""The road plane in a depth image, and what lies above or below it.

B batch, h w image size, N sampled points, M plane hypotheses.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

PLANE_TOLERANCE_PER_M = 0.01
"""|1/z - plane| in 1/m up to which a point counts as road while the plane is being found: several times the noise of
a D455 (0.15 px of disparity), and less than half of a 5 cm pothole two meters ahead."""

ROAD_SLOPE_PER_M = 0.05
"""Least growth of 1/z in 1/m from the middle of the image to its bottom for a plane to be a road; seen from a meter
above, a road has 0.2 to 0.6, a wall across the view 0."""


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

    for _ in range(3):  # enough for the weights to converge
        error = target - plane @ points.T
        weight = (1 - (error / (2 * PLANE_TOLERANCE_PER_M)).square()).clamp(min=0).square() * usable
        weighted = points * weight[..., None]  # (B, N, 3)
        normal = weighted.transpose(1, 2) @ points
        plane = (_inverse_3x3(normal) @ (weighted.transpose(1, 2) @ target[..., None]))[..., 0]
    found = (best_score > 0) & plane.isfinite().all(-1)
    return torch.where(found[:, None], plane, 0), found


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
    """Inverse by cross products: no solver call, so nothing synchronizes the device; not finite where singular."""
    a, b, c = matrix.unbind(-2)
    cofactors = torch.stack([torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], -1)
    determinant = (a * cofactors[..., 0]).sum(-1)
    return cofactors / determinant[..., None, None]
