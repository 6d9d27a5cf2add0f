# SPDX-License-Identifier: Apache-2.0
"""Recordings that were made to hurt: what is sound in them is read, within bounds, or they are refused in one line."""

import os
import sqlite3
import time
import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest
import yaml
from backports import zstd
from mcap.writer import CompressionType

from recorders import Record, numbered_images, numbers_of, record, string, write_mcap, write_sqlite
from road_kd_seg.bags import chunked, recording, storage
from road_kd_seg.bags.reader import BagReader
from road_kd_seg.bags.recording import Recording
from road_kd_seg.bags.topics import LABEL_TOPIC
from road_kd_seg.bags.writer import write_bag
from road_kd_seg.errors import BagError

SECONDS = 10.0
"""Of processor time, while every allocation is traced, which makes it several times as slow."""
MANY_BYTES = 100_000_000


@contextmanager
def little_time_and_memory():
    tracemalloc.start()
    begun_s = time.process_time()
    try:
        yield
        spent_s, peak = time.process_time() - begun_s, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert spent_s < SECONDS
    assert peak < MANY_BYTES


def read(path):
    """Number of messages on each topic that can be read, and the notes."""
    with little_time_and_memory():
        opened = Recording(path)
        try:
            messages = list(opened.messages())
            assert all(isinstance(message.data, bytes | memoryview) for message in messages)
            return [message.topic for message in messages], opened.notes
        finally:
            opened.close()


