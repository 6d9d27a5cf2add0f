# SPDX-License-Identifier: Apache-2.0
"""ROS 1 bags (format 2.0), of the driver, of the RealSense Viewer, and of recorders that were killed."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from road_kd_seg.bags.chunked import ChunkedFile, Damage, RawMessage, Span
from road_kd_seg.bags.storage import MessageBytes, Topic
from road_kd_seg.errors import BagError

MAGIC = b"#ROSBAG V2.0\n"
_MESSAGE, _BAG_HEADER, _INDEX, _CHUNK, _CONNECTION = 2, 3, 4, 5, 7
_LENGTH = struct.Struct("<I")
_TIME = struct.Struct("<II")
_ENTRY = struct.Struct("<III")
_MAX_HEADER = 1 << 20
_LATCHED_QOS = "- {history: 1, depth: 1, reliability: 1, durability: 1}"


class Ros1File(ChunkedFile):
    """A ROS 1 bag, open for reading."""

    def _walk(self) -> None:
        if self._read(0, len(MAGIC)) != MAGIC:
            raise BagError(
                f"bag {self.path}: no ROS 1 bag of format 2.0 (its first bytes are others, or it is empty):"
                " pass the file that the recorder wrote"
            )
        offset = len(MAGIC)
        while offset < self._size:
            try:
                head, body, length = self._record(offset)
                op = head["op"][0]
                if op == _CHUNK:
                    (size,) = _LENGTH.unpack(head["size"])
                    self.spans.append(Span(body, length, head["compression"].decode(), size))
                elif op == _CONNECTION and body + length <= self._size:
                    self._connect(head, self._read(body, length))
                elif op == _INDEX and self.spans and body + length <= self._size:
                    (channel,) = _LENGTH.unpack(head["conn"])
                    for sec, nanosec, _ in _ENTRY.iter_unpack(self._read(body, length)):
                        self.spans[-1].see(channel, sec * 1_000_000_000 + nanosec)
                elif op == _BAG_HEADER and not any(head.get("index_pos", b"")):
                    self.note("the recorder did not finish it; what was written is used")
            except (struct.error, KeyError, IndexError, UnicodeDecodeError) as error:
                self.note(f"damaged at byte {offset} ({error}): what comes after it is left out")
                return
            if body + length > self._size:
                self.note("cut short: its end is missing, everything before it is used")
                return
            offset = body + length

    def _record(self, offset: int) -> tuple[dict[str, bytes], int, int]:
        """Header fields, offset of the data and its length."""
        (header_length,) = _LENGTH.unpack(self._read(offset, 4))
        if header_length > _MAX_HEADER:
            raise struct.error("a header of more than 1 MB")
        header = self._read(offset + 4, header_length + 4)
        (length,) = _LENGTH.unpack_from(header, header_length)
        return _fields(header[:header_length]), offset + 8 + header_length, length

    def _connect(self, head: dict[str, bytes], data: bytes) -> None:
        (number,) = _LENGTH.unpack(head["conn"])
        fields = _fields(data)
        topic = "/" + "/".join(part for part in head["topic"].decode().split("/") if part)
        msgtype = fields["type"].decode().replace("/", "/msg/")
        latched = fields.get("latching") == b"1"
        self.channels[number] = Topic(topic, msgtype, "ros1", _LATCHED_QOS if latched else "")

    def _parse(self, data: MessageBytes, whole: bool) -> Iterator[RawMessage]:
        offset = 0
        while offset < len(data):
            try:
                (header_length,) = _LENGTH.unpack_from(data, offset)
                head = _fields(bytes(data[offset + 4 : offset + 4 + header_length]))
                (length,) = _LENGTH.unpack_from(data, offset + 4 + header_length)
                body = offset + 8 + header_length
                if body + length > len(data):
                    raise struct.error("a record ends beyond its chunk")
                if head["op"][0] == _MESSAGE:
                    (channel,) = _LENGTH.unpack(head["conn"])
                    sec, nanosec = _TIME.unpack(head["time"])
                    yield RawMessage(channel, sec * 1_000_000_000 + nanosec, bytes(data[body : body + length]))
                elif head["op"][0] == _CONNECTION:
                    self._connect(head, bytes(data[body : body + length]))
            except (struct.error, KeyError, IndexError, UnicodeDecodeError) as error:
                if whole:
                    raise Damage(str(error)) from error
                return
            offset = body + length


def _fields(header: bytes) -> dict[str, bytes]:
    """`name=value` fields, each behind its length."""
    offset, fields = 0, {}
    while offset < len(header):
        (length,) = _LENGTH.unpack_from(header, offset)
        name, separator, value = header[offset + 4 : offset + 4 + length].partition(b"=")
        if not separator or offset + 4 + length > len(header):
            raise struct.error("a header field without a value")
        fields[name.decode()] = value
        offset += 4 + length
    return fields
