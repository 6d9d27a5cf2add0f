# SPDX-License-Identifier: Apache-2.0
"""Read a recording without ROS: raw messages to play back, or paired RGB-D frames to score."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.bags.cdr import COMPRESSED_IMAGE_TYPE, decode_image, header_stamp_ns
from road_kd_seg.bags.find_topics import find_topics
from road_kd_seg.bags.frame_decoder import FrameDecoder, FrameMessages
from road_kd_seg.bags.frame_index import FrameIndex, Stamps, build_index
from road_kd_seg.bags.frame_stream import BagMessage, frame_messages
from road_kd_seg.bags.realsense_sdk import is_sdk_topic
from road_kd_seg.bags.recording import Recording
from road_kd_seg.bags.topics import TopicNames
from road_kd_seg.errors import BagError, FrameError, printable
from road_kd_seg.frame import LabeledFrame
from road_kd_seg.image_codec import label_from_message


class BagReader:
    """A recording, open for reading; a context manager.

    Args:
        path: a rosbag2 folder, an .mcap or .db3 file (also of the RealSense SDK), or a ROS 1 .bag.
        names: where the frames are; what is left at its default is found by type and name where no such topic exists.
        slop_s: a depth image may differ by this much from its color image's stamp; None: half a frame period.
            Labels must carry the very stamp of their image: the ground truth of its neighbor is not its own.
        require_same_frame: refuse depth of another frame id than color's, which is not aligned.

    Raises:
        BagError: nothing is there, or nothing that can be read.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        names: TopicNames | None = None,
        slop_s: float | None = None,
        require_same_frame: bool = True,
    ) -> None:
        self.path = Path(path)
        self._wanted = names or TopicNames()
        self._slop_ns = None if slop_s is None else round(slop_s * 1e9)
        self.require_same_frame = require_same_frame
        self._recording = Recording(self.path)
        self._notes: list[str] = []
        self.topics: dict[str, str] = {name: topic.msgtype for name, topic in self._recording.topics.items()}
        """Message type by topic."""
        self.qos: dict[str, str] = {name: topic.qos for name, topic in self._recording.topics.items()}
        """What publishers offered, as YAML, by topic; empty where unknown."""
        self.message_counts: dict[str, int] = self._recording.counts
        """Number of messages by topic."""
        self.start_ns: int = self._recording.start_ns
        """When the first message was recorded, without what the RealSense SDK describes itself with at time 0."""
        self.duration_ns: int = self._recording.duration_ns
        """From the first message to the last, by the recorder's clock."""

    def __enter__(self) -> BagReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the files; closing twice does no harm."""
        self._recording.close()

    @property
    def notes(self) -> list[str]:
        """What a reader of results has to know about the recording, in sentences; reading adds to them."""
        index, decoder = self.__dict__.get("index"), self.__dict__.get("_decoder")
        found = (self._recording.notes, index.notes if index else (), decoder.notes if decoder else (), self._notes)
        return list(dict.fromkeys(printable(note) for notes in found for note in notes))

    def is_ros2(self, topic: str) -> bool:
        """Whether the topic's messages come as ROS 2 serializes them: not those of other programs' channels."""
        return self._recording.is_ros2(topic)

    @cached_property
    def names(self) -> TopicNames:
        """Where the frames are.

        Raises:
            BagError: no color images, a topic of another type, or several that could be meant.
        """
        return find_topics(self.path, self.topics, self.message_counts, self._wanted)

    def is_compressed(self, topic: str) -> bool:
        """Whether the topic holds CompressedImages."""
        return self.topics.get(topic) == COMPRESSED_IMAGE_TYPE

    def check_live(self) -> None:
        """Refuse a recording that a node could not make the same frames of when it is played.

        Raises:
            BagError: it is paired by more than stamps, or aligned here.
        """
        advice = "evaluate it without --live (make demo LIVE=)"
        if not self.index.by_stamp:
            raise BagError(f"bag {self.path}: a node pairs by stamp, and {self.index.notes[0]}: {advice}")
        if is_sdk_topic(self.names.color):
            raise BagError(f"bag {self.path}: a recording of the RealSense SDK, which a node cannot align: {advice}")

    @property
    def has_depth(self) -> bool:
        """Whether the depth topic is in the bag."""
        return self.message_counts.get(self.names.depth, 0) > 0

    @property
    def has_labels(self) -> bool:
        """Whether the label topic is in the bag."""
        return self.message_counts.get(self.names.label, 0) > 0

    def messages(
        self, topics: Collection[str] | None = None, *, start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[BagMessage]:
        """Messages as they were recorded, by log time; of all topics, or of those named.

        Args:
            topics: None for all.
            start_ns: log time of the first message; None: from the beginning.
            stop_ns: log time before which to stop; None: to the end.

        Raises:
            BagError: a message that cannot be converted from ROS 1.
        """
        for topic, log_time_ns, cdr in self._recording.messages(topics, start_ns, stop_ns):
            yield BagMessage(topic, self.topics[topic], log_time_ns, cdr)

    @cached_property
    def index(self) -> FrameIndex:
        """Which images belong together; reads the bag once.

        Raises:
            BagError: no color images, a topic of another type, or several that could be meant.
        """
        names = self.names
        topics = (names.color, names.depth, names.label, names.camera_info)
        stamps: dict[str, list[int]] = {topic: [] for topic in topics}
        log_times: dict[str, list[int]] = {topic: [] for topic in topics}
        for message in self.messages(topics):
            stamps[message.topic].append(self._stamp_ns(message))
            log_times[message.topic].append(message.log_time_ns)
        times = {topic: np.array(log_times[topic], np.int64) for topic in topics}
        color, depth, label = (Stamps(np.array(stamps[topic], np.int64), times[topic]) for topic in topics[:3])
        if not self._decoder.depth_is_usable:
            depth = Stamps(depth.header_ns[:0], depth.log_ns[:0])
        return build_index(color, depth, label, self._slop_ns, times)

    def label_images(self, topic: str | None = None) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Stamp (ns) and (H, W) class ids of every image on the label topic, or on another that holds labels.

        Labels of the label topic bear the name of their frame in the index; those of another topic, and of no frame,
        their header stamp.

        Raises:
            BagError: a topic of another type.
            FrameError: an image that is no label.
        """
        named: dict[int, int] = {}
        if topic is None:
            named = {int(at): int(self.index.stamps_ns[n]) for n, at in enumerate(self.index.label) if at >= 0}
            topic = self.names.label
        for number, message in enumerate(self.messages([topic])):
            stamp_ns = named.get(number, self._stamp_ns(message))
            try:
                label = label_from_message(decode_image(message.cdr, message.msgtype))
            except FrameError as error:
                raise FrameError(f"bag {self.path}, {topic} of {stamp_ns / 1e9:.3f} s: {error}") from error
            yield stamp_ns, label

    def frames(
        self, *, stamps_ns: Collection[int] | None = None, on_invalid: Callable[[FrameError], None] | None = None
    ) -> Iterator[LabeledFrame]:
        """Color, depth and label of one moment, in the order of recording; depth and label are None where missing.

        Args:
            stamps_ns: only the frames of these stamps of the index.
            on_invalid: told of each frame that cannot be decoded, which is then left out.

        Raises:
            BagError: no color images, a topic of another type, or several that could be meant.
            FrameError: a frame that cannot be decoded, if nobody wants to be told.
        """
        for messages in self._paired():
            if stamps_ns is not None and int(self.index.stamps_ns[messages.number]) not in stamps_ns:
                continue
            try:
                frame = self.decode_frame(messages)
            except FrameError as error:
                if on_invalid is None:
                    raise
                on_invalid(error)
            else:
                yield frame

    def first_frame(self) -> LabeledFrame:
        """The first frame that can be decoded.

        Raises:
            BagError: there is none; with the reason of the first.
        """
        reasons: list[FrameError] = []
        first = next(self.frames(on_invalid=reasons.append), None)
        if first is None:
            raise BagError(f"none of the {len(self.index)} frames can be decoded; the first: {reasons[0]}")
        return first

    def decode_frame(self, messages: FrameMessages) -> LabeledFrame:
        """A frame from its stored messages.

        Raises:
            FrameError: a message that is no image, or images that do not belong together.
        """
        stamp_ns = int(self.index.stamps_ns[messages.number])
        try:
            return self._decoder.decode(messages, stamp_ns)
        except FrameError as error:
            raise FrameError(f"bag {self.path}, frame of {stamp_ns / 1e9:.3f} s: {error}") from error

    @cached_property
    def _decoder(self) -> FrameDecoder:
        return FrameDecoder(self._recording, self.names, self.require_same_frame)

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)

    def _stamp_ns(self, message: BagMessage) -> int:
        """Header stamp; the log time of a message that is too short to have one, which nobody can decode either."""
        try:
            return header_stamp_ns(message.cdr)
        except BagError as error:
            self._note(f"{message.topic}: {error}")
            return message.log_time_ns

    def message(self, topic: str, number: int) -> bytes:
        """The topic's message of this number in the order of reading; the topic is one of the index.

        Raises:
            BagError: it is gone.
        """
        times = self.index.log_times_ns[topic]
        at = int(times[number])
        before = number - int(np.searchsorted(times, at))  # several may have been recorded at one time
        for rank, message in enumerate(self.messages([topic], start_ns=at, stop_ns=at + 1)):
            if rank == before:
                return bytes(message.cdr)  # its chunk may be kept, and is nobody's to change
        raise BagError(f"bag {self.path}: message {number} on {topic} is gone: the bag was changed while it was read")

    def _paired(self) -> Iterator[FrameMessages]:
        names = self.names
        topics = (names.color, names.depth, names.label, names.camera_info)
        first_info = next(self.messages([names.camera_info]), None)  # for images that were recorded before it
        return frame_messages(
            self.messages(topics), self.index, names, None if first_info is None else first_info.cdr, self.message
        )
