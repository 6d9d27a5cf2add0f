# SPDX-License-Identifier: Apache-2.0
"""The road plane in a depth image, and what lies above or below it.

A plane is linear in inverse depth, 1/z = a·u + b·v + c, for any pinhole camera.

B batch, h w image size, N sampled points, M plane hypotheses.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

PLANE_TOLERANCE_PER_M = 0.01
"""|1/z - plane| in 1/m up to which a point counts as road while the plane is being found: several times the noise of
a D455 (0.15 px of disparity), and less than half of a 5 cm pothole two meters ahead."""

MIN_RELATIVE_SLOPE = 0.05
"""Least growth of 1/z from the middle of the image to its bottom, as a share of its value in the middle, for a plane to
be a road ahead: cot(pitch)·tan(vertical field of view / 2), so a road seen at a pitch of less than about 85 degrees."""

MIN_FRONTAL_SUPPORT = 0.5
"""Share of the valid points that a plane across the view needs to be a road, seen by a camera that looks straight down.
A wall that fills the view looks the same, and leaves the same residual as no plane: 0."""

MIN_CORNER_SPREAD = 0.2
"""|det| of a hypothesis' three points, twice their triangle's area in [-1, 1]²: small ones extrapolate noise. Relative
to the mean of a frame's hypotheses, so that a frame whose valid points lie close together has hypotheses, too."""

MIN_DEPTH_M = 1e-6

_NUM_HYPOTHESES = 192
NUM_REFINEMENTS = 3
"""Of the best hypothesis, by reweighted least squares: enough for the weights to converge."""

_SCORE_STRIDE = 2
"""Hypotheses are scored on every second row and column of the sampled points: measured as good as on all of them."""


def plane_residual(inverse_depth: Tensor, plane: Tensor | None = None) -> Tensor:
    """What lies above (positive) or below (negative) the road plane, in inverse depth.

    Args:
        inverse_depth: 1/z in 1/m, 0 where invalid, (B, h, w).
        plane: a, b, c with u and v in [-1, 1] over this image, (B, 3), zeros where there is none; None: fit it here.

    Returns:
        1/z minus the fitted plane, 1/m, (B, h, w); 0 where invalid. Without a plane (no valid depth), 0 everywhere.
    """
    plane, found = fit_road_plane(inverse_depth) if plane is None else (plane, plane.any(-1))
    fitted = plane_inverse_depth(plane, inverse_depth.shape[-2], inverse_depth.shape[-1])
    # Masks are multiplied as floats: on a CPU, torch.where takes ten times as long.
    return fitted.neg_().add_(inverse_depth).mul_(inverse_depth.sign().mul_(found[:, None, None]))


def relative_height(depth_m: Tensor, plane: Tensor | None = None) -> Tensor:
    """Height above the road plane in camera heights, 1 - (1/z of the plane) / (1/z).

    Camera height and the scale of depth cancel out: a pothole gives the same number at every distance and from every
    mast. Stereo's noise grows with distance in it, where `plane_residual`'s does not.

    Args:
        depth_m: z in m, 0 where invalid, (B, h, w).
        plane: as in `plane_residual`.

    Returns:
        0 on the plane, 1 at the camera's height, negative below the road, (B, h, w); 0 where invalid or without a
        plane.
    """
    height, width = depth_m.shape[-2:]
    plane, found = _fit(inverse_of(_sampled(depth_m)), height, width) if plane is None else (plane, plane.any(-1))
    fitted = plane_inverse_depth(plane, height, width)
    return torch.addcmul(depth_m.sign().mul_(found[:, None, None]), fitted, depth_m, value=-1, out=fitted)


def inverse_of(depth_m: Tensor) -> Tensor:
    """1/z in 1/m of valid depth z in m; 0 where that is 0."""
    return depth_m.sign().div_(depth_m.clamp(min=MIN_DEPTH_M))


def plane_inverse_depth(plane: Tensor, height: int, width: int) -> Tensor:
    """1/z of planes (B, 3) at every pixel, (B, h, w)."""
    u, v = _axes(height, width, plane.device)
    a, b, c = plane[:, :, None, None].unbind(1)  # (B, 1, 1) each
    return a * u + (b * v[:, None] + c)


def fit_road_plane(inverse_depth: Tensor) -> tuple[Tensor, Tensor]:
    """The plane that most of the image's lower two thirds agree on.

    MSAC over fixed random triplets of the valid points, then reweighted least squares. Shapes do not depend on the
    data and nothing synchronizes a device. Only planes that come nearer towards the bottom of the image count, so that
    a wall cannot pass for the road, or planes across the view that nearly everything agrees on.

    Args:
        inverse_depth: 1/z in 1/m, 0 where invalid, (B, h, w).

    Returns:
        (a, b, c) with u and v in [-1, 1] over the image, (B, 3); and whether a plane was found, (B,) bool.
    """
    return _fit(_sampled(inverse_depth), inverse_depth.shape[-2], inverse_depth.shape[-1])


def _sampled(image: Tensor) -> Tensor:
    """(B, h, w) at the sampled points, (B, N)."""
    return image.flatten(1)[:, samples(image.shape[-2], image.shape[-1], image.device)[0]].float()