class TestBombs:
    @pytest.mark.parametrize("compression", [CompressionType.ZSTD, CompressionType.LZ4])
    def test_a_chunk_that_unpacks_to_more_than_it_says_is_left_out(self, tmp_path, compression, monkeypatch):
        monkeypatch.setattr(chunked, "MAX_CHUNK_BYTES", 1 << 20)
        zeros = Record("/zeros", "std_msgs/msg/String", 5, bytes(200 << 20))
        file = write_mcap(tmp_path / "drive.mcap", [zeros], compression=compression, chunk_size=1)
        assert file.stat().st_size < 2 << 20
        topics, notes = read(file)
        assert topics == []
        assert "another size than it says" in notes[0]

    def test_so_is_a_single_message(self, tmp_path, monkeypatch):
        monkeypatch.setattr(recording, "MAX_CHUNK_BYTES", 1 << 20)
        bomb = Record("/zeros", "std_msgs/msg/String", 5, zstd.compress(bytes(200 << 20)))
        _, notes = read(write_sqlite(tmp_path / "drive.db3", [bomb]))
        assert "compressed data is damaged" in " ".join(notes)

    @pytest.mark.parametrize("files", [1, 40])
    def test_chunks_that_all_claim_one_time_are_not_unpacked_at_once(self, tmp_path, monkeypatch, files):
        """A kilobyte of each stands for megabytes: a recording of 1 MB would take 30 GB."""
        monkeypatch.setattr(storage, "MAX_OPEN_BYTES", 32 << 20)
        zeros = [Record("/zeros", "std_msgs/msg/String", 5, bytes(8 << 20))] * (40 // files)
        for number in range(files):
            file = tmp_path / f"drive_{number}.mcap"
            write_mcap(file, zeros, compression=CompressionType.ZSTD, chunk_size=1)
        with little_time_and_memory():
            opened = Recording(tmp_path / "drive_0.mcap" if files == 1 else tmp_path)
            assert sum(len(message.data) for message in opened.messages()) == 40 * (8 << 20)
            opened.close()

    def test_a_file_that_would_fill_the_disk_is_refused_and_leaves_nothing(self, tmp_path, monkeypatch):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
        (tmp_path / "scratch").mkdir()
        monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 40 << 20}))
        (tmp_path / "drive.mcap.zstd").write_bytes(zstd.compress(bytes(200 << 20)))
        with little_time_and_memory(), pytest.raises(BagError, match="unpacked, more than half of the free space"):
            Recording(tmp_path / "drive.mcap.zstd")
        assert list((tmp_path / "scratch").iterdir()) == []

    def test_several_frames_in_one_file_are_unpacked_in_full(self, tmp_path):
        content = write_mcap(tmp_path / "drive.mcap", numbered_images(9, ["/one"], size=500)).read_bytes()
        frames = [zstd.compress(content[i : i + 100_000]) for i in range(0, len(content), 100_000)]
        (tmp_path / "drive.mcap").unlink()
        (tmp_path / "drive.mcap.zstd").write_bytes(b"".join(frames))
        assert read(tmp_path / "drive.mcap.zstd") == (["/one"] * 9, [])

    @pytest.mark.parametrize(
        "text",
        [
            "a: &a [x, x]\n" + "".join(f"b{i}: &b{i} [{', '.join(['*a'] * 50)}]\n" for i in range(2000)),
            "[" * 500_000,
            "rosbag2_bagfile_information: " + "1:" * 400_000 + "1",
            "rosbag2_bagfile_information: !!python/object/apply:os.system ['false']",
            "x" * 5_000_000,
        ],
        ids=["aliases", "depth", "base60", "object", "size"],
    )
    def test_metadata_that_cannot_be_read_is_done_without(self, tmp_path, text):
        write_mcap(tmp_path / "drive.mcap", numbered_images(2, ["/one"]))
        (tmp_path / "metadata.yaml").write_text(text)
        topics, notes = read(tmp_path)
        assert topics == ["/one", "/one"]
        assert "metadata.yaml is not used" in notes[0]

    @pytest.mark.parametrize(
        ("place", "value"),
        [
            ("message_count", ".inf"),
            ("message_count", "0x" + "f" * 3900),  # Python does not even print so many digits of base 10
            ("message_count", "-5"),
            ("name", "\x1b[31m\n[ERROR] forged"),
            ("name", ["/one"]),
            ("name", "x" * 3000),
            ("files", ["x" * 3000]),
            ("files", ["a\0b"]),
            ("files", "drive.mcap"),
            ("topics", {"message_count": 1}),
            ("topics", "none"),
        ],
        ids=lambda value: repr(value)[:20],
    )
    def test_metadata_of_values_that_no_recorder_writes_is_done_without(self, tmp_path, place, value):
        write_mcap(tmp_path / "drive.mcap", numbered_images(3, ["/one"]))
        topic = {"message_count": 3, "topic_metadata": {"name": "/one", "offered_qos_profiles": ""}}
        content = {"relative_file_paths": ["drive.mcap"], "topics_with_message_count": [topic]}
        if place == "name":
            topic["topic_metadata"]["name"] = value
        elif place != "message_count":
            content[{"files": "relative_file_paths", "topics": "topics_with_message_count"}[place]] = value
        text = yaml.safe_dump({"rosbag2_bagfile_information": content})
        if place == "message_count":
            text = text.replace("message_count: 3", f"message_count: {value}")
        (tmp_path / "metadata.yaml").write_text(text)
        topics, notes = read(tmp_path)
        assert topics == ["/one"] * 3
        assert notes[0].startswith("metadata.yaml is not used: ")
        assert notes[0].isprintable()


