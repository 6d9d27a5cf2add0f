# SPDX-License-Identifier: Apache-2.0
"""JPEG and PNG → NumPy arrays. What the header promises is checked before anything is decoded.

Compressed messages, label folders and datasets read their images here. Only these two codecs are read: OpenCV would
take a dozen others, whose decoders nobody asked for. Of a PNG only the chunks that hold pixels reach the decoder (no
compressed text, no color profile, no animation), each with its checksum verified; EXIF orientation is ignored, as
labels and depth have none.
"""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg.errors import FrameError

MAX_PIXELS = 50_000_000
"""Largest image that is decoded: three times what a 16-megapixel camera takes."""
_MAX_SCANS = 64
"""Of a JPEG: each is a pass over the whole image. Progressive ones have about ten."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_JPEG_END = b"\xff\xd9"
_JPEG_SEGMENTS = frozenset(range(0xC0, 0xFF)) - frozenset(range(0xD0, 0xDA))
"""Markers that a length follows. After another one libjpeg would read on where this module would not."""
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_GRAY, _PALETTE = 0, 3
_PNG_BITS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""Bits per sample that each color type may have."""
_WARY_S = 5.0
_PIECE_BYTES = 1 << 20
_HEADER = struct.Struct(">I4sIIBB3BI")
"""A PNG's whole IHDR chunk: length, kind, width, height, bits per sample, color type, …, checksum."""


class _Image(NamedTuple):
    """What a header says, and the bytes that the decoder gets."""

    width: int
    height: int
    encoded: bytes
    palette_bits: int = 0
    """Bits per palette index of a PNG; 0 for every other image."""


