# SPDX-License-Identifier: Apache-2.0
"""From true light and depth to what an RGB-D camera reports. H and W are the image's."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg.frame import Intrinsics
from road_kd_seg.synthetic import textures
from road_kd_seg.synthetic.arrays import F32, U8, f32, to_u8
from road_kd_seg.synthetic.stereo_faults import StereoFaults, add_specks, add_waves, let_borders_fly, lose

_BASELINE_M = 0.095
"""Between the infrared cameras of a D455."""
_DISPARITY_STEP_PX = 1 / 32
_MATCH_WINDOW_PX = 5
_DEPTH_FIELD_TAN = (0.949, 0.554)
"""Half the depth sensor's field of view (87 x 58 degrees), which is a little less than the color sensor's."""
_FARTHEST_M = 30.0


@dataclass(frozen=True, slots=True)
class SensorLook:
    """One camera's character, the same along a drive."""

    exposure: float
    """Brightness of the median pixel relative to a well exposed image."""
    white_balance: tuple[float, float, float]
    contrast: float
    vignetting: float
    """Loss of light in the corners, 0 to 1."""
    blur_px: float
    motion_px: int
    """Length of the smear at the bottom of a 1024 px wide image."""
    noise: float
    """Deviation in gray values of 255."""
    disparity_noise_px: float
    """Deviation of a match in a 1024 px wide image."""
    hole_share: float
    """Of matches on the road lost for no visible reason."""
    baseline_m: float = _BASELINE_M
    """Between the infrared cameras."""
    faults: StereoFaults | None = None
    """None: depth has its fine noise and holes only."""


def draw_sensor_look(rng: np.random.Generator, *, mean_exposure: float = 1.0) -> SensorLook:
    """A camera that is a little better or worse than the last."""
    tint = 1 + rng.normal(0, 0.035)
    return SensorLook(
        exposure=mean_exposure * float(np.exp(rng.normal(0.0, 0.22))),
        white_balance=(tint, 1.0, 2 - tint + rng.normal(0, 0.015)),
        contrast=rng.uniform(0.8, 1.15),
        vignetting=rng.uniform(0.05, 0.3),
        blur_px=rng.uniform(0.0, 0.9),
        motion_px=int(rng.integers(0, 7)),
        noise=rng.uniform(1.0, 4.5),
        disparity_noise_px=rng.uniform(0.05, 0.12),
        hole_share=rng.uniform(0.0, 0.02),
    )


