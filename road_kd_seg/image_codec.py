"""The bytes of a sensor_msgs/Image → NumPy arrays. Knows its fields, not ROS: bags and live messages share it.

Every function takes the fields as they stand in the message, honors row padding and byte order, and raises
FrameError for a message whose fields contradict each other. `data` is anything with the buffer protocol (bytes,
array.array, ndarray of uint8). The result is C-contiguous and writable; where no byte has to move it aliases `data`.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg.errors import FrameError

COLOR_ENCODINGS: dict[str, tuple[int, int | None]] = {
    "rgb8": (3, None),
    "bgr8": (3, cv2.COLOR_BGR2RGB),
    "rgba8": (4, cv2.COLOR_RGBA2RGB),
    "bgra8": (4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, cv2.COLOR_GRAY2RGB),
    "yuv422_yuy2": (2, cv2.COLOR_YUV2RGB_YUY2),
}
"""Encoding → (bytes per pixel, OpenCV's conversion to RGB; None where it is RGB already)."""

DEPTH_ENCODINGS: dict[str, str] = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}
"""Encoding → NumPy type. Unsigned integers are millimeters, floats are meters (REP 118)."""

LABEL_ENCODINGS = ("mono8", "8UC1")


def decode_color(encoding: str, height: int, width: int, step: int, is_bigendian: int, data: Any) -> NDArray[np.uint8]:
    """A color or gray image as RGB, uint8 (H, W, 3).

    Raises:
        FrameError: another encoding, or `height`, `width`, `step` and `data` disagree.
    """
    if encoding not in COLOR_ENCODINGS:
        raise FrameError(f"color image: encoding {encoding!r}, expected one of {', '.join(COLOR_ENCODINGS)}")
    channels, conversion = COLOR_ENCODINGS[encoding]
    if encoding == "yuv422_yuy2" and width % 2:
        raise FrameError(
            f"color image: yuv422_yuy2 with a width of {width}: two pixels share their chroma, expected an even width"
        )
    pixels = _rows("color image", encoding, height, width, step, channels, data).reshape(height, width, channels)
    rgb = pixels if conversion is None else cv2.cvtColor(pixels, conversion)
    return np.require(rgb, np.uint8, ("C", "W"))


def decode_depth(
    encoding: str, height: int, width: int, step: int, is_bigendian: int, data: Any
) -> NDArray[np.float32]:
    """A depth image in meters, float32 (H, W); 0 wherever the sensor saw nothing (0, negative, NaN or infinite).

    Raises:
        FrameError: another encoding, or `height`, `width`, `step` and `data` disagree.
    """
    if encoding not in DEPTH_ENCODINGS:
        raise FrameError(
            f"depth image: encoding {encoding!r}, expected 16UC1 or mono16 (millimeters) or 32FC1 (meters)"
        )
    dtype = np.dtype(("<", ">")[bool(is_bigendian)] + DEPTH_ENCODINGS[encoding])
    raw = _rows("depth image", encoding, height, width, step, dtype.itemsize, data).view(dtype)
    if dtype.kind == "u":
        depth_m: NDArray[np.float32] = np.divide(raw, np.float32(1000), dtype=np.float32)
    else:
        depth_m = np.where(np.isfinite(raw) & (raw > 0), raw, 0).astype(np.float32, copy=False)
    return depth_m


def decode_label(encoding: str, height: int, width: int, step: int, is_bigendian: int, data: Any) -> NDArray[np.uint8]:
    """A map of class ids or a mask, uint8 (H, W).

    Raises:
        FrameError: another encoding, or `height`, `width`, `step` and `data` disagree.
    """
    if encoding not in LABEL_ENCODINGS:
        raise FrameError(f"label image: encoding {encoding!r}, expected mono8 with one class id per pixel")
    return np.require(_rows("label image", encoding, height, width, step, 1, data), np.uint8, ("C", "W"))


def _rows(
    what: str, encoding: str, height: int, width: int, step: int, pixel_bytes: int, data: Any
) -> NDArray[np.uint8]:
    """The image's bytes without row padding, C-contiguous uint8 (H, W * pixel_bytes)."""
    row_bytes = width * pixel_bytes
    if height <= 0 or width <= 0:
        raise FrameError(f"{what}: it is {width}x{height} pixels, expected at least one")
    if step < row_bytes:
        raise FrameError(
            f"{what}: step is {step} bytes, but {width} pixels of {encoding} take {row_bytes}:"
            " whatever wrote the message filled it wrongly"
        )
    buffer = np.frombuffer(data, np.uint8)
    if buffer.size < step * height:
        raise FrameError(
            f"{what}: data holds {buffer.size} bytes, expected {step * height} (step {step} x height {height}):"
            " the message was cut short"
        )
    return np.ascontiguousarray(buffer[: step * height].reshape(height, step)[:, :row_bytes])
