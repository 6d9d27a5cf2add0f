# SPDX-License-Identifier: Apache-2.0
"""What is promised of any recording, over recordings that many writers, and accidents, might have made."""

from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType, IndexType

from recorders import (
    MCAP_OPTIONS,
    ROS1,
    image,
    numbered_images,
    numbers_of,
    record,
    write_mcap,
    write_ros1,
    write_sqlite,
)
from road_kd_seg.bags.reader import BagReader
from road_kd_seg.bags.topics import COLOR_TOPIC, DEPTH_TOPIC, LABEL_TOPIC
from road_kd_seg.errors import BagError

TOPICS = ("/one", "/two")
OPTIONS = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in MCAP_OPTIONS.items()})
BARE = {
    "chunk_size": 1,
    "compression": CompressionType.ZSTD,
    "index_types": IndexType.NONE,
    **dict.fromkeys(["use_statistics", "use_summary_offsets", "repeat_channels", "repeat_schemas"], False),
}
"""Written so that only the records themselves tell what is in the file."""
INDEXED = {"chunk_size": 1, "compression": CompressionType.NONE}
KINDS = {*range(0x11), 0x7F, 0x80, 0xFF}
"""Of MCAP's records: all that it defines, and the ends of what it reserves and leaves to others (all skipped alike)."""
FILE_NAMES = st.text("abc #?%&;ä+'=[]", min_size=1, max_size=8).filter(lambda name: name.strip(". ") == name)


@contextmanager
def folder():
    with TemporaryDirectory() as path:
        yield Path(path)


def read_all(path):
    """Every message as (topic, number), by log time, and the notes."""
    with BagReader(path) as reader:
        messages = list(reader.messages())
        assert [m.log_time_ns for m in messages] == sorted(m.log_time_ns for m in messages)
        images = [message for message in messages if message.topic != "/json"]
        assert Counter(m.topic for m in messages) == Counter({t: n for t, n in reader.message_counts.items() if n})
        return list(numbers_of(images)), reader.notes


