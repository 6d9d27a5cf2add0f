"""Images as image_transport compresses them: JPEG or PNG color, and PNG depth behind a 12-byte header."""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage

from road_kd_seg.errors import FrameError

_DEPTH_HEADER = struct.Struct("<iff")
"""compressed_depth_image_transport's ConfigHeader: format, and the quantization parameters A and B of 32FC1."""


def rgb_from_compressed(msg: CompressedImage) -> NDArray[np.uint8]:
    """A JPEG or PNG color image as RGB, uint8 (H, W, 3).

    Raises:
        FrameError: the data is no such image.
    """
    bgr = _decode(memoryview(msg.data), cv2.IMREAD_COLOR, f"compressed color image of format '{msg.format}'")
    return np.require(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8, ("C", "W"))


def depth_from_compressed(msg: CompressedImage) -> NDArray[np.float32]:
    """A compressedDepth image as meters, float32 (H, W), 0 where invalid.

    16UC1 is millimeters. 32FC1 is quantized inverse depth: z = A / (value - B).

    Raises:
        FrameError: the format is not compressedDepth, or the data is no PNG of 16 bits.
    """
    what = f"compressed depth image of format '{msg.format}'"
    if "compressedDepth" not in msg.format or "rvl" in msg.format.lower():
        raise FrameError(
            f"{what}: expected '16UC1; compressedDepth png': publish it with compressed_depth_image_transport (png)"
        )
    if len(msg.data) <= _DEPTH_HEADER.size:
        raise FrameError(
            f"{what}: data has {len(msg.data)} bytes, expected a 12-byte header and a PNG: it was cut short"
        )
    _, a, b = _DEPTH_HEADER.unpack_from(msg.data)
    raw = _decode(memoryview(msg.data)[_DEPTH_HEADER.size :], cv2.IMREAD_UNCHANGED, what)
    if raw.dtype != np.uint16 or raw.ndim != 2:
        raise FrameError(f"{what}: it holds {raw.dtype} with {raw.ndim} axes, expected one channel of 16 bits")
    if msg.format.startswith("32FC1"):
        return _from_inverse(raw, a, b)
    depth_m: NDArray[np.float32] = np.divide(raw, np.float32(1000), dtype=np.float32)
    return depth_m


def _from_inverse(raw: NDArray[np.uint16], a: float, b: float) -> NDArray[np.float32]:
    """Meters from quantized inverse depth; 0 stands for no measurement."""
    inverse = raw.astype(np.float32) - np.float32(b)
    valid = (raw > 0) & (inverse > 0)
    depth_m: NDArray[np.float32] = np.zeros(raw.shape, np.float32)
    np.divide(np.float32(a), inverse, out=depth_m, where=valid)
    return depth_m


def _decode(data: memoryview, flags: int, what: str) -> NDArray[Any]:
    try:
        image: NDArray[Any] | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # an empty buffer
        image = None
    if image is None:
        raise FrameError(
            f"{what}: its {len(data)} bytes are no JPEG or PNG: the message was cut short or is of another codec"
        )
    return image
