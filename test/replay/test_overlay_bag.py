# SPDX-License-Identifier: Apache-2.0
import json
from importlib.util import find_spec

import numpy as np
import pytest

from road_kd_seg.bags.reader import BagReader
from road_kd_seg.errors import RoadKdError
from road_kd_seg.image_file import decode_rgb
from road_kd_seg.replay.labels import LabelStore
from road_kd_seg.replay.overlay_bag import OVERLAY, TOPICS, write_overlay_bag
from road_kd_seg.share import share_file
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY


@pytest.fixture
def drive(frames_of):
    """Frames and their labels by stamp."""
    frames = frames_of(range(3), height=40, width=64)
    return [frame for frame, _ in frames], LabelStore.of((frame.stamp_ns, label) for frame, label in frames)


def messages(folder):
    """Stored messages by topic."""
    found = {}
    with BagReader(folder / OVERLAY) as reader:
        for message in reader.messages():
            assert message.msgtype == "sensor_msgs/msg/CompressedImage"
            found.setdefault(message.topic, []).append((message.log_time_ns, message.cdr))
    return found


class TestOverlayBag:
    def test_every_frame_has_every_picture_under_its_stamp(self, tmp_path, drive):
        frames, labels = drive
        assert write_overlay_bag(tmp_path, frames, labels, labels, DEFAULT_TAXONOMY) == 3
        found = messages(tmp_path)
        assert found.keys() == set(TOPICS.values())
        for stored in found.values():
            assert [time_ns for time_ns, _ in stored] == [frame.stamp_ns for frame in frames]

    def test_labels_keep_their_ids(self, tmp_path, drive):
        frames, labels = drive
        write_overlay_bag(tmp_path, frames, labels, LabelStore(), DEFAULT_TAXONOMY)
        _, cdr = messages(tmp_path)[TOPICS["label"]][1]
        png = decode_rgb(cdr[cdr.index(b"\x89PNG") :], "the label")
        assert np.array_equal(png[..., 0], labels.get(frames[1].stamp_ns))

    def test_without_ground_truth_there_are_no_errors(self, tmp_path, drive):
        frames, labels = drive
        write_overlay_bag(tmp_path, frames, labels, LabelStore(), DEFAULT_TAXONOMY)
        assert not {TOPICS["errors"], TOPICS["ground_truth"]} & messages(tmp_path).keys()

    def test_that_of_an_earlier_run_is_replaced_and_nothing_else(self, tmp_path, drive):
        frames, labels = drive
        for count in (3, 2):
            assert write_overlay_bag(tmp_path, frames[:count], labels, labels, DEFAULT_TAXONOMY) == count
        assert len(messages(tmp_path)[TOPICS["overlay"]]) == 2
        (tmp_path / "thesis" / OVERLAY).mkdir(parents=True)
        with pytest.raises(RoadKdError, match="no overlay of an earlier run"):
            write_overlay_bag(tmp_path / "thesis", frames, labels, labels, DEFAULT_TAXONOMY)

    @pytest.mark.skipif(find_spec("mcap") is None, reason="needs Foxglove's own reader (pip install mcap)")
    def test_foxgloves_own_reader_finds_the_same(self, tmp_path, drive):
        from mcap.reader import make_reader

        frames, labels = drive
        write_overlay_bag(tmp_path, frames, labels, labels, DEFAULT_TAXONOMY)
        found = {}
        with (tmp_path / OVERLAY / f"{OVERLAY}.mcap").open("rb") as file:
            reader = make_reader(file, validate_crcs=True)
            for schema, channel, message in reader.iter_messages():
                assert (schema.name, schema.encoding) == ("sensor_msgs/msg/CompressedImage", "ros2msg")
                assert b"MSG: std_msgs/Header" in schema.data
                assert channel.message_encoding == "cdr"
                found.setdefault(channel.topic, []).append((message.log_time, message.data))
            assert reader.get_summary().statistics.message_count == 3 * len(TOPICS)
        assert found == messages(tmp_path)


class TestFoxgloveLayout:
    def test_its_panels_show_topics_that_are_written(self):
        layout = json.loads(share_file("config/overlay.foxglove.json").read_text())
        shown = {panel["imageMode"]["imageTopic"] for panel in layout["configById"].values()}
        assert shown <= set(TOPICS.values())

        def panels(node):
            return {node} if isinstance(node, str) else panels(node["first"]) | panels(node["second"])

        assert panels(layout["layout"]) == layout["configById"].keys()