class TestOtherFiles:
    def test_a_pipe_is_no_recording(self, tmp_path):
        os.mkfifo(tmp_path / "drive.mcap")
        for path in (tmp_path, tmp_path / "drive.mcap"):
            with pytest.raises(BagError, match=r"no \.mcap|expected a rosbag2 folder"):
                Recording(path)

    @pytest.mark.parametrize("target", ["/dev/zero", "/dev/stdin", "/proc/self/mem"])
    def test_nor_is_what_never_ends(self, tmp_path, target):
        (tmp_path / "drive.mcap").symlink_to(target)
        with pytest.raises(BagError):
            Recording(tmp_path)

    def test_metadata_names_no_file_outside_its_folder(self, tmp_path):
        (tmp_path / "other").mkdir()
        write_mcap(tmp_path / "other" / "secret.mcap", numbered_images(1, ["/secret"]))
        bag = tmp_path / "bag"
        bag.mkdir()
        write_mcap(bag / "drive.mcap", numbered_images(1, ["/one"]))
        content = {"relative_file_paths": ["../other/secret.mcap"], "topics_with_message_count": []}
        (bag / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": content}))
        with pytest.raises(BagError, match="no .mcap"):
            Recording(bag)


class TestSqlite:
    ODD = (None, 5, 2.5, "text", b"\xff\x00")

    @pytest.mark.parametrize("value", ODD, ids=repr)
    @pytest.mark.parametrize("column", ["topic_id", "timestamp", "data"])
    def test_a_message_of_another_type_is_left_out_and_said(self, tmp_path, column, value):
        file = write_sqlite(tmp_path / "drive.db3", numbered_images(3, ["/one"]))
        with sqlite3.connect(file) as connection:
            connection.execute("ALTER TABLE messages RENAME TO old")
            connection.execute("CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id, timestamp, data)")
            connection.execute("INSERT INTO messages SELECT * FROM old")
            connection.execute(f"UPDATE messages SET {column} = ? WHERE id = 2", (value,))
        connection.close()
        topics, notes = read(file)
        accepted = (column, type(value)) in [("data", bytes), ("timestamp", int)]
        assert len(topics) == (3 if accepted else 2)
        assert bool(notes) != accepted

    @pytest.mark.parametrize("value", ODD, ids=repr)
    @pytest.mark.parametrize("column", ["id", "name", "type", "serialization_format", "offered_qos_profiles"])
    def test_a_topic_of_another_type_harms_no_other(self, tmp_path, column, value):
        records = [*numbered_images(2, ["/one"]), record("/two", string("x"), 9)]
        file = write_sqlite(tmp_path / "drive.db3", records)
        with sqlite3.connect(file) as connection:
            connection.execute("ALTER TABLE topics RENAME TO old")
            connection.execute("CREATE TABLE topics(id, name, type, serialization_format, offered_qos_profiles)")
            connection.execute("INSERT INTO topics SELECT * FROM old")
            connection.execute(f"UPDATE topics SET {column} = ? WHERE name = '/two'", (value,))
        connection.close()
        topics, _ = read(file)
        assert topics.count("/one") == 2
        with BagReader(file) as reader:
            assert reader.message_counts["/one"] == 2

    def test_a_value_that_is_computed_without_end_is_not_waited_for(self, tmp_path):
        file = write_sqlite(tmp_path / "drive.db3", numbered_images(2, ["/one"]))
        with sqlite3.connect(file) as connection:
            connection.execute("DROP TABLE messages")
            connection.execute(
                "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER,"
                " data BLOB GENERATED ALWAYS AS (zeroblob(900000000)))"
            )
            connection.executemany("INSERT INTO messages VALUES (?, 1, ?)", [(1, 1), (2, 2)])
        connection.close()
        topics, notes = read(file)
        assert topics == []
        assert notes


@pytest.mark.parametrize("qos", ["[" * 100_000, "&a [*a]", "- depth: " + "1:" * 300_000 + "1", "- {depth: 1e999}", "5"])
def test_quality_of_service_that_is_none_is_the_usual_one(qos):
    pytest.importorskip("rclpy")
    from road_kd_seg.bags.topic_publishers import publisher_qos

    assert publisher_qos("/one", qos, 5).depth == 10


def test_numbers_of_a_sound_recording_are_what_was_recorded(tmp_path):
    file = write_mcap(tmp_path / "drive.mcap", numbered_images(3, ["/one"]), compression=CompressionType.LZ4)
    with BagReader(file) as reader:
        assert list(numbers_of(reader.messages())) == [("/one", n) for n in range(3)]
    assert np.isfinite(reader.duration_ns)


def test_messages_of_a_channel_that_the_recording_does_not_list_are_left_out_with_a_note(tmp_path, frames_of):
    write_bag(tmp_path / "bag", frames_of(range(2)))
    opened = Recording(tmp_path / "bag")
    del opened.topics[LABEL_TOPIC]  # as where a damaged index lacks a channel that a chunk has
    assert LABEL_TOPIC not in {message.topic for message in opened.messages()}
    assert [note for note in opened.notes if LABEL_TOPIC in note and "left out" in note]
    opened.close()
