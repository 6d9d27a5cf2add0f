"""MCAP files (mcap.dev/spec) of any writer: with or without chunks, index, summary, profile or an end."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from road_kd_seg.bags.chunked import ChunkedFile, Damage, RawMessage, Span
from road_kd_seg.bags.storage import Topic
from road_kd_seg.errors import BagError

MAGIC = b"\x89MCAP0\r\n"
_HEAD = struct.Struct("<BQ")
_CHUNK = struct.Struct("<QQQI")
_MESSAGE = struct.Struct("<HIQQ")
_ENTRY = struct.Struct("<QQ")
_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE_OP, _CHUNK_OP, _INDEX, _STATISTICS, _DATA_END = 2, 3, 4, 5, 6, 7, 0x0B, 0x0F
_SPAN_BYTES = 8 << 20
"""Messages outside chunks are read in portions of this size."""
_MAX_TEXT = 1 << 20


class McapFile(ChunkedFile):
    """An MCAP file, open for reading."""

    def __init__(self, path: Path) -> None:
        self._schemas: dict[int, str] = {}
        super().__init__(path)

    def _walk(self) -> None:
        if self._read(0, len(MAGIC)) != MAGIC:
            raise BagError(
                f"bag {self.path}: no MCAP file (its first bytes are others, or it is empty):"
                " pass the file that the recorder wrote"
            )
        offset = len(MAGIC)
        in_summary = False
        statistics: dict[int, int] = {}
        while True:
            head = self._read(offset, _HEAD.size)
            if len(head) < _HEAD.size:
                self.note("cut short: its end is missing, everything before it is used")
                break
            op, length = _HEAD.unpack(head)
            body = offset + _HEAD.size
            if op == 0:
                self.note(f"damaged at byte {offset}: what comes after it is left out")
                break
            truncated = body + length > self._size
            if op == _FOOTER:
                break
            try:
                if op == _CHUNK_OP:
                    self._add_chunk(body, length)
                elif op == _MESSAGE_OP and not truncated:
                    self._add_message(offset, length)
                elif op == _INDEX and not truncated and self.spans and not in_summary:
                    self._add_index(self._read(body, length))
                elif op in (_SCHEMA, _CHANNEL) and not truncated:
                    self._define(op, self._read(body, min(length, _MAX_TEXT)))
                elif op == _STATISTICS and not truncated:
                    statistics = _statistics(self._read(body, length))
                elif op == _DATA_END:
                    in_summary = True
            except (struct.error, IndexError, UnicodeDecodeError) as error:
                self.note(f"damaged at byte {offset} ({error}): what comes after it is left out")
                break
            if truncated:
                self.note("cut short: its end is missing, everything before it is used")
                break
            offset = body + length
        self._statistics = statistics

    def _scan_what_no_index_describes(self) -> None:
        super()._scan_what_no_index_describes()
        for channel, count in self._statistics.items():
            name = self.channels[channel].name if channel in self.channels else f"channel {channel}"
            self.promised[name] = self.promised.get(name, 0) + count

    def _add_chunk(self, body: int, length: int) -> None:
        head = self._read(body, _CHUNK.size + 4)
        # Times and counts come from the index records that follow, or from the messages: writers get the chunk's wrong.
        _, _, size, crc = _CHUNK.unpack_from(head)
        (text_length,) = struct.unpack_from("<I", head, _CHUNK.size)
        fixed = _CHUNK.size + 4 + text_length + 8
        if text_length > 64 or fixed > length:
            raise struct.error("a chunk without its header")
        compression = self._read(body + _CHUNK.size + 4, text_length).decode()
        self.spans.append(Span(body + fixed, length - fixed, compression, size, crc))

    def _add_message(self, offset: int, length: int) -> None:
        channel, _, log_time_ns, _ = _MESSAGE.unpack(self._read(offset + _HEAD.size, _MESSAGE.size))
        last = self.spans[-1] if self.spans else None
        grown = offset + _HEAD.size + length
        if last is None or last.compression is not None or last.length > _SPAN_BYTES:
            last = Span(offset, 0)
            self.spans.append(last)
        last.length = grown - last.offset
        last.see(channel, log_time_ns)

    def _add_index(self, record: bytes) -> None:
        channel, size = struct.unpack_from("<HI", record)
        for log_time_ns, _ in _ENTRY.iter_unpack(record[6 : 6 + size]):
            self.spans[-1].see(channel, log_time_ns)

    def _define(self, op: int, record: bytes) -> None:
        (number,) = struct.unpack_from("<H", record)
        if op == _SCHEMA:
            self._schemas[number] = _texts(record, 2, 1)[0]
        else:
            (schema,) = struct.unpack_from("<H", record, 2)
            topic, encoding = _texts(record, 4, 2)
            metadata = _string_map(record[4 + 8 + len(topic.encode()) + len(encoding.encode()) :])
            msgtype = self._schemas.get(schema, "")
            if "/msg/" not in msgtype and msgtype.count("/") == 1:  # ROS 1 has no folder in its type names
                msgtype = msgtype.replace("/", "/msg/")
            self.channels[number] = Topic(topic, msgtype, encoding, metadata.get("offered_qos_profiles", ""))

    def _parse(self, data: bytes, whole: bool) -> Iterator[RawMessage]:
        offset = 0
        while offset + _HEAD.size <= len(data):
            op, length = _HEAD.unpack_from(data, offset)
            body = offset + _HEAD.size
            if op == 0 or body + length > len(data):
                break
            try:
                if op == _MESSAGE_OP:
                    channel, _, log_time_ns, _ = _MESSAGE.unpack_from(data, body)
                    yield RawMessage(channel, log_time_ns, data[body + _MESSAGE.size : body + length])
                elif op in (_SCHEMA, _CHANNEL):
                    self._define(op, data[body : body + length])
            except (struct.error, IndexError, UnicodeDecodeError) as error:
                raise Damage(str(error)) from error
            offset = body + length
        if whole and offset != len(data):
            raise Damage("no record where one should begin")


def _texts(record: bytes, offset: int, count: int) -> list[str]:
    texts = []
    for _ in range(count):
        (length,) = struct.unpack_from("<I", record, offset)
        if offset + 4 + length > len(record):
            raise struct.error("a text longer than its record")
        texts.append(record[offset + 4 : offset + 4 + length].decode())
        offset += 4 + length
    return texts


def _string_map(record: bytes) -> dict[str, str]:
    (size,) = struct.unpack_from("<I", record)
    offset, entries = 4, {}
    while offset < 4 + size:
        key, value = _texts(record, offset, 2)
        offset += 8 + len(key.encode()) + len(value.encode())
        entries[key] = value
    return entries


def _statistics(record: bytes) -> dict[int, int]:
    """Messages by channel."""
    (size,) = struct.unpack_from("<I", record, 42)
    return dict(struct.iter_unpack("<HQ", record[46 : 46 + size]))
