# SPDX-License-Identifier: Apache-2.0
import pickle
from multiprocessing import get_context

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin

from road_kd_seg.bags.random_access import FrameAccess
from road_kd_seg.bags.reader import BagReader
from road_kd_seg.bags.topics import COLOR_TOPIC, DEPTH_TOPIC, LABEL_TOPIC
from road_kd_seg.bags.writer import write_bag
from road_kd_seg.errors import BagError, FrameError

GRAY = np.full((2, 4), 90, np.uint8)
DEPTH_MM = np.full((2, 4), 1500, np.uint16)


def equal(one, other):
    (frame, label), (frame2, label2) = one, other
    same_depth = (frame.depth_m is None) == (frame2.depth_m is None)
    return (
        np.array_equal(frame.rgb, frame2.rgb)
        and same_depth
        and (frame.depth_m is None or np.array_equal(frame.depth_m, frame2.depth_m))
        and np.array_equal(label, label2)
        and (frame.stamp_ns, frame.frame_id, frame.intrinsics) == (frame2.stamp_ns, frame2.frame_id, frame2.intrinsics)
    )


@pytest.fixture
def bag(tmp_path, frames_of):
    frames = frames_of(range(9))
    frames[3] = frames_of([3], depth=False)[0]
    frames[5] = frames_of([5], label=False)[0]
    write_bag(tmp_path / "bag", frames)
    return tmp_path / "bag"


def test_any_order_gives_what_reading_in_order_gives(bag):
    with BagReader(bag) as reader:
        in_order = list(reader.frames())
    access = FrameAccess(bag)
    assert len(access) == 9
    for number in (8, 0, 3, 5, 3, 7):
        assert equal(access[number], in_order[number])


def test_a_frame_that_is_changed_in_place_is_the_old_one_when_it_is_read_again(tmp_path, frames_of):
    write_bag(tmp_path / "bag", frames_of(range(2), height=120, width=200))  # larger than what is copied anyway
    access = FrameAccess(tmp_path / "bag")
    first, kept = access[1], access[1]
    for image in (first.frame.rgb, first.frame.depth_m, first.label):
        image += 1
    assert equal(access[1], kept)
    assert not equal(first, kept)


def test_iterating_ends(bag):
    assert len(list(FrameAccess(bag))) == 9


@pytest.mark.parametrize("number", [-1, 9])
def test_a_frame_that_is_not_there_is_an_index_error(bag, number):
    with pytest.raises(IndexError, match=rf"has frames 0\.\.8, not {number}"):
        FrameAccess(bag)[number]


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_partners_that_were_recorded_late_and_in_disorder_are_found(raw_bag, storage):
    raw = raw_bag(storage=storage)
    for number in range(3):
        raw.image(COLOR_TOPIC, number * 100, "mono8", GRAY + np.uint8(number))
    for number in (2, 0, 1):
        raw.image(DEPTH_TOPIC, number * 100 + 30, "16UC1", DEPTH_MM + np.uint16(number))
    raw.image(LABEL_TOPIC, 200, "mono8", GRAY * 0 + 3)
    access = FrameAccess(raw.close())
    assert [float(access[i].frame.depth_m[0, 0]) for i in (2, 0, 1)] == pytest.approx([1.502, 1.5, 1.501])
    assert access[0].label is None
    assert (access[2].label == 3).all()


def test_messages_recorded_in_the_same_nanosecond_are_told_apart(tmp_path, raw_bag):
    raw = raw_bag()
    for number in range(3):
        raw._log_time_ns = 0  # the writer adds a fixed step to it
        raw.image(COLOR_TOPIC, 1000 + number, "mono8", GRAY + np.uint8(number))
    access = FrameAccess(raw.close())
    assert [int(access[i].frame.rgb[0, 0, 0]) for i in (1, 0, 2)] == [91, 90, 92]


def test_a_frame_that_cannot_be_decoded_is_named_and_the_others_are_read(raw_bag):
    raw = raw_bag()
    raw.image(COLOR_TOPIC, 1_500_000_000, "mono8", GRAY, data=b"xyz")
    raw.image(COLOR_TOPIC, 1_600_000_000, "mono8", GRAY)
    access = FrameAccess(raw.close())
    with pytest.raises(FrameError, match=r"frame of 1\.500 s"):
        access[0]
    assert access[1].frame.stamp_ns == 1_600_000_000


def test_a_bag_that_lost_a_message_says_so(bag, raw_bag):
    access = FrameAccess(bag)
    access.path = raw_bag("other").close()
    with pytest.raises(BagError, match="is gone: the bag was changed while it was read"):
        access[0]


def test_processes_that_inherit_an_open_bag_do_not_disturb_each_other(bag):
    access = FrameAccess(bag)
    expected = [int(frame.rgb[0, 0, 0]) for frame, _ in access]  # opens the bag

    def read(numbers, results):
        results.put([int(access[number].frame.rgb[0, 0, 0]) for number in numbers] == [expected[n] for n in numbers])

    context = get_context("fork")
    results = context.Queue()
    orders = [list(range(9)) * 20, list(range(9))[::-1] * 20]
    readers = [context.Process(target=read, args=(order, results)) for order in orders]
    for reader in readers:
        reader.start()
    assert [results.get(timeout=60) for _ in readers] == [True, True]
    for reader in readers:
        reader.join()


def test_a_copy_by_pickle_opens_the_bag_anew(bag):
    access = FrameAccess(bag)
    assert equal(access[4], pickle.loads(pickle.dumps(access))[4])