class TestASoundRecordingIsNeverCalledDamaged:
    """Whatever its path, writer, profile, foreign channels, compression or order; and all of it is delivered."""

    @given(
        options=OPTIONS,
        order=st.permutations(range(9)),
        profile=st.sampled_from(["ros2", "", "x"]),
        foreign=st.booleans(),
        name=FILE_NAMES,
    )
    @settings(max_examples=60, deadline=None)
    def test_mcap(self, options, order, profile, foreign, name):
        records = numbered_images(9, TOPICS)
        shuffled = [records[2 * number + side] for number in order for side in (0, 1)]
        with folder() as path:
            file = write_mcap(path / f"{name}.mcap", shuffled, profile=profile, foreign=foreign, **options)
            found, notes = read_all(file)
        assert Counter(found) == Counter((topic, number) for topic in TOPICS for number in range(9))
        assert notes == []

    @given(
        order=st.permutations(range(9)),
        with_qos=st.booleans(),
        compressed=st.booleans(),
        journal=st.sampled_from(["WAL", "MEMORY", "DELETE"]),
        name=FILE_NAMES,
    )
    @settings(max_examples=25, deadline=None)
    def test_sqlite(self, order, name, **options):
        records = numbered_images(9, TOPICS)
        with folder() as path:
            file = write_sqlite(path / f"{name}.db3", [records[2 * n] for n in order], **options)
            found, notes = read_all(file)
        assert found == [("/one", number) for number in range(9)]
        assert notes == []

    @given(compression=st.sampled_from([None, "bz2", "lz4"]), count=st.integers(1, 9))
    @settings(max_examples=12, deadline=None)
    def test_ros1(self, compression, count):
        messages = [
            ("/one", image(np.full((4, 4), number, np.uint8), "mono8", number, store=ROS1), number * 1000)
            for number in range(count)
        ]
        with folder() as path:
            found, notes = read_all(write_ros1(path / "drive.bag", messages, compression=compression))
        assert found == [("/one", number) for number in range(count)]
        assert notes == []

    @given(files=st.integers(1, 5), metadata=st.booleans(), storage=st.sampled_from([".mcap", ".db3"]))
    @settings(max_examples=20, deadline=None)
    def test_split_recordings_with_and_without_metadata(self, files, metadata, storage):
        records = numbered_images(10, ["/one"])
        write = write_mcap if storage == ".mcap" else write_sqlite
        with folder() as path:
            names = [f"drive_{number}{storage}" for number in range(files)]
            for number, name in enumerate(names):
                write(path / name, records[number * 10 // files : (number + 1) * 10 // files])
            if metadata:
                write_metadata(path, names, {"/one": 10})
            found, notes = read_all(path)
        assert found == [("/one", number) for number in range(10)]
        assert notes == []


class TestNothingRecordedIsLeftOutInSilence:
    @given(options=OPTIONS, cut=st.floats(0.02, 0.999))
    @example(options=INDEXED, cut=0.998046875)
    @settings(max_examples=60, deadline=None)
    def test_an_mcap_that_was_cut_short_gives_what_lies_before_the_cut_and_says_so(self, options, cut):
        with folder() as path:
            file = write_mcap(path / "drive.mcap", numbered_images(9, TOPICS, size=20), **options)
            content = file.read_bytes()
            file.write_bytes(content[: max(8, int(len(content) * cut))])
            found, notes = read_all(file)
        assert found == sorted(found, key=lambda item: item[1])
        assert len(set(found)) == len(found)
        assert notes

    @given(at=st.floats(0, 1), value=st.integers(1, 255), options=OPTIONS)
    @example(at=0.46926656974404735, value=7, options={**BARE, "index_types": IndexType.CHUNK})
    @example(at=0.47265625, value=128, options={**BARE, "use_summary_offsets": True})
    @example(at=0.47265625, value=1, options={**BARE, "use_summary_offsets": True})
    @example(at=0.15184453227931488, value=128, options={**BARE, "index_types": IndexType.MESSAGE})
    @example(at=0.25329380764163373, value=128, options={**BARE, "index_types": IndexType.MESSAGE})
    @settings(max_examples=60, deadline=None)
    def test_of_an_mcap_with_checksums_a_changed_byte_loses_no_message_without_a_note(self, at, value, options):
        options = {**options, "enable_crcs": True, "use_chunking": True}
        with folder() as path:
            file = write_mcap(path / "drive.mcap", numbered_images(9, ["/one"], size=12), **options)
            content = bytearray(file.read_bytes())
            place = 8 + int(at * (len(content) - 9))
            content[place] ^= value
            file.write_bytes(content)
            with BagReader(file) as reader:
                found = [message.topic for message in reader.messages()]
                notes = reader.notes
        assert len(found) == 9 or notes

    @pytest.mark.parametrize("index_types", [IndexType.NONE, IndexType.CHUNK, IndexType.ALL])
    def test_no_change_of_a_record_kind_loses_a_message_without_a_note(self, index_types, tmp_path):
        options = {**BARE, "index_types": index_types}
        content = write_mcap(tmp_path / "drive.mcap", numbered_images(3, ["/one"]), **options).read_bytes()
        place = 8
        while place < len(content) - 8:
            for kind in KINDS - {content[place]}:
                changed = tmp_path / "changed.mcap"
                changed.write_bytes(content[:place] + bytes([kind]) + content[place + 1 :])
                with BagReader(changed) as reader:
                    count = len([message for message in reader.messages() if message.topic == "/one"])
                    assert count >= 3 or reader.notes, (place, kind)
            place += 9 + int.from_bytes(content[place + 1 : place + 9], "little")

    @given(cut=st.floats(0.1, 0.99))
    @settings(max_examples=20, deadline=None)
    def test_sqlite_that_was_cut_short(self, cut):
        with folder() as path:
            file = write_sqlite(path / "drive.db3", numbered_images(40, ["/one"], size=60))
            content = file.read_bytes()
            file.write_bytes(content[: int(len(content) * cut)])
            try:
                with BagReader(file) as reader:
                    found = list(numbers_of(reader.messages()))
                    notes = reader.notes
            except BagError:
                return  # its tables are gone, which is an error
        assert len(found) == 40 or notes
        assert len(set(found)) == len(found)

    @given(cut=st.floats(0.1, 0.99), compression=st.sampled_from([None, "bz2", "lz4"]))
    @settings(max_examples=20, deadline=None)
    def test_ros1_that_was_cut_short(self, cut, compression):
        messages = [
            ("/one", image(np.full((20, 20), number, np.uint8), "mono8", number, store=ROS1), number * 1000)
            for number in range(9)
        ]
        with folder() as path:
            file = write_ros1(path / "drive.bag", messages, compression=compression)
            content = file.read_bytes()
            file.write_bytes(content[: int(len(content) * cut)])
            found, notes = read_all(file)
        assert found == [("/one", number) for number in range(len(found))]
        assert notes

    def test_promised_messages_that_are_missing_are_counted(self, tmp_path):
        write_mcap(tmp_path / "drive_0.mcap", numbered_images(3, TOPICS))
        write_metadata(tmp_path, ["drive_0.mcap", "drive_1.mcap"], {"/one": 5, "/two": 3})
        with BagReader(tmp_path) as reader:
            assert len(list(reader.messages())) == 6
            assert "1 of 2 files are missing, the first is drive_1.mcap" in reader.notes
            assert "metadata.yaml promises 5 messages on /one, 3 are there" in reader.notes

    def test_a_recording_that_lost_everything_is_an_error(self, tmp_path):
        write_mcap(tmp_path / "drive_0.mcap", [])
        write_metadata(tmp_path, ["drive_0.mcap"], {"/one": 5})
        with pytest.raises(BagError, match="promises 5 messages on /one, the files hold none at all"):
            BagReader(tmp_path)

    def test_a_journal_that_a_killed_recorder_left_is_read(self, tmp_path):
        import shutil
        import sqlite3

        (tmp_path / "live").mkdir()
        live = write_sqlite(tmp_path / "live" / "drive.db3", numbered_images(2, ["/one"]), journal="WAL")
        connection = sqlite3.connect(live)
        connection.execute("PRAGMA wal_autocheckpoint=0")
        (data,) = (row for row in connection.execute("SELECT data FROM messages WHERE id=2"))
        connection.execute("INSERT INTO messages(topic_id,timestamp,data) VALUES (1,9000000,?)", data)
        connection.commit()
        (tmp_path / "killed").mkdir()
        for file in live.parent.iterdir():
            shutil.copy(file, tmp_path / "killed")
        connection.close()
        assert len(read_all(tmp_path / "killed" / "drive.db3")[0]) == 3

    def test_two_types_on_one_topic_are_said(self, tmp_path):
        from recorders import string

        records = [*numbered_images(3, ["/one"]), record("/one", string("hi"), 9)]
        with BagReader(write_mcap_by_type(tmp_path / "drive.mcap", records)) as reader:
            assert len(list(reader.messages())) == 3
            assert any("1 messages of the second are left out" in note for note in reader.notes)


class TestStampsAreNamesOnlyWhereTheyAreUnique:
    @given(stamps=st.lists(st.integers(0, 4), min_size=1, max_size=12))
    @settings(max_examples=60, deadline=None)
    def test_whatever_the_stamps_frames_have_names_of_their_own_and_depth_and_labels_are_theirs(self, stamps):
        records = []
        for number, stamp in enumerate(stamps):
            pixels = np.full((4, 4), number, np.uint8)
            for topic, encoding, content in (
                (COLOR_TOPIC, "mono8", pixels),
                (DEPTH_TOPIC, "16UC1", pixels.astype(np.uint16) + 1000),
                (LABEL_TOPIC, "mono8", pixels),
            ):
                records.append(record(topic, image(content, encoding, stamp * 10**8), number * 10**8))
        with folder() as path, BagReader(write_mcap(path / "drive.mcap", records)) as reader:
            frames = list(reader.frames())
            notes = reader.notes
            labels = dict(reader.label_images())
        assert len(frames) == len(stamps)
        assert len({frame.stamp_ns for frame, _ in frames}) == len(stamps)
        for number, (frame, label) in enumerate(frames):
            assert frame.rgb[0, 0, 0] == number
            assert round(float(frame.depth_m[0, 0]) * 1000) == 1000 + number
            assert label[0, 0] == number
            assert labels[frame.stamp_ns][0, 0] == number
        if len(set(stamps)) < len(stamps):
            assert any("share their stamp" in note for note in notes)

    def test_depth_of_another_clock_is_paired_by_the_time_of_recording_and_it_is_said(self, tmp_path):
        records = [
            record(topic, image(np.full((4, 4), 1500, "u2"), encoding, number * 10**8 + offset), number * 10**8)
            for number in range(5)
            for topic, encoding, offset in ((COLOR_TOPIC, "mono16", 0), (DEPTH_TOPIC, "16UC1", 3600 * 10**9))
        ]
        with BagReader(write_mcap(tmp_path / "drive.mcap", records)) as reader:
            assert reader.index.num_with_depth == 5
            assert "they differ by 3600.000 s" in reader.notes[0]
            with pytest.raises(BagError, match="a node pairs by stamp"):
                reader.check_live()

    def test_depth_that_may_be_the_neighboring_frames_is_said(self, tmp_path):
        records = [
            record(topic, image(np.full((4, 4), 1500, "u2"), encoding, number * 10**8 + offset), number * 10**8)
            for number in range(5)
            for topic, encoding, offset in ((COLOR_TOPIC, "mono16", 0), (DEPTH_TOPIC, "16UC1", 7 * 10**7))
        ]
        with BagReader(write_mcap(tmp_path / "drive.mcap", records)) as reader:
            assert reader.index.num_with_depth == 4
            assert "differ by 30.0 ms on the median, at a frame period of 100.0 ms" in reader.notes[0]


def write_mcap_by_type(path, records):
    """A channel of its own for each type on a topic."""
    from mcap.writer import Writer

    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start("ros2")
        channels = {}
        for topic, msgtype, log_time_ns, data in records:
            if (topic, msgtype) not in channels:
                schema = writer.register_schema(msgtype, "ros2msg", b"")
                channels[topic, msgtype] = writer.register_channel(topic, "cdr", schema)
            writer.add_message(channels[topic, msgtype], log_time_ns, data, log_time_ns)
        writer.finish()
    return path


def write_metadata(path, names, counts):
    topics = [
        {
            "topic_metadata": {"name": name, "type": "sensor_msgs/msg/Image", "offered_qos_profiles": ""},
            "message_count": count,
        }
        for name, count in counts.items()
    ]
    content = {"storage_identifier": "", "relative_file_paths": names, "topics_with_message_count": topics}
    (path / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": content}))
