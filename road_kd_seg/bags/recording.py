# SPDX-License-Identifier: Apache-2.0
"""A recording as one stream of messages: whichever files it consists of, whoever wrote them, whatever is damaged."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from road_kd_seg.bags.chunked import MAX_CHUNK_BYTES, decompress, zstd
from road_kd_seg.bags.mcap_file import McapFile
from road_kd_seg.bags.ros1_file import Ros1File
from road_kd_seg.bags.ros1_messages import is_convertible, to_cdr
from road_kd_seg.bags.sqlite_file import SqliteFile
from road_kd_seg.bags.storage import MessageBytes, Source, StorageFile, StoredMessage, Topic, merge_by_time
from road_kd_seg.errors import BagError, RoadKdError, printable, shown
from road_kd_seg.files import read_file
from road_kd_seg.plain_data import Field, parse_yaml

FORMATS: dict[str, type[McapFile | SqliteFile | Ros1File]] = {
    ".mcap": McapFile,
    ".db3": SqliteFile,
    ".bag": Ros1File,
    ".active": Ros1File,  # what rosbag's recorder calls a file that it has not finished
}
_ZSTD = b"\x28\xb5\x2f\xfd"
"""First bytes of a zstd frame; serialized messages begin with 0."""
_EPOCH_NS = 86_400_000_000_000
"""Log times of the first day of 1970 beside later ones are of what the RealSense SDK describes itself with."""
_COPY_BYTES = 8 << 20
_METADATA_BYTES = 4 << 20
_MANY = 100_000
"""Of a metadata.yaml: it lists every file of a recording that was split."""


class Recording:
    """A rosbag2 folder, a storage file of rosbag2 or of the RealSense SDK, or a ROS 1 bag, open for reading.

    The suffix of a file tells its format. metadata.yaml is only asked for what the files do not say (which belong
    together, QoS, promised counts), so that none, an old or a wrong one does no harm.

    Raises:
        BagError: nothing is there, or nothing that can be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._notes: list[str] = []
        self._unpacked: tempfile.TemporaryDirectory[str] | None = None
        metadata = _read_metadata(path, self._notes)
        self._files: list[StorageFile] = []
        paths = _storage_files(path, metadata.files, self._notes)
        for file in paths:
            try:
                self._files.append(self._open(file))
            except BagError as error:
                if file == paths[-1] and not self._files:
                    self.close()
                    raise
                self._note(f"{error}; the other files are read")
        self.topics: dict[str, Topic] = {}
        self.counts: dict[str, int] = {}
        for storage in self._files:
            for name, topic in storage.topics.items():
                known = self.topics.setdefault(name, topic)
                if known.msgtype != topic.msgtype:
                    self._note(f"{name} has the types {known.msgtype} and {topic.msgtype}: the first is read")
                self.counts[name] = self.counts.get(name, 0) + storage.counts.get(name, 0)
        self._apply(metadata.topics)
        filled = [storage for storage in self._files if sum(storage.counts.values())]
        self.start_ns = min((storage.start_ns for storage in filled), default=0)
        end_ns = max((storage.end_ns for storage in filled), default=0)
        if self.start_ns < _EPOCH_NS and end_ns > 2 * _EPOCH_NS:
            self.start_ns = next((message.log_time_ns for message in self.messages(start_ns=_EPOCH_NS)), end_ns)
        self.duration_ns = end_ns - self.start_ns

    @property
    def notes(self) -> list[str]:
        """What is damaged, missing or left out, in sentences; reading may add to them."""
        found = [*self._notes, *(note for file in self._files for note in file.notes)]
        return list(dict.fromkeys(map(printable, found)))

    def messages(
        self, topics: Collection[str] | None = None, start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[StoredMessage]:
        """Messages as CDR, by log time; of all topics or of those named; from `start_ns` on and before `stop_ns`."""
        stream = merge_by_time(
            Source(
                file.start_ns,
                lambda file=file: file.messages(topics, start_ns, stop_ns),  # type: ignore[misc]
                file.open_bytes,
            )
            for file in self._files
            if any(file.counts.get(name) for name in (file.topics if topics is None else topics))
        )
        for message in stream:
            if message.topic not in self.topics:  # a channel that only a damaged part of the file has
                self._note(f"messages of {shown(message.topic)}, which the recording does not list, are left out")
                continue
            yield message._replace(data=self._as_cdr(self.topics[message.topic], message.data))

    def is_ros2(self, topic: str) -> bool:
        """Whether `messages` yields the topic's messages as ROS 2 serializes them."""
        described = self.topics[topic]
        return described.encoding == "cdr" or (described.encoding == "ros1" and is_convertible(described.msgtype))

    def close(self) -> None:
        """Release the files; closing twice does no harm."""
        for file in self._files:
            file.close()
        if self._unpacked is not None:
            self._unpacked.cleanup()

    def _as_cdr(self, topic: Topic, data: MessageBytes) -> MessageBytes:
        if data[:4] == _ZSTD and topic.encoding == "cdr":
            # Recorders compress single messages with and without saying so.
            try:
                data, complete = decompress("zstd", data, MAX_CHUNK_BYTES)
            except zstd.ZstdError:
                complete = False
            if not complete:
                self._note(f"{topic.name} holds messages whose compressed data is damaged")
        return to_cdr(topic.msgtype, bytes(data)) if topic.encoding == "ros1" and self.is_ros2(topic.name) else data

    def _open(self, file: Path) -> StorageFile:
        if file.suffix != ".zstd":
            return FORMATS[file.suffix](file)
        self._unpacked = self._unpacked or tempfile.TemporaryDirectory(prefix="road_kd_bag_")
        unpacked = Path(self._unpacked.name) / file.stem
        try:
            if not _unpack(file, unpacked, shutil.disk_usage(unpacked.parent).free // 2):
                self._note(f"{file.name}: cut short, what can be decompressed is used")
        except zstd.ZstdError as error:
            self._note(f"{file.name}: damaged ({error}), what comes before is used")
        except OSError as error:
            raise BagError(f"bag {file}: cannot be unpacked to {unpacked.parent}: {error.strerror}") from error
        return FORMATS[unpacked.suffix](unpacked)

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)

    def _apply(self, metadata: dict[str, _Promise]) -> None:
        """Take QoS from metadata, and compare what was promised with what is there.

        Raises:
            BagError: all messages of a promised topic are missing.
        """
        promised = Counter[str]()
        for file in self._files:
            promised.update(file.promised)
        for name, count in {**promised, **{name: promise.messages for name, promise in metadata.items()}}.items():
            there = self.counts.get(name, 0)
            if count > 0 and there == 0 and name in metadata and not sum(self.counts.values()):
                raise BagError(
                    f"bag {self.path}: metadata.yaml promises {count} messages on {name}, the files hold none at all:"
                    " files of the recording are missing or empty: copy the whole folder again"
                )
            if count != there:
                source = "metadata.yaml" if name in metadata else "the file's index"
                self._note(f"{source} promises {count} messages on {name}, {there} are there")
        for name, promise in metadata.items():
            if name in self.topics and not self.topics[name].qos:
                topic = self.topics[name]
                self.topics[name] = Topic(topic.name, topic.msgtype, topic.encoding, promise.qos)


class _Promise(NamedTuple):
    """What metadata.yaml says about a topic."""

    messages: int
    qos: str


class _Metadata(NamedTuple):
    """What is needed of metadata.yaml."""

    topics: dict[str, _Promise]
    files: list[str]


def _read_metadata(folder: Path, notes: list[str]) -> _Metadata:
    """Empty where there is no metadata.yaml, or one that cannot be read."""
    path = folder / "metadata.yaml"
    if not path.is_file():
        return _Metadata({}, [])
    try:
        content = Field(parse_yaml(read_file(path, _METADATA_BYTES), "it", _METADATA_BYTES), "")
        information = content["rosbag2_bagfile_information"]
        topics = {}
        for entry in information["topics_with_message_count"].items(0, _MANY):
            topic = entry["topic_metadata"]
            qos = topic.get("offered_qos_profiles")
            count = entry["message_count"].integer(0, 2**63 - 1)
            topics[topic["name"].text()] = _Promise(count, "" if qos is None else _qos_text(qos.value))
        files = [Path(name.text()).name for name in information["relative_file_paths"].items(0, _MANY)]
    except RoadKdError as error:
        notes.append(f"metadata.yaml is not used: {error}")
        return _Metadata({}, [])
    return _Metadata(topics, files)


def _unpack(file: Path, target: Path, limit: int) -> bool:
    """Decompress a file of zstd frames; false if it ends in the middle of one.

    Raises:
        BagError: more than `limit` bytes come out of it.
        OSError: of either file.
    """
    unzstd = zstd.ZstdDecompressor()
    with file.open("rb") as source, target.open("wb") as unpacked:
        while block := source.read(_COPY_BYTES):
            while block or not (unzstd.needs_input or unzstd.eof):
                if unzstd.eof:
                    unzstd = zstd.ZstdDecompressor()
                limit -= unpacked.write(unzstd.decompress(block, _COPY_BYTES))
                if limit < 0:
                    target.unlink()
                    raise BagError(f"bag {file}: unpacked, more than half of the free space in {target.parent}")
                block = unzstd.unused_data if unzstd.eof else b""
    return bool(unzstd.eof)


def _qos_text(value: Any) -> str:
    return value if isinstance(value, str) else yaml.safe_dump(value)


def _storage_files(path: Path, listed: list[str], notes: list[str]) -> list[Path]:
    """The files of a recording in their order.

    Raises:
        BagError: nothing is there, no storage file, or files of several recordings.
    """
    if not path.exists():
        raise BagError(f"bag {path}: no such file or folder: pass a rosbag2 folder, an .mcap, .db3 or .bag file")
    if not path.is_dir():
        if not path.is_file() or _format(path) is None:
            raise BagError(f"bag {path}: expected a rosbag2 folder, an .mcap, .db3 or .bag file")
        return [path]
    present = [file for file in path.iterdir() if file.is_file()]  # a pipe would never end
    found = sorted((file for file in present if _format(file) and not file.name.startswith(".")), key=_order)
    missing = [name for name in listed if not (path / name).is_file()]
    if missing:
        notes.append(f"{len(missing)} of {len(listed)} files are missing, the first is {missing[0]}")
    stems = {_stem(path / name) for name in listed} or {_stem(file) for file in found}
    files = [file for file in found if file.name in listed or _stem(file) in stems]
    others = [file.name for file in found if file not in files]
    if others:
        notes.append(f"{', '.join(others)} belong to another recording and are not read")
    if not files:
        inside = sorted(folder.name for folder in path.iterdir() if (folder / "metadata.yaml").is_file())
        what = f"; there are recordings in {', '.join(inside)}" if inside else ""
        raise BagError(f"bag {path}: no .mcap, .db3 or .bag file in this folder{what}: pass the folder that holds one")
    if not listed and len({(_stem(file), _format(file)) for file in files}) > 1:
        names = ", ".join(file.name for file in files)
        raise BagError(f"bag {path}: files of several recordings and no metadata.yaml ({names}): pass one file")
    # A recorder that was killed had not listed its last files yet.
    unlisted = [file.name for file in files if listed and file.name not in listed]
    if unlisted:
        notes.append(f"metadata.yaml does not list {', '.join(unlisted)}, which are read as well")
    return files


def _format(file: Path) -> str | None:
    """Suffix that tells the format of a storage file, None for other files."""
    suffix = Path(file.stem).suffix if file.suffix == ".zstd" else file.suffix
    return suffix if suffix in FORMATS else None


def _stem(file: Path) -> str:
    """Name of the recording that a file belongs to: without its number and suffixes."""
    return re.sub(r"(_\d+)?(\.\w+)*$", "", file.name)


def _order(file: Path) -> tuple[str, int]:
    number = re.search(r"_(\d+)(\.\w+)*$", file.name)
    return _stem(file), int(number.group(1)) if number else -1
