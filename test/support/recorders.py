# SPDX-License-Identifier: Apache-2.0
"""Recordings as other people's recorders write them: MCAP with every option, SQLite of every schema, ROS 1 bags."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from backports import zstd
from mcap.writer import CompressionType, IndexType, Writer
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.typesys import Stores, get_typestore

ROS2, ROS1 = get_typestore(Stores.ROS2_JAZZY), get_typestore(Stores.ROS1_NOETIC)
IMAGE = "sensor_msgs/msg/Image"


class Record(NamedTuple):
    """A message to record."""

    topic: str
    msgtype: str
    log_time_ns: int
    data: bytes


def header(stamp_ns: int, frame_id: str = "camera", store: Any = ROS2) -> Any:
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    stamp = store.types["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec)
    fields = {"seq": 0} if store is ROS1 else {}
    return store.types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id, **fields)


def image(pixels: np.ndarray, encoding: str, stamp_ns: int, *, frame_id: str = "camera", store: Any = ROS2) -> Any:
    return store.types[IMAGE](
        header=header(stamp_ns, frame_id, store),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=pixels.strides[0],
        data=np.frombuffer(pixels.tobytes(), np.uint8),
    )


def compressed_image(format_: str, data: bytes, stamp_ns: int) -> Any:
    kind = ROS2.types["sensor_msgs/msg/CompressedImage"]
    return kind(header=header(stamp_ns), format=format_, data=np.frombuffer(data, np.uint8))


def string(text: str) -> Any:
    return ROS2.types["std_msgs/msg/String"](data=text)


def record(topic: str, message: Any, log_time_ns: int) -> Record:
    return Record(topic, message.__msgtype__, log_time_ns, bytes(ROS2.serialize_cdr(message, message.__msgtype__)))


def numbered_images(count: int, topics: Iterable[str], period_ns: int = 1_000_000, size: int = 4) -> list[Record]:
    """Gray images whose pixels all are their number, on each topic at the same times."""
    return [
        record(topic, image(np.full((size, size), number, np.uint8), "mono8", number * period_ns), number * period_ns)
        for number in range(count)
        for topic in topics
    ]


def write_mcap(
    path: Path, records: Iterable[Record], *, profile: str = "ros2", foreign: bool = False, **options: Any
) -> Path:
    """One MCAP file by the reference library.

    Args:
        path: of the file.
        records: in the order of writing.
        profile: of the header.
        foreign: also write a JSON channel, as Foxglove's tools do.
        options: `mcap.writer.Writer`'s.
    """
    with path.open("wb") as stream:
        writer = Writer(stream, **options)
        writer.start(profile)
        channels: dict[str, int] = {}
        if foreign:
            schema = writer.register_schema("thing", "jsonschema", b"{}")
            channel = writer.register_channel("/json", "json", schema)
            writer.add_message(channel, 1, b"{}", 1)
        for topic, msgtype, log_time_ns, data in records:
            if topic not in channels:
                schema = writer.register_schema(msgtype, "ros2msg", b"")
                channels[topic] = writer.register_channel(topic, "cdr", schema)
            writer.add_message(channels[topic], log_time_ns, data, log_time_ns)
        writer.finish()
    return path


MCAP_OPTIONS = {
    "chunk_size": [1, 200, 1 << 20],
    "compression": list(CompressionType),
    "index_types": [IndexType.ALL, IndexType.NONE, IndexType.CHUNK, IndexType.MESSAGE],
    "use_chunking": [True, False],
    "use_statistics": [True, False],
    "use_summary_offsets": [True, False],
    "repeat_channels": [True, False],
    "repeat_schemas": [True, False],
    "enable_crcs": [True, False],
}


def write_sqlite(
    path: Path,
    records: Iterable[Record],
    *,
    with_qos: bool = True,
    qos: dict[str, str] | None = None,
    compressed: bool = False,
    journal: str = "MEMORY",
) -> Path:
    """One .db3 file; `qos` by topic; `compressed`: each message by itself, unannounced."""
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA journal_mode={journal}")
    column = ",offered_qos_profiles TEXT NOT NULL" if with_qos else ""
    connection.execute(
        f"CREATE TABLE topics(id INTEGER PRIMARY KEY,name TEXT,type TEXT,serialization_format TEXT{column})"
    )
    connection.execute("CREATE TABLE messages(id INTEGER PRIMARY KEY,topic_id INTEGER,timestamp INTEGER,data BLOB)")
    connection.execute("CREATE INDEX timestamp_idx ON messages (timestamp ASC)")
    numbers: dict[str, int] = {}
    for topic, msgtype, log_time_ns, data in records:
        if topic not in numbers:
            numbers[topic] = len(numbers) + 1
            row = (numbers[topic], topic, msgtype, "cdr", *([(qos or {}).get(topic, "")] if with_qos else []))
            connection.execute(f"INSERT INTO topics VALUES ({','.join('?' * len(row))})", row)
        payload = zstd.compress(data) if compressed else data
        connection.execute(
            "INSERT INTO messages(topic_id,timestamp,data) VALUES (?,?,?)", (numbers[topic], log_time_ns, payload)
        )
    connection.commit()
    connection.close()
    return path


def write_ros1(path: Path, messages: Iterable[tuple[str, Any, int]], *, compression: str | None = None) -> Path:
    """A ROS 1 bag of (topic, message of the ROS1 store, log time)."""
    writer = Ros1Writer(path)
    if compression:
        writer.set_compression(Ros1Writer.CompressionFormat[compression.upper()])
    connections: dict[str, Any] = {}
    with writer:
        for topic, message, log_time_ns in messages:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, message.__msgtype__, typestore=ROS1)
            data = ROS1.serialize_ros1(message, message.__msgtype__)
            writer.write(connections[topic], log_time_ns, data)
    return path


def numbers_of(messages: Iterable[Any]) -> Iterator[tuple[str, int]]:
    """Topic and number of images of `numbered_images`."""
    for message in messages:
        yield message.topic, int(ROS2.deserialize_cdr(message.cdr, IMAGE).data[0])
