# SPDX-License-Identifier: Apache-2.0
"""What MCAP files and ROS 1 bags have in common: records, most of them inside compressed chunks.

The whole file is walked once, from record to record without reading the chunks, so that a missing, wrong or cut-off
index costs nothing: what is there is found, and a damaged tail ends the walk with a note.
"""

from __future__ import annotations

import bz2
import os
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import lz4.frame
import numpy as np

from road_kd_seg.bags.storage import MessageBytes, Source, StoredMessage, Topic, merge_by_time
from road_kd_seg.errors import BagError

if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd


MAX_CHUNK_BYTES = 1 << 28
"""After decompression; a kilobyte of a file may claim any size."""
_UNCOMPRESSED = ("", "none")


class RawMessage(NamedTuple):
    """A message of a chunk: its channel by the file's own number."""

    channel: int
    log_time_ns: int
    data: MessageBytes


class Contents(NamedTuple):
    """What a chunk, or the part of it that can be read, holds."""

    messages: list[RawMessage]
    problem: str = ""
    """Why it is not the whole chunk."""


@dataclass
class Span:
    """A stretch of the file that is read in one go: a chunk, or neighboring messages outside any chunk."""

    offset: int
    length: int
    compression: str | None = None
    """None for messages outside any chunk."""
    size: int = 0
    """Bytes after decompression."""
    crc: int = 0
    """Of the decompressed bytes; 0 for none."""
    counts: Counter[int] = field(default_factory=Counter)
    """Messages by channel."""
    start_ns: int = sys.maxsize
    end_ns: int = -1
    said_ns: tuple[int, int] = (0, 0)
    """First and last log time by the chunk's own header; 0 where it does not tell."""

    @property
    def agrees(self) -> bool:
        """Whether the times of the index are those of the chunk's own header, so that neither is damaged."""
        start_ns, end_ns = self.said_ns
        return start_ns in (0, self.start_ns) and end_ns in (0, self.end_ns) and self.end_ns < sys.maxsize

    @property
    def open_bytes(self) -> int:
        """Memory that its content takes."""
        unpacked = 0 if self.compression is None else min(self.size or MAX_CHUNK_BYTES, MAX_CHUNK_BYTES)
        return max(unpacked, self.length)

    def forget(self) -> None:
        """Start counting again."""
        self.counts.clear()
        self.start_ns, self.end_ns = sys.maxsize, -1

    def see(self, channel: int, log_time_ns: int) -> None:
        """Count a message."""
        self.counts[channel] += 1
        self.start_ns, self.end_ns = min(self.start_ns, log_time_ns), max(self.end_ns, log_time_ns)


class Damage(Exception):
    """Bytes that are no record of the format."""


