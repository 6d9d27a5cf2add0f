# SPDX-License-Identifier: Apache-2.0
"""SQLite storage files of rosbag2 and of the RealSense SDK, whatever their schema, journal or path."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from road_kd_seg.bags.storage import StoredMessage, Topic
from road_kd_seg.errors import BagError

# SQLite puts a value of any type into any column.
_SOUND_TOPIC = "typeof(id) = 'integer' AND typeof(name) = 'text' AND typeof(type) = 'text'"
_SOUND_MESSAGE = (
    f"typeof(topic_id) = 'integer' AND typeof(timestamp) = 'integer' AND timestamp BETWEEN 0 AND {sys.maxsize - 1}"
    " AND typeof(data) = 'blob'"
)
_MAX_VALUE_BYTES = 1 << 28
"""Of one value; a generated column may claim any size."""


class SqliteFile:
    """A .db3 file, open for reading.

    Raises:
        BagError: it cannot be opened, or holds no tables of a recorder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self.promised: dict[str, int] = {}
        self.open_bytes = _MAX_VALUE_BYTES
        self._damaged = False
        journal = path.with_name(path.name + "-wal")
        pending = journal.is_file() and journal.stat().st_size > 0
        # What a killed recorder left in its journal belongs to the recording, and SQLite needs to lock to read it.
        # Without a journal nothing may be touched, not even in a folder that is read-only.
        mode = "mode=ro" if pending else "mode=ro&immutable=1"
        try:
            # A URI, because only it can say read-only; as_uri escapes what a path may hold (?, #, %).
            self._connection = sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True, check_same_thread=False)
            if sys.version_info >= (3, 11):
                self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE_BYTES)
            # What SQLite's authors advise for files of strangers.
            self._connection.execute("PRAGMA trusted_schema = OFF")
            self._connection.execute("PRAGMA cell_size_check = ON")
            self._connection.text_factory = lambda text: text.decode("utf-8", "replace")
            tables = {name for (name,) in self._connection.execute("SELECT name FROM sqlite_master WHERE type='table'")}
        except sqlite3.Error as error:
            advice = (
                ": its journal (-wal) can only be read where you may write: copy the folder"
                if pending
                else ": it is no SQLite file, is empty, or lost its beginning: pass the file that the recorder wrote"
            )
            raise BagError(f"bag {path}: cannot be opened: {error}{advice}") from error
        if not {"topics", "messages"} <= tables:
            self.close()
            raise BagError(f"bag {path}: it has no tables 'topics' and 'messages': it is no recording, or an empty one")
        try:
            self._describe()
        except sqlite3.Error as error:
            self.close()
            raise BagError(f"bag {path}: its table of topics cannot be read ({error}): the file is damaged") from error

    def messages(
        self, topics: Collection[str] | None, start_ns: int | None, stop_ns: int | None
    ) -> Iterator[StoredMessage]:
        """Messages by log time; of all topics or of those named; from `start_ns` on and before `stop_ns`."""
        names = {number: name for number, name in self._names.items() if topics is None or name in topics}
        first, stop = start_ns if start_ns is not None else -1, stop_ns if stop_ns is not None else sys.maxsize
        wanted = f"topic_id IN ({','.join('?' * len(names))}) AND timestamp >= ? AND timestamp < ?"
        arguments = (*names, first, stop)
        delivered: set[int] = set()
        try:
            if self._damaged:
                raise sqlite3.DatabaseError("its index of times is damaged")
            for row in self._rows(f"{wanted} ORDER BY timestamp, rowid", arguments):
                yield StoredMessage(names[row[1]], row[2], row[3])
                delivered.add(row[0])
        except sqlite3.Error as error:
            self._note(f"damaged ({error})")
            self._damaged = True
            # The order of time is lost with its index; what is left comes as it was stored, which is nearly the same.
            yield from self._readable(wanted, arguments, names, delivered)

    def close(self) -> None:
        """Release the file; closing twice does no harm."""
        self._connection.close()

    def _describe(self) -> None:
        columns = {row[1] for row in self._connection.execute("PRAGMA table_info(topics)")}
        qos = "offered_qos_profiles" if "offered_qos_profiles" in columns else "''"
        selected = f"SELECT id, name, type, serialization_format, {qos} FROM topics WHERE {_SOUND_TOPIC}"
        rows = self._connection.execute(selected).fetchall()
        self._names: dict[int, str] = {row[0]: row[1] for row in rows}
        self.topics = {
            name: Topic(name, msgtype, str(encoding), text if isinstance(text, str) else "")
            for _, name, msgtype, encoding, text in rows
        }
        self.counts = dict.fromkeys(self.topics, 0)
        self.start_ns = self.end_ns = 0
        try:
            grouped = f"SELECT topic_id, count(*) FROM messages WHERE {_SOUND_MESSAGE} GROUP BY topic_id"
            for number, count in self._connection.execute(grouped):
                if number in self._names:
                    self.counts[self._names[number]] += count
                else:
                    self._note(f"{count} messages of a topic that the file does not describe are left out")
            ((odd,),) = self._connection.execute(f"SELECT count(*) FROM messages WHERE NOT ({_SOUND_MESSAGE})")
            if odd:
                self._note(f"{odd} messages whose values have other types than a recorder writes are left out")
            span = f"SELECT min(timestamp), max(timestamp), max(length(data)) FROM messages WHERE {_SOUND_MESSAGE}"
            ((first, last, largest),) = self._connection.execute(span)
            self.start_ns, self.end_ns, self.open_bytes = first or 0, last or 0, largest or 0
        except sqlite3.Error as error:
            self._damaged = True
            self._note(f"damaged ({error}): what can be read is used")
            self._count_one_by_one()

    def _count_one_by_one(self) -> None:
        self.counts = dict.fromkeys(self.topics, 0)
        times: list[int] = []
        for message in self._readable("1", (), self._names, set()):
            self.counts[message.topic] += 1
            times.append(message.log_time_ns)
        self.start_ns, self.end_ns = min(times, default=0), max(times, default=0)

    def _rows(self, condition: str, arguments: Collection[int]) -> sqlite3.Cursor:
        """Number, topic, log time and data of messages."""
        return self._connection.execute(
            f"SELECT rowid, topic_id, timestamp, data FROM messages WHERE {_SOUND_MESSAGE} AND {condition}",
            tuple(arguments),
        )

    def _readable(
        self, condition: str, arguments: Collection[int], names: dict[int, str], delivered: Collection[int]
    ) -> Iterator[StoredMessage]:
        """Messages in the order of storing up to the damage, without those that were delivered."""
        used = 0
        try:
            for row in self._rows(f"{condition} ORDER BY rowid", arguments):
                if row[1] in names:
                    used += 1
                    if row[0] not in delivered:
                        yield StoredMessage(names[row[1]], row[2], row[3])
        except sqlite3.Error:
            self._note(f"{used} messages before the damage are used, what comes after it is left out")

    def _note(self, text: str) -> None:
        text = f"{self.path.name}: {text}"
        if text not in self.notes:
            self.notes.append(text)
