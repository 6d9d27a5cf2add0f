# SPDX-License-Identifier: Apache-2.0
"""MCAP files (mcap.dev/spec) of any writer: with or without chunks, index, summary, profile or an end."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from road_kd_seg.bags.chunked import ChunkedFile, Damage, RawMessage, Span
from road_kd_seg.bags.storage import MessageBytes, Topic
from road_kd_seg.errors import BagError

MAGIC = b"\x89MCAP0\r\n"
_HEAD = struct.Struct("<BQ")
_CHUNK = struct.Struct("<QQQII")
_MESSAGE = struct.Struct("<HIQQ")
_ENTRY = struct.Struct("<QQ")
_FOOTER_BODY = struct.Struct("<QQI")
_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _MESSAGE_OP, _CHUNK_OP, _INDEX, _CHUNK_INDEX = range(1, 9)
_STATISTICS, _DATA_END, _PRIVATE = 0x0B, 0x0F, 0x80
_CUT_SHORT = "cut short: its end is missing, everything before it is used"
_SPAN_BYTES = 8 << 20
"""Messages outside chunks are read in portions of this size."""
_VIEW_SHARE = 4
"""Messages of at least this part of their chunk are views of it, so that images are not copied, and whoever keeps one
keeps no more than four times as much."""
_MAX_TEXT = 1 << 20
_MAX_COMPRESSION = 64


class _ChunkHead(NamedTuple):
    """What a chunk says before its content."""

    size: int
    """Bytes before the content."""
    compression: bytes
    content: int
    """Bytes of the content after decompression."""
    crc: int
    times_ns: tuple[int, int]
    """First and last log time; some writers get them wrong."""


@dataclass
class _Summary:
    """What follows the data section: repeats of what it defines, and an index."""

    start: int
    channels_before: dict[int, Topic]
    schemas_before: dict[int, str]
    statistics: dict[int, int] = field(default_factory=dict)
    """Messages by channel."""
    chunks: set[int] = field(default_factory=set)
    """Offsets of the chunks in the file."""


class McapFile(ChunkedFile):
    """An MCAP file, open for reading."""

    def __init__(self, path: Path) -> None:
        self._schemas: dict[int, str] = {}
        self._chunks: set[int] = set()
        self._summary: _Summary | None = None
        super().__init__(path)

    def _walk(self) -> None:
        if self._read(0, len(MAGIC)) != MAGIC:
            raise BagError(
                f"bag {self.path}: no MCAP file (its first bytes are others, or it is empty):"
                " pass the file that the recorder wrote"
            )
        offset = len(MAGIC)
        while True:
            head = self._read(offset, _HEAD.size)
            if len(head) < _HEAD.size:
                self.note(_CUT_SHORT)
                return
            op, length = _HEAD.unpack(head)
            body = offset + _HEAD.size
            if op != _CHUNK_OP and self._chunk_head(body, length):
                self.note(f"damaged at byte {offset}: read as the chunk whose shape it has")
                op = _CHUNK_OP
            if op == 0:
                self.note(f"damaged at byte {offset}: what comes after it is left out")
                return
            if op == _FOOTER:
                self._check_end(offset, length)
                return
            truncated = body + length > self._size
            try:
                if op == _CHUNK_OP:
                    self._add_chunk(offset, length)
                elif not truncated:
                    self._add_record(op, offset, length)
            except (struct.error, IndexError, UnicodeDecodeError) as error:
                self.note(f"damaged at byte {offset} ({error}): what comes after it is left out")
                return
            if truncated:
                self.note(_CUT_SHORT)
                return
            offset = body + length

    def _add_record(self, op: int, offset: int, length: int) -> None:
        """Take in a record that is no chunk; private ones, attachments and the like are passed over."""
        body = offset + _HEAD.size
        if op == _MESSAGE_OP:
            self._add_message(offset, length)
        elif op == _INDEX and self.spans and self._summary is None:
            self._add_index(self._read(body, length))
        elif op in (_SCHEMA, _CHANNEL):
            self._define(op, self._read(body, min(length, _MAX_TEXT)))
        elif op == _HEADER:
            if sum(4 + len(text.encode()) for text in _texts(self._read(body, min(length, _MAX_TEXT)), 0, 2)) != length:
                raise struct.error("a header of two lengths")
        elif op == _DATA_END:
            self._summary = _Summary(body + length, dict(self.channels), dict(self._schemas))
        elif op == _STATISTICS and self._summary:
            self._summary.statistics = _statistics(self._read(body, length))
        elif op == _CHUNK_INDEX and self._summary:
            self._summary.chunks.add(struct.unpack("<Q", self._read(body + 16, 8))[0])
        elif _DATA_END < op < _PRIVATE:
            self.note(f"damaged at byte {offset}: a record of an unknown kind is passed over")

    def _check_end(self, offset: int, length: int) -> None:
        """Hold the end of the file and its summary against what the walk found; a damaged summary is not used."""
        body = offset + _HEAD.size
        footer, after = self._read(body, _FOOTER_BODY.size), self._read(body + _FOOTER_BODY.size, len(MAGIC) + 1)
        if length != _FOOTER_BODY.size or not MAGIC.startswith(after):
            self.note(f"damaged at byte {offset}: its end is not where it should be")
            return
        if after != MAGIC:
            self.note(_CUT_SHORT)
            return
        start, _, crc = _FOOTER_BODY.unpack(footer)
        if self._summary is None or start == 0:
            return
        covered = body + _FOOTER_BODY.size - 4 - self._summary.start
        if start != self._summary.start or (crc and crc != crc32(self._read(start, covered))):
            self.note("its summary is damaged and not used")
            self.channels, self._schemas = self._summary.channels_before, self._summary.schemas_before
            self._summary = None
        elif lost := len(self._summary.chunks - self._chunks):
            self.note(f"{lost} chunks that its index names are not there")

    def _scan_what_no_index_describes(self) -> None:
        super()._scan_what_no_index_describes()
        for channel, count in (self._summary.statistics if self._summary else {}).items():
            name = self.channels[channel].name if channel in self.channels else f"channel {channel}"
            self.promised[name] = self.promised.get(name, 0) + count

    def _chunk_head(self, body: int, length: int) -> _ChunkHead | None:
        """What a chunk says before its content; None for a record that has not the shape of one."""
        head = self._read(body, _CHUNK.size)
        if len(head) < _CHUNK.size:
            return None
        start_ns, end_ns, size, crc, text_length = _CHUNK.unpack(head)
        fixed = _CHUNK.size + text_length + 8
        if text_length > _MAX_COMPRESSION or fixed > length:
            return None
        tail = self._read(body + _CHUNK.size, text_length + 8)
        if tail[text_length:] != struct.pack("<Q", length - fixed):
            return None
        return _ChunkHead(fixed, tail[:text_length], size, crc, (start_ns, end_ns))

    def _add_chunk(self, offset: int, length: int) -> None:
        body = offset + _HEAD.size
        head = self._chunk_head(body, length)
        if head is None:
            raise struct.error("a chunk without its header, or of two lengths")
        compression = head.compression.decode()
        span = Span(body + head.size, length - head.size, compression, head.content, head.crc, said_ns=head.times_ns)
        self.spans.append(span)
        self._chunks.add(offset)

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
        if len(record) != 6 + size:
            raise struct.error("an index of two lengths")
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

    def _parse(self, data: MessageBytes, whole: bool) -> Iterator[RawMessage]:
        offset, view = 0, memoryview(data)
        while offset + _HEAD.size <= len(data):
            op, length = _HEAD.unpack_from(data, offset)
            body = offset + _HEAD.size
            if op == 0 or body + length > len(data):
                break
            try:
                if op == _MESSAGE_OP:
                    channel, _, log_time_ns, _ = _MESSAGE.unpack_from(data, body)
                    message = view[body + _MESSAGE.size : body + length]
                    yield RawMessage(
                        channel, log_time_ns, message if _VIEW_SHARE * length >= len(data) else bytes(message)
                    )
                elif op in (_SCHEMA, _CHANNEL):
                    self._define(op, bytes(view[body : body + length]))
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
