# SPDX-License-Identifier: Apache-2.0
"""The bytes of a sensor_msgs/CompressedImage → NumPy arrays: JPEG or PNG color and labels, PNG or RVL depth.

Knows the message's fields, not ROS: bags and live messages share it. What the data is, its first bytes say; `format` is
only asked where they cannot, because recorders and republishers write it in many ways. H W image size.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.errors import FrameError, shown
from road_kd_seg.image_file import MAX_PIXELS, decode_image, decode_rgb
from road_kd_seg.rvl import decode_rvl

_PNG = b"\x89PNG"
_DEPTH_HEADER = struct.Struct("<iff")
"""compressed_depth_image_transport's ConfigHeader: format, and the quantization parameters A and B of 32FC1."""
_RVL_SIZE = struct.Struct("<ii")


def decode_compressed_color(format_: str, data: Any) -> NDArray[np.uint8]:
    """A JPEG or PNG as RGB, uint8 (H, W, 3).

    Raises:
        FrameError: the data is no such image.
    """
    rgb = decode_rgb(data, f"compressed color image of format {shown(format_)}")
    # image_transport stores BGR, as OpenCV's encoders want it, unless the format says otherwise.
    return np.ascontiguousarray(rgb[..., ::-1]) if "compressed rgb" in format_.lower() else rgb


def decode_compressed_depth(format_: str, data: Any, size: tuple[int, int] | None = None) -> NDArray[np.float32]:
    """A depth image in meters, float32 (H, W), 0 where invalid.

    16UC1 is millimeters. 32FC1 is quantized inverse depth: z = A / (value - B). Both are PNG or RVL behind the header
    of `compressedDepth`; millimeters are also read from a bare 16-bit PNG, as the transport `compressed` writes it.

    Args:
        format_: the message's.
        data: the message's.
        size: (H, W) that the image must have, checked before it is decoded; None: any.

    Raises:
        FrameError: another codec or size, data that is cut short, or A or B from which no depth follows.
    """
    what = f"compressed depth image of format {shown(format_)}"
    content = memoryview(data).cast("B")
    if content[:4] == _PNG:
        return _from_millimeters(_sixteen_bits(content, what, size))
    if len(content) <= _DEPTH_HEADER.size:
        raise FrameError(
            f"{what}: data has {len(content)} bytes, expected a 12-byte header and a PNG: it was cut short"
        )
    _, a, b = _DEPTH_HEADER.unpack_from(content)
    body = content[_DEPTH_HEADER.size :]
    if body[:4] == _PNG:
        raw = _sixteen_bits(body, what, size)
    elif "rvl" in format_.lower():
        raw = _rvl(body, what, size)
    else:
        raise FrameError(
            f"{what}: neither a 16-bit PNG nor RVL: the message was cut short or is of another codec;"
            " expected '16UC1; compressedDepth png' or rvl: publish it with compressed_depth_image_transport"
        )
    if not format_.startswith("32FC1"):
        return _from_millimeters(raw)
    if not (math.isfinite(a) and math.isfinite(b) and a > 0):
        raise FrameError(f"{what}: quantization A {a} and B {b}, expected finite numbers and A above 0")
    return _from_inverse(raw, a, b)


def decode_compressed_label(format_: str, data: Any) -> NDArray[np.uint8]:
    """A PNG of class ids, uint8 (H, W).

    Raises:
        FrameError: a JPEG, whose ids are blurred, or anything but one channel of 8 bits.
    """
    what = f"compressed label image of format {shown(format_)}"
    if bytes(memoryview(data).cast("B")[:4]) != _PNG:
        raise FrameError(f"{what}: expected a PNG: other codecs change class ids")
    label = decode_image(data, what)
    if label.dtype != np.uint8 or label.ndim != 2:
        raise FrameError(f"{what}: it holds {label.dtype} {label.shape}, expected one channel of 8 bits")
    return np.require(label, np.uint8, ("C", "W"))


def _rvl(body: memoryview, what: str, size: tuple[int, int] | None) -> NDArray[np.uint16]:
    if len(body) <= _RVL_SIZE.size:
        raise FrameError(f"{what}: {len(body)} bytes of RVL: it was cut short")
    width, height = _RVL_SIZE.unpack_from(body)
    if width <= 0 or height <= 0 or width * height > MAX_PIXELS:
        raise FrameError(f"{what}: RVL of {width}x{height} pixels: the message is damaged")
    if size is not None and (height, width) != size:
        raise FrameError(f"{what}: {width}x{height} pixels, expected {size[1]}x{size[0]}")
    return decode_rvl(body[_RVL_SIZE.size :], height, width)


def _sixteen_bits(data: memoryview, what: str, size: tuple[int, int] | None) -> NDArray[np.uint16]:
    raw = decode_image(data, what, size)
    if raw.dtype != np.uint16 or raw.ndim != 2:
        raise FrameError(f"{what}: it holds {raw.dtype} with {raw.ndim} axes, expected one channel of 16 bits")
    return raw


def _from_millimeters(raw: NDArray[np.uint16]) -> NDArray[np.float32]:
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