def expose(light: F32, look: SensorLook, rng: np.random.Generator) -> U8:
    """(H, W, 3) linear light → the 8-bit image."""
    height, width = light.shape[:2]
    scale = width / 1024
    # Metering looks at the lower two thirds, as a driver's camera should: the sky may burn out.
    metered = float(np.median(light[height // 3 :: 8, ::8, 1]))
    gain = np.array(look.white_balance, np.float32) * np.float32(0.20 * look.exposure / max(metered, 1e-3))
    corners = _vignette(height, width, look.vignetting)
    image = f32(cv2.merge([light[..., channel] * (corners * gain[channel]) for channel in range(3)]))
    motion = round(look.motion_px * scale)
    if motion > 1:
        smeared = f32(cv2.blur(image, (1, motion)))
        smeared -= image
        smeared *= np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
        image += smeared
    if look.blur_px * scale > 0.25:
        image = f32(cv2.GaussianBlur(image, (0, 0), look.blur_px * scale))
    _tone(image, look.contrast)
    noise = _noise(rng, height, width)
    noise *= np.float32(look.noise)
    image *= 255
    image += noise
    image += np.float32(0.5)
    return to_u8(image)


def _tone(image: F32, contrast: float) -> None:
    """Linear light → displayed brightness, both 1 for white, in place."""
    np.clip(image, 0, 4, out=image)
    np.sqrt(image, out=image)
    # Contrast about the middle gray, then a soft shoulder so that highlights keep their form.
    image *= np.float32(contrast)
    image += np.float32(0.45 * (1 - contrast))
    bright = image > 0.75
    image[bright] = np.float32(0.75) + np.float32(0.25) * np.tanh((image[bright] - np.float32(0.75)) * 3)


def _vignette(height: int, width: int, loss: float) -> F32:
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * np.float32(height / width)
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    return f32(1 - np.float32(loss) * (x * x + y * y) / np.float32(1 + (height / width) ** 2))


def _noise(rng: np.random.Generator, height: int, width: int) -> F32:
    """(H, W, 3) mostly gray noise, cut at random from a fixed sheet."""
    sheet = textures.white_noise()
    rows = -(-height // sheet.shape[0])
    columns = -(-2 * width // sheet.shape[1])
    if rows > 1 or columns > 1:
        sheet = np.tile(sheet, (rows + 1, columns + 1))
    out = np.empty((height, width, 3), np.float32)
    for channel in range(3):
        top, left = rng.integers(0, sheet.shape[0] - height + 1), rng.integers(0, sheet.shape[1] - width + 1)
        out[..., channel] = sheet[top : top + height, left : left + width]
    return out


def measure_depth(
    depth_m: F32, hole_chance: F32, camera: Intrinsics, look: SensorLook, rng: np.random.Generator
) -> F32:
    """True depth → what stereo matching makes of it, aligned to the color image.

    Noise is that of disparity: correlated over the matching window, so that its error in depth grows with z². Nearer
    surfaces grow over their borders, and what the second camera cannot see is lost, as are wet, far and random places.

    Args:
        depth_m: (H, W), inf where there is nothing.
        hole_chance: (H, W), 0 to 1.
        camera: the color camera.
        look: noise level and share of holes.
        rng: draws this frame's noise.

    Returns:
        (H, W) meters, whole millimeters, 0 where nothing was measured.
    """
    height, width = depth_m.shape
    focal_baseline = np.float32(camera.fx * look.baseline_m)
    scale = width / 1024
    true_px = focal_baseline / depth_m
    window = max(3, round(_MATCH_WINDOW_PX * scale) | 1)
    smooth_px = cv2.blur(true_px, (window, window))
    grown_px = cv2.dilate(true_px, np.ones((window, window), np.uint8))
    is_border = grown_px - true_px > np.float32(0.6 * scale) + np.float32(0.06) * true_px
    disparity_px = np.where(is_border, grown_px, smooth_px)
    noise_px = _correlated_noise(rng, height, width) * np.float32(look.disparity_noise_px * scale)
    disparity_px += noise_px
    if look.faults is not None:
        add_waves(disparity_px, look.faults, rng)
        let_borders_fly(disparity_px, smooth_px, is_border, look.faults, rng)
    step = np.float32(_DISPARITY_STEP_PX * scale)
    disparity_px = np.rint(disparity_px / step) * step
    lost = _occluded(true_px, scale)
    lost |= _surface_fails(depth_m, hole_chance, look, rng)
    lost |= _out_of_field(camera)
    lost |= disparity_px < focal_baseline / np.float32(_FARTHEST_M)
    measured_m = focal_baseline / np.maximum(disparity_px, step)
    measured_m = np.rint(measured_m * 1000) * np.float32(0.001)
    if look.faults is not None:
        lost |= lose(depth_m, look.faults, rng)
    measured_m[lost] = 0
    if look.faults is not None:
        add_specks(measured_m, look.faults, rng)
    return f32(measured_m)


def _correlated_noise(rng: np.random.Generator, height: int, width: int) -> F32:
    """(H, W) of unit deviation: matches share most of their window with their neighbors."""
    small = rng.standard_normal((-(-height // 3), -(-width // 3)), dtype=np.float32)
    coarse = rng.standard_normal((-(-height // 14), -(-width // 14)), dtype=np.float32)
    noise = cv2.resize(cv2.GaussianBlur(small, (0, 0), 0.7), (width, height))
    noise += np.float32(0.35) * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return f32(noise / max(float(noise.std()), 1e-6))


def _occluded(disparity_px: F32, scale: float) -> NDArray[np.bool_]:
    """What lies just left of something nearer is hidden from the second camera."""
    lost = np.zeros(disparity_px.shape, bool)
    for shift in sorted({max(1, round(k * scale)) for k in (2, 4, 6, 9, 12, 16, 20, 25)}):
        lost[:, :-shift] |= disparity_px[:, shift:] - disparity_px[:, :-shift] > shift
    return lost


def _surface_fails(depth_m: F32, hole_chance: F32, look: SensorLook, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Blotchy holes: more with distance, on what is wet, and a few anywhere."""
    height, width = depth_m.shape
    field = cv2.resize(rng.random((-(-height // 5), -(-width // 5)), dtype=np.float32), (width, height))
    far = np.clip((depth_m - np.float32(7)) * np.float32(1 / 16), 0, 1)
    # The interpolated field is crowded around 0.5; this maps a share to the quantile, closely enough for holes.
    chance = np.maximum(np.maximum(far, np.float32(0.75) * hole_chance), np.float32(look.hole_share))
    quantile = np.sqrt(chance * np.float32(0.5)) * np.where(chance > 0.5, np.float32(1.1), np.float32(0.95))
    return np.asarray(field < quantile, bool)


def _out_of_field(camera: Intrinsics) -> NDArray[np.bool_]:
    u = np.abs(np.arange(camera.width) - camera.cx) / camera.fx > _DEPTH_FIELD_TAN[0]
    v = np.abs(np.arange(camera.height) - camera.cy) / camera.fy > _DEPTH_FIELD_TAN[1]
    return np.asarray(v[:, None] | u[None, :], bool)
