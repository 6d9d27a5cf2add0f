# SPDX-License-Identifier: Apache-2.0
"""Golden frames: inputs of a bundle with the labels that its exporter got, by which whoever loads it can tell that the
engine, the device and the precision in use compute the same network. N frames, H W their size.

They lie in one safetensors file of plain arrays, so reading them needs no decoder and no more memory than the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from road_kd_seg.errors import BundleError
from road_kd_seg.frame import RgbdFrame

MAX_BYTES = 1_000_000
MAX_FRAMES = 16
"""Each is segmented before a bundle is used, however few pixels it has."""
_BYTES_PER_PIXEL = 6
"""Color 3, depth 2, label 1."""


@dataclass(frozen=True, slots=True)
class GoldenFrame:
    """A frame and its label, (H, W) class ids."""

    frame: RgbdFrame
    label: NDArray[np.uint8]


def golden_size(input_size: tuple[int, int], num_frames: int) -> tuple[int, int]:
    """(H, W) of golden frames for a network's input of (h, w): halved until `num_frames` fit into `MAX_BYTES`."""
    height, width = input_size
    while num_frames * height * width * _BYTES_PER_PIXEL > 0.99 * MAX_BYTES:
        height, width = height // 2, width // 2
    return height, width


def pack_golden(frames: Sequence[GoldenFrame]) -> bytes:
    """The file's content; all frames have one size, and depth or not. Depth is kept in millimeters."""
    arrays = {"rgb": np.stack([g.frame.rgb for g in frames]), "label": np.stack([g.label for g in frames])}
    if frames[0].frame.depth_m is not None:
        depth_m = np.stack([g.frame.depth_m for g in frames if g.frame.depth_m is not None])
        arrays["depth_mm"] = np.rint(depth_m * 1000).astype(np.uint16)
    return bytes(save(arrays))


def unpack_golden(content: bytes) -> tuple[GoldenFrame, ...]:
    """Inverse of `pack_golden`.

    Raises:
        BundleError: the content is something else.
    """
    if len(content) > MAX_BYTES:
        raise BundleError(f"golden frames take {len(content)} bytes, expected at most {MAX_BYTES}")
    try:
        arrays: dict[str, NDArray[Any]] = load(content)
    except Exception as error:  # its errors have no common base
        raise BundleError(f"golden frames are no safetensors file: {' '.join(str(error).split())[:200]}") from error
    rgb, label, depth_mm = arrays.get("rgb"), arrays.get("label"), arrays.get("depth_mm")
    if (
        rgb is None
        or label is None
        or rgb.dtype != np.uint8
        or label.dtype != np.uint8
        or label.ndim != 3
        or 0 in label.shape
        or len(label) > MAX_FRAMES
        or rgb.shape != (*label.shape, 3)
        or (depth_mm is not None and (depth_mm.dtype != np.uint16 or depth_mm.shape != label.shape))
    ):
        found = ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in arrays.items())
        raise BundleError(
            f"golden frames hold {found or 'nothing'}, expected rgb uint8 (N, H, W, 3), label uint8 (N, H, W) and"
            f" perhaps depth_mm uint16 (N, H, W), N at most {MAX_FRAMES}"
        )
    depths_m = [None] * len(rgb) if depth_mm is None else list(depth_mm / np.float32(1000))
    return tuple(
        GoldenFrame(RgbdFrame(np.ascontiguousarray(color), depth_m), truth)
        for color, depth_m, truth in zip(rgb, depths_m, label, strict=True)
    )


def describe_difference(predicted: NDArray[np.uint8], expected: NDArray[np.uint8], names: Sequence[str]) -> str:
    """The most frequent confusion of two labels, in words, e.g. "3.1 % of the pixels are road instead of lane"."""
    differs = predicted != expected
    pairs = np.stack((predicted[differs], expected[differs]))
    if not pairs.size:
        return "nothing differs"
    kinds, counts = np.unique(pairs, axis=1, return_counts=True)
    got, wanted = (_name(int(i), names) for i in kinds[:, counts.argmax()])
    return f"{counts.max() / predicted.size:.1%} of the pixels are {got} instead of {wanted}"


def _name(index: int, names: Sequence[str]) -> str:
    return names[index] if index < len(names) else f"class {index}"
