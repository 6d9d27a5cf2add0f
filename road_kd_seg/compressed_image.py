"""The bytes of a sensor_msgs/CompressedImage → NumPy arrays: JPEG or PNG color and labels, PNG or RVL depth.

Knows the message's fields, not ROS: bags and live messages share it. What the data is, its first bytes say; `format` is
only asked where they cannot, because recorders and republishers write it in many ways. H W image size.
"""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg.errors import FrameError
from road_kd_seg.rvl import decode_rvl

_PNG = b"\x89PNG"
_DEPTH_HEADER = struct.Struct("<iff")
"""compressed_depth_image_transport's ConfigHeader: format, and the quantization parameters A and B of 32FC1."""
_RVL_SIZE = struct.Struct("<ii")
_MAX_RVL_PIXELS = 1 << 24
"""Some bytes of RVL can claim any number of zeros; no depth camera has more pixels than this."""


def decode_compressed_color(format_: str, data: Any) -> NDArray[np.uint8]:
    """A JPEG or PNG as RGB, uint8 (H, W, 3).

    Raises:
        FrameError: the data is no such image.
    """
    image = _decode(data, cv2.IMREAD_COLOR, f"compressed color image of format '{format_}'")
    # image_transport stores BGR, as OpenCV's encoders want it, unless the format says otherwise.
    if "compressed rgb" not in format_.lower():
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return np.require(image, np.uint8, ("C", "W"))


def decode_compressed_depth(format_: str, data: Any) -> NDArray[np.float32]:
    """A depth image in meters, float32 (H, W), 0 where invalid.

    16UC1 is millimeters. 32FC1 is quantized inverse depth: z = A / (value - B). Both are PNG or RVL behind the header
    of `compressedDepth`; millimeters are also read from a bare 16-bit PNG, as the transport `compressed` writes it.

    Raises:
        FrameError: another codec, or data that is cut short.
    """
    what = f"compressed depth image of format '{format_}'"
    content = memoryview(data).cast("B")
    if content[:4] == _PNG:
        return _from_millimeters(_sixteen_bits(content, what))
    if len(content) <= _DEPTH_HEADER.size:
        raise FrameError(
            f"{what}: data has {len(content)} bytes, expected a 12-byte header and a PNG: it was cut short"
        )
    _, a, b = _DEPTH_HEADER.unpack_from(content)
    body = content[_DEPTH_HEADER.size :]
    if body[:4] == _PNG:
        raw = _sixteen_bits(body, what)
    elif "rvl" in format_.lower():
        raw = _rvl(body, what)
    else:
        raise FrameError(
            f"{what}: neither a 16-bit PNG nor RVL: the message was cut short or is of another codec;"
            " expected '16UC1; compressedDepth png' or rvl: publish it with compressed_depth_image_transport"
        )
    return _from_inverse(raw, a, b) if format_.startswith("32FC1") else _from_millimeters(raw)


def decode_compressed_label(format_: str, data: Any) -> NDArray[np.uint8]:
    """A PNG of class ids, uint8 (H, W).

    Raises:
        FrameError: a JPEG, whose ids are blurred, or anything but one channel of 8 bits.
    """
    what = f"compressed label image of format '{format_}'"
    if bytes(memoryview(data).cast("B")[:4]) != _PNG:
        raise FrameError(f"{what}: expected a PNG: other codecs change class ids")
    label = _decode(data, cv2.IMREAD_UNCHANGED, what)
    if label.dtype != np.uint8 or label.ndim != 2:
        raise FrameError(f"{what}: it holds {label.dtype} {label.shape}, expected one channel of 8 bits")
    return np.require(label, np.uint8, ("C", "W"))


def _rvl(body: memoryview, what: str) -> NDArray[np.uint16]:
    if len(body) <= _RVL_SIZE.size:
        raise FrameError(f"{what}: {len(body)} bytes of RVL: it was cut short")
    width, height = _RVL_SIZE.unpack_from(body)
    if width <= 0 or height <= 0 or width * height > _MAX_RVL_PIXELS:
        raise FrameError(f"{what}: RVL of {width}x{height} pixels: the message is damaged")
    return decode_rvl(body[_RVL_SIZE.size :], height, width)


def _sixteen_bits(data: memoryview, what: str) -> NDArray[np.uint16]:
    raw = _decode(data, cv2.IMREAD_UNCHANGED, what)
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
    np.divide(np.float32(a), inverse, out=depth_m, where=valid)
    return depth_m


def _decode(data: Any, flags: int, what: str) -> NDArray[Any]:
    buffer = np.frombuffer(data, np.uint8)
    try:
        image: NDArray[Any] | None = cv2.imdecode(buffer, flags)
    except cv2.error:  # an empty buffer, or a size that OpenCV refuses
        image = None
    if image is None:
        raise FrameError(
            f"{what}: its {buffer.size} bytes are no JPEG or PNG: the message was cut short or is of another codec"
        )
    return image
