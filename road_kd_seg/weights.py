# SPDX-License-Identifier: Apache-2.0
"""The tensors of a safetensors file, compared with the network they are for before any memory is reserved for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from safetensors import torch as safetensors
from torch import Tensor

from road_kd_seg.errors import RoadKdError, printable, shown
from road_kd_seg.plain_data import parse_json

_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 4_000_000
HEAD_BYTES = _LENGTH_BYTES + _MAX_HEADER_BYTES
_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


def read_weights(content: bytes, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Args:
        content: of the file.
        expected: the network's state by name; on the meta device it takes no memory.

    Raises:
        RoadKdError: no safetensors file, other names, shapes or types than expected, or a number that is not finite.
    """
    check_header(content, len(content), expected)
    try:
        tensors: dict[str, Tensor] = safetensors.load(content)
    except Exception as error:  # its errors have no common base
        raise RoadKdError(f"no safetensors file: {printable(error, 200)}") from error
    floats = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
    # A sum is finite only if all of it is, and takes a tenth of the time; that of large numbers may overflow.
    if floats and not torch.stack([tensor.sum(dtype=torch.float64) for tensor in floats.values()]).isfinite().all():
        for name, tensor in floats.items():
            if not bool(tensor.isfinite().all()):
                raise RoadKdError(f"tensor {shown(name)} holds numbers that are not finite")
    return tensors


def check_header(head: bytes, size: int, expected: Mapping[str, Tensor]) -> None:
    """Compare what the beginning of a safetensors file says of its tensors with what they have to be.

    Args:
        head: the file's first `HEAD_BYTES`, or more.
        size: bytes of the whole file.
        expected: as of `read_weights`.

    Raises:
        RoadKdError: as `read_weights`.
    """
    _compare(_header(head), expected)
    whole = _LENGTH_BYTES + _header_length(head) + sum(t.numel() * t.element_size() for t in expected.values())
    if size != whole:
        raise RoadKdError(f"{size} bytes, expected {whole}")


def _header(content: bytes) -> dict[str, Any]:
    """What the file says of each tensor."""
    length = _header_length(content)
    if len(content) < _LENGTH_BYTES or length > min(len(content) - _LENGTH_BYTES, _MAX_HEADER_BYTES):
        raise RoadKdError(f"no safetensors file: {len(content)} bytes cannot hold its header")
    header = parse_json(content[_LENGTH_BYTES : _LENGTH_BYTES + length], "its header", _MAX_HEADER_BYTES)
    if not isinstance(header, dict):
        raise RoadKdError("no safetensors file: its header is no map")
    header.pop("__metadata__", None)
    return header


def _header_length(content: bytes) -> int:
    return int.from_bytes(content[:_LENGTH_BYTES], "little")


def _compare(header: Mapping[str, Any], expected: Mapping[str, Tensor]) -> None:
    missing, unexpected = sorted(expected.keys() - header.keys()), sorted(header.keys() - expected.keys())
    other = [
        name
        for name, tensor in expected.items()
        if name in header
        and (
            not isinstance(header[name], dict)
            or header[name].get("shape") != list(tensor.shape)
            or _DTYPES.get(str(header[name].get("dtype"))) != tensor.dtype
        )
    ]
    if missing or unexpected or other:
        raise RoadKdError(
            f"missing {_some(missing)}, unexpected {_some(unexpected)}, other shape or type {_some(sorted(other))}"
        )


def _some(names: list[str], most: int = 3) -> str:
    listed = ", ".join(printable(name, 80) for name in names[:most])
    return (listed + (f" and {len(names) - most} more" if len(names) > most else "")) or "none"