def _fit(target: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """`fit_road_plane` to 1/z at the sampled points of images of this size, (B, N)."""
    _, points, scored = samples(height, width, target.device)
    usable = target.sign()  # 1 or 0: floats, that products take

    planes, plausible = _hypotheses(points, target, usable)  # (B, M, 3), (B, M)
    # The errors of all hypotheses at all points as one product.
    errors = torch.baddbmm(target[:, None, scored], planes, points[scored].T.expand(len(target), -1, -1), beta=-1)
    inliers = torch.addcmul(_one(points.device), errors, errors, value=-1 / PLANE_TOLERANCE_PER_M**2).relu_()
    counted = usable[:, scored]
    score = (inliers @ counted[..., None])[..., 0]
    slope, limit = planes[..., 1], MIN_RELATIVE_SLOPE * planes[..., 2].abs()
    score = score - MIN_FRONTAL_SUPPORT * counted.sum(1, keepdim=True) * (slope <= limit)
    best_score, best = torch.where(plausible & (slope >= -limit), score, -1).max(dim=1)
    plane = planes.gather(1, best[:, None, None].expand(-1, 1, 3))[:, 0]

    for _ in range(NUM_REFINEMENTS):
        error = torch.addmm(target, plane, points.T, alpha=-1)
        inlier = torch.addcmul(usable, error, error, value=-1 / (2 * PLANE_TOLERANCE_PER_M) ** 2).relu_()
        weighted = points.T * inlier.square_()[:, None]  # (B, 3, N)
        cofactors, determinant = _cofactors(weighted @ points)
        plane = plane + (cofactors @ (weighted @ error[..., None]))[..., 0] / determinant[:, None]
    found = (best_score > 0) & plane.isfinite().all(-1)
    return torch.where(found[:, None], plane, 0), found


def _hypotheses(points: Tensor, target: Tensor, usable: Tensor) -> tuple[Tensor, Tensor]:
    """Planes through three valid points each, (B, M, 3), and which of them are worth a score, (B, M): others may not be
    finite.

    The points' ranks among the valid ones are drawn once and for all; valid points come first in `order`.
    """
    order = torch.argsort(usable, dim=1, descending=True, stable=True)  # (B, N)
    count = usable.sum(1)
    ranks = (draws(points.device) * count[:, None]).long().clamp(max=points.shape[0] - 1)  # (B, 3 M)
    chosen = order.gather(1, ranks)
    corners = points[chosen].unflatten(1, (-1, 3))  # (B, M, 3, 3)
    values = target.gather(1, chosen).unflatten(1, (-1, 3))
    cofactors, spread = _cofactors(corners)
    planes = (cofactors @ values[..., None])[..., 0] / spread[..., None]
    wide = spread.abs() > MIN_CORNER_SPREAD * spread.abs().mean(1, keepdim=True)
    plausible = wide & planes.isfinite().all(-1) & (count >= 3)[:, None]
    return planes, plausible


@lru_cache(maxsize=8)
def _axes(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """u (w,) and v (h,), each in [-1, 1]."""
    return torch.linspace(-1, 1, width, device=device), torch.linspace(-1, 1, height, device=device)


@lru_cache(maxsize=8)
def samples(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Sampled pixels of the lower two thirds, row by row: their flat index (N,), (u, v, 1) (N, 3), and the indices of
    those that hypotheses are scored on (N / 4,)."""
    top = height // 3
    row = torch.linspace(top, height - 1, min(height - top, 40)).round().long()
    column = torch.linspace(0, width - 1, min(width, 64)).round().long()
    u, v = _axes(height, width, torch.device("cpu"))
    vs, us = torch.meshgrid(v[row], u[column], indexing="ij")
    points = torch.stack((us, vs, torch.ones_like(us)), -1).flatten(0, 1)
    pixels = (row[:, None] * width + column).flatten()
    index = torch.arange(len(pixels)).view(len(row), len(column))
    scored = index[::_SCORE_STRIDE, ::_SCORE_STRIDE].flatten()
    return pixels.to(device), points.to(device), scored.to(device)


@lru_cache(maxsize=8)
def _one(device: torch.device) -> Tensor:
    return torch.ones((), device=device)


@lru_cache(maxsize=8)
def draws(device: torch.device) -> Tensor:
    """Ranks of the corners as shares of the valid points, (3 M,): fixed, so that the fit is deterministic.

    Points are ranked from the top row down. One corner comes from the upper half, one from the lower half and one from
    anywhere, which leaves fewer narrow triangles than three from anywhere.
    """
    generator = torch.Generator().manual_seed(0)
    draws = torch.rand(_NUM_HYPOTHESES, 3, generator=generator)
    draws[:, 0] *= 0.5
    draws[:, 1] = 0.5 + 0.5 * draws[:, 1]
    return draws.flatten().to(device)


def _cofactors(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Adjugate and determinant of 3x3 matrices by cross products: no solver call, so nothing synchronizes a device."""
    crossed = torch.linalg.cross(matrix.roll(-1, -2), matrix.roll(-2, -2))  # rows b x c, c x a, a x b
    return crossed.mT, (matrix[..., 0, :] * crossed[..., 0, :]).sum(-1)