def decode_rgb(data: Any, what: str, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """A color or gray image as RGB, uint8 (H, W, 3).

    Args:
        data: the file's bytes, or anything with the buffer protocol.
        what: how an error calls it.
        size: the (H, W) that it must have; None: any.

    Raises:
        FrameError: no JPEG or PNG, one that is damaged or cut short, of another size or of too many pixels.
    """
    bgr = _decode(_parse(data, what, size), cv2.IMREAD_COLOR, what)
    return np.require(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8, ("C", "W"))


def decode_image(data: Any, what: str, size: tuple[int, int] | None = None) -> NDArray[Any]:
    """An image as it is stored, uint8 or uint16, (H, W) or blue first (H, W, 3 or 4); otherwise as `decode_rgb`."""
    return _decode(_parse(data, what, size), cv2.IMREAD_UNCHANGED, what)


def decode_label_image(data: Any, what: str, size: tuple[int, int] | None = None) -> NDArray[Any]:
    """A label image as it is stored: gray values or palette indices (H, W), or RGB (H, W, 3); else as `decode_rgb`.

    Of an image with a palette the indices are the values: its colors are for people. One bit per pixel is 0 and 255 in
    a gray image, as MATLAB writes masks, and 0 and 1 with a palette.
    """
    image = _parse(data, what, size)
    if image.palette_bits:
        gray = _decode(image._replace(encoded=_palette_as_gray(image.encoded)), cv2.IMREAD_UNCHANGED, what)
        indices: NDArray[np.uint8] = gray // np.uint8(255 // (2**image.palette_bits - 1))
        return indices
    pixels = _decode(image, cv2.IMREAD_UNCHANGED, what)
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        return np.ascontiguousarray(pixels[..., ::-1])
    return pixels


def _parse(data: Any, what: str, size: tuple[int, int] | None) -> _Image:
    encoded = bytes(data)
    if encoded.startswith(_PNG):
        image = _parse_png(encoded, what)
    elif encoded.startswith(_JPEG):
        image = _parse_jpeg(encoded, what)
    else:
        raise FrameError(f"{what}: its {len(encoded)} bytes are no JPEG or PNG, the codecs that are read")
    if not 0 < image.width * image.height <= MAX_PIXELS:
        raise FrameError(f"{what}: {image.width}x{image.height} pixels, expected 1 to {MAX_PIXELS}")
    if size is not None and (image.height, image.width) != size:
        raise FrameError(f"{what}: {image.width}x{image.height} pixels, expected {size[1]}x{size[0]}")
    return image


def _parse_png(encoded: bytes, what: str) -> _Image:
    """Keep the chunks that hold pixels: IHDR, PLTE, tRNS, IDAT and IEND."""
    kept, header, kind = [_PNG], b"", b""
    for kind, chunk in _chunks(encoded):
        if kind not in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            continue
        if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
            raise _damaged(what, "PNG", encoded)
        kept.append(chunk)
        if kind == b"IHDR":
            if header or len(chunk) != _HEADER.size:
                raise _damaged(what, "PNG", encoded)
            header = chunk
        elif kind == b"IEND":
            break
    if not header or kind != b"IEND":
        raise _damaged(what, "PNG", encoded)
    width, height, bits, color, *methods, interlace = _HEADER.unpack(header)[2:9]
    if bits not in _PNG_BITS.get(color, ()) or any(methods) or interlace > 1:
        raise _damaged(what, "PNG", encoded)
    return _Image(width, height, b"".join(kept), bits if color == _PALETTE else 0)


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and whole chunk, as long as they are whole."""
    at = len(_PNG)
    while at + 12 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        end = at + 12 + length
        if end > len(png):
            return
        yield kind, png[at:end]
        at = end


def _parse_jpeg(encoded: bytes, what: str) -> _Image:
    # One that was cut short still decodes, with gray where the rest was: look for its end marker.
    if _JPEG_END not in encoded[-4096:] or encoded.count(b"\xff\xda") > _MAX_SCANS:
        raise _damaged(what, "JPEG", encoded)
    at = 2
    while at + 9 <= len(encoded) and encoded[at] == 0xFF:
        marker = encoded[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker not in _JPEG_SEGMENTS:
            break
        elif marker in _JPEG_SIZES:
            height, width = struct.unpack_from(">HH", encoded, at + 5)
            return _Image(width, height, encoded)
        else:
            at += 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
    raise _damaged(what, "JPEG", encoded)


def _palette_as_gray(png: bytes) -> bytes:
    """The same PNG with its indices as gray values; the decoder spreads those of fewer than 8 bits over 0..255."""
    chunks = dict(_chunks(png))
    header = bytearray(chunks[b"IHDR"])
    header[17] = _GRAY
    header[-4:] = zlib.crc32(header[4:-4]).to_bytes(4, "big")
    pixels = [chunk for kind, chunk in _chunks(png) if kind in (b"IDAT", b"IEND")]
    return b"".join([_PNG, bytes(header), *pixels])


def _decode(image: _Image, flags: int, what: str) -> NDArray[Any]:
    global _wary_until_s
    # libpng writes a line to stderr for each image whose compressed pixels are damaged. Once one was, they are checked
    # at first for a while: always would decompress every sound image twice.
    if time.monotonic() < _wary_until_s and image.encoded.startswith(_PNG) and not _inflates(image):
        _wary_until_s = time.monotonic() + _WARY_S
        raise _damaged(what, "PNG", image.encoded)
    try:
        pixels: NDArray[Any] | None = cv2.imdecode(
            np.frombuffer(image.encoded, np.uint8),
            flags if flags == cv2.IMREAD_UNCHANGED else flags | cv2.IMREAD_IGNORE_ORIENTATION,
        )
    except cv2.error:
        pixels = None
    if pixels is None or pixels.shape[:2] != (image.height, image.width):
        _wary_until_s = time.monotonic() + _WARY_S
        raise _damaged(what, "JPEG or PNG", image.encoded)
    return pixels


_wary_until_s = 0.0


def _inflates(png: _Image) -> bool:
    """Whether the compressed pixels of a PNG are a whole stream, read as far as pixels can reach."""
    stream = zlib.decompressobj()
    left = 16 * png.width * (png.height + 8)
    try:
        for kind, chunk in _chunks(png.encoded):
            if kind == b"IDAT":
                data = chunk[8:-4]
                while data and not stream.eof:
                    left -= len(stream.decompress(data, _PIECE_BYTES))
                    if left < 0:
                        return False
                    data = stream.unconsumed_tail
    except zlib.error:
        return False
    return stream.eof


def _damaged(what: str, codec: str, encoded: bytes) -> FrameError:
    return FrameError(f"{what}: its {len(encoded)} bytes are a damaged {codec}, or one that was cut short")
