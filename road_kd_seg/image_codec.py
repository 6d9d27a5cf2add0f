# SPDX-License-Identifier: Apache-2.0
"""The pixels of a sensor_msgs/Image or CompressedImage → NumPy arrays. Bags and live messages share it.

Knows the messages' fields, not ROS: takes them as they stand, honors row padding and byte order, and raises FrameError
for a message whose fields contradict each other. `data` is anything with the buffer protocol (bytes, array.array,
ndarray of uint8). The result is C-contiguous and writable; where no byte has to move it aliases `data`. H W image size.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg.compressed_image import decode_compressed_color, decode_compressed_depth, decode_compressed_label
from road_kd_seg.errors import FrameError, shown


class ColorEncoding(NamedTuple):
    """How the pixels of one encoding lie, and how they become RGB."""

    channels: int
    """Numbers per pixel."""
    to_rgb: int | None = None
    """OpenCV's conversion; None where it is RGB already."""
    dtype: str = "u1"
    """Of each number; `u2` is scaled to 8 bits by 1/257 after the conversion, as cv_bridge does."""


_BAYER = {
    # OpenCV names a pattern by its second row's second and third pixel, ROS by its first two rows.
    "rggb": cv2.COLOR_BayerBG2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
}

COLOR_ENCODINGS: dict[str, ColorEncoding] = {
    "rgb8": ColorEncoding(3),
    "bgr8": ColorEncoding(3, cv2.COLOR_BGR2RGB),
    "rgba8": ColorEncoding(4, cv2.COLOR_RGBA2RGB),
    "bgra8": ColorEncoding(4, cv2.COLOR_BGRA2RGB),
    "mono8": ColorEncoding(1, cv2.COLOR_GRAY2RGB),
    "8UC1": ColorEncoding(1, cv2.COLOR_GRAY2RGB),
    "8UC3": ColorEncoding(3, cv2.COLOR_BGR2RGB),
    "8UC4": ColorEncoding(4, cv2.COLOR_BGRA2RGB),
    "yuv422_yuy2": ColorEncoding(2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": ColorEncoding(2, cv2.COLOR_YUV2RGB_YUY2),
    "yuv422": ColorEncoding(2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": ColorEncoding(2, cv2.COLOR_YUV2RGB_UYVY),
    "YUYV": ColorEncoding(2, cv2.COLOR_YUV2RGB_YUY2),  # the RealSense SDK's recordings
    "rgb16": ColorEncoding(3, None, "u2"),
    "bgr16": ColorEncoding(3, cv2.COLOR_BGR2RGB, "u2"),
    "rgba16": ColorEncoding(4, cv2.COLOR_RGBA2RGB, "u2"),
    "bgra16": ColorEncoding(4, cv2.COLOR_BGRA2RGB, "u2"),
    "mono16": ColorEncoding(1, cv2.COLOR_GRAY2RGB, "u2"),
    **{f"bayer_{pattern}8": ColorEncoding(1, conversion) for pattern, conversion in _BAYER.items()},
    **{f"bayer_{pattern}16": ColorEncoding(1, conversion, "u2") for pattern, conversion in _BAYER.items()},
}
"""Encodings without a fixed meaning (8UC3) are taken as OpenCV's: blue first."""

DEPTH_ENCODINGS: dict[str, str] = {"16UC1": "u2", "mono16": "u2", "16SC1": "i2", "32FC1": "f4", "64FC1": "f8"}
"""Encoding → NumPy type. Integers are millimeters, floats are meters (REP 118)."""

LABEL_ENCODINGS = ("mono8", "8UC1")


def rgb_from_message(message: Any) -> NDArray[np.uint8]:
    """The RGB image, uint8 (H, W, 3), of an Image or a CompressedImage.

    Raises:
        FrameError: an unsupported encoding or codec, or fields that contradict each other.
    """
    if hasattr(message, "format"):
        return decode_compressed_color(message.format, message.data)
    return decode_color(*_fields(message))


def depth_from_message(message: Any, size: tuple[int, int] | None = None) -> NDArray[np.float32]:
    """The depth in meters, float32 (H, W), 0 where invalid, of an Image or a CompressedImage.

    Args:
        message: anything with the fields of either.
        size: (H, W) that a compressed one must have, checked before it is decoded; None: any.

    Raises:
        FrameError: an unsupported encoding or codec, or fields that contradict each other.
    """
    if hasattr(message, "format"):
        return decode_compressed_depth(message.format, message.data, size)
    return decode_depth(*_fields(message))


def millimeters_from_message(message: Any) -> NDArray[np.uint16] | None:
    """The depth of an Image that holds millimeters in 16 unsigned bits, (H, W), without a copy; None for any other.

    Raises:
        FrameError: as `depth_from_message`.
    """
    if getattr(message, "encoding", "") not in ("16UC1", "mono16") or message.is_bigendian:
        return None
    encoding, height, width, step, _, data = _fields(message)
    return _rows("depth image", encoding, height, width, step, 2, data).view("<u2")


def label_from_message(message: Any) -> NDArray[np.uint8]:
    """The class ids, uint8 (H, W), of an Image or a CompressedImage.

    Raises:
        FrameError: an unsupported encoding or codec, or fields that contradict each other.
    """
    if hasattr(message, "format"):
        return decode_compressed_label(message.format, message.data)
    return decode_label(*_fields(message))


def decode_color(encoding: str, height: int, width: int, step: int, is_bigendian: int, data: Any) -> NDArray[np.uint8]:
    """A color or gray image as RGB, uint8 (H, W, 3).

    Raises:
        FrameError: another encoding, or `height`, `width`, `step` and `data` disagree.
    """
    if encoding not in COLOR_ENCODINGS:
        raise FrameError(f"color image: encoding {shown(encoding)}, expected one of {', '.join(COLOR_ENCODINGS)}")
    channels, conversion, kind = COLOR_ENCODINGS[encoding]
    if channels == 2 and width % 2:
        raise FrameError(
            f"color image: {encoding} with a width of {width}: two pixels share their chroma, expected an even width"
        )
    if encoding.startswith("bayer") and (width < 2 or height < 2):
        raise FrameError(f"color image: {encoding} of {width}x{height} pixels, expected at least 2x2")
    dtype = _dtype(kind, is_bigendian)
    rows = _rows("color image", encoding, height, width, step, channels * dtype.itemsize, data)
    pixels = rows.view(dtype).reshape(height, width, channels).astype(kind, copy=False)
    rgb = pixels if conversion is None else cv2.cvtColor(pixels, conversion)
    if rgb.dtype != np.uint8:
        rgb = np.rint(rgb * np.float32(1 / 257)).astype(np.uint8)
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
            f"depth image: encoding {shown(encoding)}, expected 16UC1, mono16 or 16SC1 (millimeters),"
            " or 32FC1 or 64FC1 (meters)"
        )
    dtype = _dtype(DEPTH_ENCODINGS[encoding], is_bigendian)
    raw = _rows("depth image", encoding, height, width, step, dtype.itemsize, data).view(dtype)
    if dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is no distance
            meters = raw.astype(np.float32, copy=False)
        return np.where(np.isfinite(meters) & (meters > 0), meters, np.float32(0))
    depth_m: NDArray[np.float32] = np.divide(raw, np.float32(1000), dtype=np.float32)
    return depth_m if dtype.kind == "u" else np.maximum(depth_m, 0)


def decode_label(encoding: str, height: int, width: int, step: int, is_bigendian: int, data: Any) -> NDArray[np.uint8]:
    """A map of class ids or a mask, uint8 (H, W).

    Raises:
        FrameError: another encoding, or `height`, `width`, `step` and `data` disagree.
    """
    if encoding not in LABEL_ENCODINGS:
        raise FrameError(f"label image: encoding {shown(encoding)}, expected mono8 with one class id per pixel")
    return np.require(_rows("label image", encoding, height, width, step, 1, data), np.uint8, ("C", "W"))


def _fields(image: Any) -> tuple[str, int, int, int, int, Any]:
    return image.encoding, image.height, image.width, image.step, image.is_bigendian, image.data


def _dtype(kind: str, is_bigendian: int) -> np.dtype[Any]:
    return np.dtype(("<", ">")[bool(is_bigendian)] + kind)


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
