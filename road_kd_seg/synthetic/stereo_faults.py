# SPDX-License-Identifier: Apache-2.0
"""What goes wrong in the depth of a real stereo camera, beside fine noise: waves, blobs, flying pixels, lost rows."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg.synthetic.arrays import F32, f32


@dataclass(frozen=True, slots=True)
class StereoFaults:
    """One camera's faults; pixels are those of a 1024 px wide image."""

    wave_px: float
    """Deviation of disparity errors that neighbors share."""
    wave_size_px: float
    """How far they share it."""
    blob_share: float
    """Of the image lost in large blobs, where matching found no texture."""
    blob_size_px: float
    flying_share: float
    """Of the pixels at the borders of near things that float between near and far."""
    near_limit_m: float
    """Nearer things are lost, and with them the lower rows of a low camera."""
    lost_left: float
    """Share of the columns on the left that the second camera does not see."""
    lost_bottom: float
    """Share of the rows at the bottom without depth."""
    specks: float
    """Number of false near points: drops, flakes, dust."""


def draw_stereo_faults(rng: np.random.Generator, *, specks: float = 0.0) -> StereoFaults:
    """A camera that is good or bad in every respect by itself."""

    def often(share: float, low: float, high: float) -> float:
        """A value in a share of the cameras, 0 in the others."""
        drawn, value = rng.random(), rng.uniform(low, high)
        return value if drawn < share else 0.0

    return StereoFaults(
        wave_px=rng.uniform(0.02, 0.28),
        wave_size_px=rng.uniform(8, 60),
        blob_share=often(0.7, 0.005, 0.12),
        blob_size_px=rng.uniform(14, 70),
        flying_share=often(0.8, 0.1, 0.7),
        near_limit_m=often(0.8, 0.25, 0.6),
        lost_left=often(0.4, 0.01, 0.07),
        lost_bottom=often(0.25, 0.02, 0.15),
        specks=specks,
    )


def add_waves(disparity_px: F32, faults: StereoFaults, rng: np.random.Generator) -> None:
    """Errors that whole regions share, in place; (H, W)."""
    height, width = disparity_px.shape
    scale = width / 1024
    disparity_px += np.float32(faults.wave_px * scale) * _smooth_noise(rng, height, width, faults.wave_size_px * scale)


def let_borders_fly(
    disparity_px: F32, far_px: F32, is_border: NDArray[np.bool_], faults: StereoFaults, rng: np.random.Generator
) -> None:
    """Move some pixels of borders anywhere between the near thing and what is behind it, in place.

    Args:
        disparity_px: (H, W), in which near things have grown over their borders.
        far_px: (H, W), what is behind them.
        is_border: (H, W), where that happened.
        faults: how many.
        rng: which.
    """
    rows, columns = np.nonzero(is_border)
    flies = rng.random(rows.size) < faults.flying_share
    rows, columns = rows[flies], columns[flies]
    share = rng.random(rows.size, dtype=np.float32)
    behind = far_px[rows, columns]
    disparity_px[rows, columns] = behind + share * (disparity_px[rows, columns] - behind)


def lose(depth_m: F32, faults: StereoFaults, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(H, W) what is lost: blobs, what is too near, and borders of the image."""
    height, width = depth_m.shape
    scale = width / 1024
    lost = depth_m < np.float32(faults.near_limit_m)
    if faults.blob_share:
        noise = _smooth_noise(rng, height, width, faults.blob_size_px * scale)
        noise += _smooth_noise(rng, height, width, 6 * faults.blob_size_px * scale)  # holes come in groups
        lost |= noise > np.quantile(noise[::8, ::8], 1 - faults.blob_share)
    lost[:, : round(faults.lost_left * width)] = True
    lost[height - round(faults.lost_bottom * height) :] = True
    return np.asarray(lost, bool)


def add_specks(depth_m: F32, faults: StereoFaults, rng: np.random.Generator) -> None:
    """False near points, in place; (H, W) meters."""
    height, width = depth_m.shape
    for _ in range(round(faults.specks)):
        center = (int(rng.integers(width)), int(rng.integers(height)))
        radius = max(1, round(float(rng.gamma(2.0, 1.5)) * width / 1024))
        cv2.circle(depth_m, center, radius, round(float(rng.uniform(0.35, 3.5)), 3), -1)


def _smooth_noise(rng: np.random.Generator, height: int, width: int, size_px: float) -> F32:
    """(H, W) of about unit deviation that changes over `size_px` pixels."""
    cell = max(2.0, size_px / 2)
    grid = rng.standard_normal((int(height / cell) + 3, int(width / cell) + 3), dtype=np.float32)
    return f32(np.float32(1.3) * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC))
