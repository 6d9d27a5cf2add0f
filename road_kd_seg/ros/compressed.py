"""Images as image_transport compresses them: JPEG or PNG color, and PNG depth behind a 12-byte header."""

from __future__ import annotations

import math
import struct

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage

from road_kd_seg.errors import FrameError, shown
from road_kd_seg.image_file import decode_image, decode_rgb

_DEPTH_HEADER = struct.Struct("<iff")
"""compressed_depth_image_transport's ConfigHeader: format, and the quantization parameters A and B of 32FC1."""


def rgb_from_compressed(msg: CompressedImage) -> NDArray[np.uint8]:
    """A JPEG or PNG color image as RGB, uint8 (H, W, 3).

    Raises:
        FrameError: the data is no such image.
    """
    return decode_rgb(msg.data, f"compressed color image of format {shown(msg.format)}")


def depth_from_compressed(msg: CompressedImage, size: tuple[int, int] | None = None) -> NDArray[np.float32]:
    """A compressedDepth image as meters, float32 (H, W), 0 where invalid.

    16UC1 is millimeters. 32FC1 is quantized inverse depth: z = A / (value - B).

    Args:
        msg: the message.
        size: (H, W) of the color image that it belongs to; None: any.

    Raises:
        FrameError: the format is not compressedDepth, the data is no PNG of 16 bits and this size, or A or B is no
            number that a depth follows from.
    """
    what = f"compressed depth image of format {shown(msg.format)}"
    if "compressedDepth" not in msg.format or "rvl" in msg.format.lower():
        raise FrameError(
            f"{what}: expected '16UC1; compressedDepth png': publish it with compressed_depth_image_transport (png)"
        )
    if len(msg.data) <= _DEPTH_HEADER.size:
        raise FrameError(
            f"{what}: data has {len(msg.data)} bytes, expected a 12-byte header and a PNG: it was cut short"
        )
    _, a, b = _DEPTH_HEADER.unpack_from(msg.data)
    raw = decode_image(memoryview(msg.data)[_DEPTH_HEADER.size :], what, size)
    if raw.dtype != np.uint16 or raw.ndim != 2:
        raise FrameError(f"{what}: it holds {raw.dtype} with {raw.ndim} axes, expected one channel of 16 bits")
    if msg.format.startswith("32FC1"):
        if not (math.isfinite(a) and math.isfinite(b) and a > 0):
            raise FrameError(f"{what}: quantization A {a} and B {b}, expected finite numbers and A above 0")
        return _from_inverse(raw, a, b)
    depth_m: NDArray[np.float32] = np.divide(raw, np.float32(1000), dtype=np.float32)
    return depth_m


def _from_inverse(raw: NDArray[np.uint16], a: float, b: float) -> NDArray[np.float32]:
    """Meters from quantized inverse depth; 0 stands for no measurement."""
    inverse = raw.astype(np.float32) - np.float32(b)
    valid = (raw > 0) & (inverse > 0)
    depth_m: NDArray[np.float32] = np.zeros(raw.shape, np.float32)
    with np.errstate(over="ignore"):
        np.divide(np.float32(a), inverse, out=depth_m, where=valid)
    depth_m[~np.isfinite(depth_m)] = 0
    return depth_m
