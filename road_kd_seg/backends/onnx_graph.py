# SPDX-License-Identifier: Apache-2.0
"""What an ONNX file would make a runtime do, read from its bytes without building anything.

ONNX Runtime opens files that a graph names as external data, runs its loops for as long as they last, and unfolds
functions and sparse tensors. This walks the file's protocol buffers (field numbers of onnx.proto3) and refuses all of
these.
"""

from __future__ import annotations

from collections.abc import Iterator

from road_kd_seg.errors import RoadKdError, shown

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_DEPTH = 16
_MAX_NODES = 100_000

_MESSAGES = {
    "model": {7: "graph"},
    "graph": {1: "node", 5: "tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 10: "tensor"},
}
"""Message → field number → the message that lies there, as far as it leads to tensors and nodes."""
_REFUSED = {
    ("model", 25): "it defines functions: a kilobyte of them unfolds into operators without end",
    ("graph", 15): "it holds sparse tensors: a few bytes of them unfold to any size",
    ("attribute", 22): "it holds sparse tensors: a few bytes of them unfold to any size",
    ("attribute", 23): "it holds sparse tensors: a few bytes of them unfold to any size",
    ("attribute", 6): "an operator holds a graph of its own: loops and branches may run for ever, and are not run",
    ("attribute", 11): "an operator holds a graph of its own: loops and branches may run for ever, and are not run",
    ("tensor", 13): "it keeps tensors in other files, expected all of them in its own",
}
"""What must not be there, by message and field number: our exporter writes none of it."""
_NODE_TYPE, _NODE_DOMAIN = 4, 7
_TENSOR_LOCATION = 14
_UNBOUNDED = frozenset({"Loop", "Scan", "If", "SequenceMap"})
_OF_OTHER_FILES = "EPContext"
_DOMAINS = frozenset({"", "ai.onnx", "com.microsoft"})


def check_graph(model: bytes) -> None:
    """Refuse a model that reads other files, holds loops or branches, or needs operators of strangers.

    Raises:
        RoadKdError: one of these, or no ONNX model.
    """
    pending = [("model", memoryview(model), 0)]
    nodes = 0
    while pending:
        kind, content, depth = pending.pop()
        inner = _MESSAGES.get(kind, {})
        for number, value in _fields(content):
            if (kind, number) in _REFUSED:
                raise RoadKdError(_REFUSED[kind, number])
            if kind == "tensor" and number == _TENSOR_LOCATION and value != 0:
                raise RoadKdError(_REFUSED["tensor", 13])
            if isinstance(value, memoryview) and number in inner:
                pending.append((inner[number], value, depth + 1))
            if kind == "node" and isinstance(value, memoryview):
                _check_node(number, bytes(value[:200]))
        nodes += kind == "node"
        if depth > _MAX_DEPTH or nodes > _MAX_NODES:
            raise RoadKdError(f"more than {_MAX_NODES} operators, or more than {_MAX_DEPTH} levels")


def _check_node(number: int, name: bytes) -> None:
    text = name.decode(errors="replace")
    if number == _NODE_TYPE and text in _UNBOUNDED:
        raise RoadKdError(f"operator {text}: loops and branches may run for ever, and are not run")
    if number == _NODE_TYPE and text == _OF_OTHER_FILES:
        raise RoadKdError(f"operator {text}: it opens another file")
    if number == _NODE_DOMAIN and text not in _DOMAINS:
        raise RoadKdError(f"an operator of domain {shown(text)}, expected ONNX's own")


def _fields(content: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field of a message: a varint, or the bytes of anything else."""
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = _varint(content, at)
            yield number, value
            continue
        if kind == _BYTES:
            size, at = _varint(content, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise RoadKdError("no ONNX model, or a damaged one")
        if size > len(content) - at:
            raise RoadKdError("no ONNX model, or one that was cut short")
        yield number, content[at : at + size]
        at += size


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(content) and shift < 70:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise RoadKdError("no ONNX model, or one that was cut short")