class ChunkedFile(ABC):
    """A file of records, walked and open for reading.

    Raises:
        BagError: it cannot be opened, or it is of another format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.channels: dict[int, Topic] = {}
        self.spans: list[Span] = []
        self.notes: list[str] = []
        self.promised: dict[str, int] = {}
        self._last: tuple[Span, Contents] | None = None
        try:
            self._file = path.open("rb")
            self._size = os.fstat(self._file.fileno()).st_size
        except OSError as error:
            raise BagError(f"bag {path}: cannot be opened: {error.strerror}") from error
        try:
            self._walk()
            self._scan_what_no_index_describes()
        except BaseException:
            self._file.close()
            raise
        self._last = None
        self._choose_one_type_per_topic()
        self.topics = {topic.name: topic for topic in self.channels.values()}
        counts = Counter[str](dict.fromkeys(self.topics, 0))
        for channel, count in self._channel_counts().items():
            counts[self.channels[channel].name] += count
        self.counts: dict[str, int] = dict(counts)
        filled = [span for span in self.spans if span.counts]
        self.start_ns = min((span.start_ns for span in filled), default=0)
        self.end_ns = max((span.end_ns for span in filled), default=0)
        self.open_bytes = max((span.open_bytes for span in filled), default=0)

    def messages(
        self, topics: Collection[str] | None, start_ns: int | None, stop_ns: int | None
    ) -> Iterator[StoredMessage]:
        """Messages by log time; of all topics or of those named; from `start_ns` on and before `stop_ns`."""
        names = {
            number: topic.name for number, topic in self.channels.items() if topics is None or topic.name in topics
        }
        first, stop = start_ns if start_ns is not None else 0, stop_ns if stop_ns is not None else sys.maxsize

        def read(span: Span) -> list[StoredMessage]:
            chosen = [
                StoredMessage(names[message.channel], message.log_time_ns, message.data)
                for message in self._contents(span, keep=stop_ns is not None).messages
                if message.channel in names and first <= message.log_time_ns < stop
            ]
            return sorted(chosen, key=lambda message: message.log_time_ns)

        yield from merge_by_time(
            Source(span.start_ns, lambda span=span: read(span), span.open_bytes)  # type: ignore[misc]  # bound now
            for span in self.spans
            if span.start_ns < stop and span.end_ns >= first and not names.keys().isdisjoint(span.counts)
        )

    def close(self) -> None:
        """Release the file; closing twice does no harm."""
        self._file.close()

    def note(self, text: str) -> None:
        """Remember what is wrong with the file, once."""
        text = f"{self.path.name}: {text}"
        if text not in self.notes:
            self.notes.append(text)

    @abstractmethod
    def _walk(self) -> None:
        """Find spans, channels and promised counts."""

    @abstractmethod
    def _parse(self, data: MessageBytes, whole: bool) -> Iterator[RawMessage]:
        """Messages of decompressed records; channels that are defined among them are added.

        Raises:
            Damage: the bytes are no records, or end in the middle of one although they are the `whole` span.
        """

    def _read(self, offset: int, length: int) -> bytes:
        """Bytes of the file, fewer at its end."""
        self._file.seek(offset)
        return self._file.read(min(length, max(self._size - offset, 0)))  # a damaged length may be any number

    def _read_writable(self, offset: int, length: int) -> memoryview:
        """The same into memory that images may alias and their users may write into."""
        buffer = np.empty(min(length, max(self._size - offset, 0)), np.uint8).data
        self._file.seek(offset)
        return buffer[: self._file.readinto(buffer)]

    def _scan_what_no_index_describes(self) -> None:
        """Read chunks whose messages, times or channels no index record told beyond doubt."""
        for span in self.spans:
            if not span.counts or not span.agrees or not self.channels.keys() >= span.counts.keys():
                span.forget()
                for message in self._contents(span, keep=False).messages:
                    span.see(message.channel, message.log_time_ns)

    def _channel_counts(self) -> Counter[int]:
        total = Counter[int]()
        for span in self.spans:
            total.update(span.counts)
        return Counter({channel: count for channel, count in total.items() if channel in self.channels})

    def _choose_one_type_per_topic(self) -> None:
        """Note messages without a description, and those of a second type on one topic, which nobody could decode."""
        for span in self.spans:
            for channel in span.counts.keys() - self.channels.keys():
                self.note(f"{span.counts[channel]} messages of a channel that the file does not describe are left out")
        counts = self._channel_counts()
        by_name: dict[str, list[int]] = {}
        for channel in sorted(self.channels, key=lambda channel: -counts[channel]):
            by_name.setdefault(self.channels[channel].name, []).append(channel)
        for name, (first, *others) in by_name.items():
            for other in others:
                if self.channels[other].msgtype != self.channels[first].msgtype:
                    dropped = self.channels.pop(other)
                    if counts[other]:
                        self.note(
                            f"{name} holds {self.channels[first].msgtype} and {dropped.msgtype}:"
                            f" {counts[other]} messages of the second are left out"
                        )

    def _contents(self, span: Span, *, keep: bool) -> Contents:
        """The messages of a span; what cannot be read is noted and left out. `keep` it for the neighbors' sake."""
        if self._last is not None and self._last[0] is span:  # neighbors in time are asked for one by one
            return self._last[1]
        data, problem = self._records(span)
        messages: list[RawMessage] = []
        if not problem or data:
            try:
                messages.extend(self._parse(data, whole=not problem))
            except Damage as error:
                problem = problem or str(error)
        contents = Contents(messages, problem)
        if problem:
            lost = sum(span.counts.values()) - len(messages)
            self.note(
                f"damaged at byte {span.offset} ({problem}):"
                + (f" {lost} messages are left out" if lost > 0 else f" {len(messages)} messages before it are used")
            )
        elif span.counts and span.counts != Counter(message.channel for message in messages):
            self.note(f"damaged at byte {span.offset}: its index names other messages than it holds")
        self._last = (span, contents) if keep else None
        return contents

    def _records(self, span: Span) -> tuple[MessageBytes, str]:
        """The decompressed bytes of a span, and why they are not all of it."""
        is_stored = span.compression in (None, *_UNCOMPRESSED)
        data: MessageBytes = (self._read_writable if is_stored else self._read)(span.offset, span.length)
        problem = "" if len(data) == span.length else "the file ends here"
        if span.compression is None:
            return data, problem
        try:
            data, complete = decompress(span.compression, data, min(span.size or MAX_CHUNK_BYTES, MAX_CHUNK_BYTES))
        except Exception as error:  # each library has its own
            return b"", f"cannot be decompressed: {error}"
        if not complete or (span.size and len(data) != span.size):
            return data, problem or "its compressed data has another size than it says"
        if span.crc and not problem and span.crc != crc32(data):
            return b"", "its checksum does not match"
        return data, problem


def decompress(compression: str, data: MessageBytes, limit: int) -> tuple[MessageBytes, bool]:
    """Decompressed bytes, as far as the data reaches, and whether it was complete.

    Of what is larger than `limit`, one byte more than that comes back, and it is not complete.

    Raises:
        BagError: an unknown compression.
    """
    if compression in _UNCOMPRESSED:
        return data, True
    if compression == "zstd":
        unzstd = zstd.ZstdDecompressor()
        return unzstd.decompress(data, limit + 1), unzstd.eof
    if compression == "lz4":
        unlz4 = lz4.frame.LZ4FrameDecompressor()
        return unlz4.decompress(data, limit + 1), unlz4.eof
    if compression == "bz2":
        unbz2 = bz2.BZ2Decompressor()
        return unbz2.decompress(data, limit + 1), unbz2.eof
    raise BagError(f"chunks compressed with '{compression}', expected zstd, lz4, bz2 or none: convert the recording")
