"""Read a rosbag2 (MCAP or SQLite) without ROS: raw messages to play back, or paired RGB-D frames to score."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.bags.cdr import CAMERA_INFO_TYPE, IMAGE_TYPE, decode_image, decode_intrinsics, header_stamp_ns
from road_kd_seg.bags.pairing import half_period_ns, match_stamps
from road_kd_seg.bags.storage import damaged, open_storage
from road_kd_seg.bags.topics import TopicNames
from road_kd_seg.errors import BagError, FrameError
from road_kd_seg.frame import Intrinsics, LabeledFrame, RgbdFrame
from road_kd_seg.image_codec import decode_color, decode_depth, decode_label


class BagMessage(NamedTuple):
    """A message as it was recorded."""

    topic: str
    msgtype: str
    log_time_ns: int
    cdr: bytes


@dataclass(frozen=True)
class FrameIndex:
    """The frames of a bag by header stamp; N color images."""

    stamps_ns: NDArray[np.int64]
    """(N,) header stamps of the color images in the order of recording."""
    depth: NDArray[np.int64]
    """(N,) which message of the depth topic belongs to each, -1 for none."""
    label: NDArray[np.int64]
    """(N,) which message of the label topic belongs to each, -1 for none."""
    slop_ns: int
    """What a synchronizer has to allow to find the same pairs; 0 where all stamps are equal."""
    log_times_ns: Mapping[str, NDArray[np.int64]]
    """By topic (color, depth, label, camera_info): when each of its messages was recorded, in the order of reading."""

    def __len__(self) -> int:
        return len(self.stamps_ns)

    @property
    def num_with_depth(self) -> int:
        """Color images that have a depth image."""
        return int((self.depth >= 0).sum())

    @property
    def num_labeled(self) -> int:
        """Color images that have a label image."""
        return int((self.label >= 0).sum())


class BagReader:
    """A bag, open for reading; a context manager.

    Args:
        path: a rosbag2 folder, or a single .mcap or .db3 file.
        names: where the frames are.
        slop_s: a depth image may differ by this much from its color image's stamp; None: half a frame period.
            Labels must carry the very stamp of their image: a neighbor's label is not its label.

    Raises:
        BagError: nothing is there, or it is no bag that can be read.
    """

    def __init__(self, path: str | Path, *, names: TopicNames | None = None, slop_s: float | None = None) -> None:
        self.path = Path(path)
        self.names = names or TopicNames()
        self._slop_ns = None if slop_s is None else round(slop_s * 1e9)
        self._reader = open_storage(self.path)
        self.topics: dict[str, str] = {
            name: info.msgtype or "several types" for name, info in self._reader.topics.items()
        }
        """Message type by topic."""
        self.message_counts: dict[str, int] = {name: info.msgcount for name, info in self._reader.topics.items()}
        """Number of messages by topic."""
        self.duration_ns: int = self._reader.duration
        """From the first message to the last, by the recorder's clock."""

    def __enter__(self) -> BagReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file; closing twice does no harm."""
        if self._reader.is_open:
            self._reader.close()

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
            BagError: the bag is damaged from some place on.
        """
        connections = [c for c in self._reader.connections if topics is None or c.topic in topics]
        if not connections:
            return
        stored = self._reader.messages(connections, start_ns, stop_ns)
        while True:
            try:
                connection, log_time_ns, cdr = next(stored)
            except StopIteration:
                return
            except Exception as error:  # a damaged file makes the parser stumble in any way
                raise damaged(self.path, error) from error
            yield BagMessage(connection.topic, connection.msgtype, log_time_ns, cdr)

    @cached_property
    def index(self) -> FrameIndex:
        """Which images belong together; reads the bag once.

        Raises:
            BagError: no color topic, or a topic of another type.
        """
        self._check_topics()
        names = self.names
        topics = (names.color, names.depth, names.label, names.camera_info)
        stamps: dict[str, list[int]] = {topic: [] for topic in topics}
        log_times: dict[str, list[int]] = {topic: [] for topic in topics}
        for message in self.messages(topics):
            stamps[message.topic].append(header_stamp_ns(message.cdr))
            log_times[message.topic].append(message.log_time_ns)
        color, depth, label = (np.array(stamps[topic], np.int64) for topic in topics[:3])
        slop_ns = half_period_ns(color) if self._slop_ns is None else self._slop_ns
        depth_of = match_stamps(color, depth, slop_ns)
        exact = np.array_equal(depth_of, match_stamps(color, depth))
        return FrameIndex(
            stamps_ns=color,
            depth=depth_of,
            label=match_stamps(color, label),
            slop_ns=0 if exact else slop_ns,
            log_times_ns={topic: np.array(times, np.int64) for topic, times in log_times.items()},
        )

    def label_images(self, topic: str | None = None) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Header stamp (ns) and (H, W) class ids of every image on the label topic, or on another that holds labels.

        Raises:
            BagError: a topic of another type.
            FrameError: an image that is no label.
        """
        topic = topic or self.names.label
        self._check_type(topic, IMAGE_TYPE)
        for message in self.messages([topic]):
            stamp_ns = header_stamp_ns(message.cdr)
            try:
                label = decode_label(*_image_fields(decode_image(message.cdr)))
            except FrameError as error:
                raise FrameError(f"bag {self.path}, {topic} of {stamp_ns / 1e9:.3f} s: {error}") from error
            yield stamp_ns, label

    def frames(
        self, *, stamps_ns: Collection[int] | None = None, on_invalid: Callable[[FrameError], None] | None = None
    ) -> Iterator[LabeledFrame]:
        """Color, depth and label of one moment, in the order of recording; depth and label are None where missing.

        Args:
            stamps_ns: only the frames of these color stamps.
            on_invalid: told of each frame that cannot be decoded, which is then left out.

        Raises:
            BagError: no color topic, a topic of another type, a damaged file.
            FrameError: a frame that cannot be decoded, if nobody wants to be told.
        """
        for color, depth, label, intrinsics in self._paired():
            if stamps_ns is not None and header_stamp_ns(color) not in stamps_ns:
                continue
            try:
                frame = self.decode_frame(color, depth, label, intrinsics)
            except FrameError as error:
                if on_invalid is None:
                    raise
                on_invalid(error)
            else:
                yield frame

    def decode_frame(
        self, color_cdr: bytes, depth_cdr: bytes | None, label_cdr: bytes | None, intrinsics: Intrinsics | None
    ) -> LabeledFrame:
        """A frame from its stored messages.

        Raises:
            FrameError: a message that is no image, or images that do not belong together.
        """
        stamp_ns = header_stamp_ns(color_cdr)
        try:
            color = decode_image(color_cdr)
            rgb = decode_color(*_image_fields(color))
            depth_m = None if depth_cdr is None else decode_depth(*_image_fields(decode_image(depth_cdr)))
            label = None if label_cdr is None else decode_label(*_image_fields(decode_image(label_cdr)))
            if label is not None and label.shape != rgb.shape[:2]:
                raise FrameError(
                    f"label is {label.shape[::-1]} pixels, color is {rgb.shape[1::-1]}: expected equal sizes"
                )
            frame = RgbdFrame(rgb, depth_m, intrinsics, stamp_ns, color.header.frame_id)
        except FrameError as error:
            raise FrameError(f"bag {self.path}, frame of {stamp_ns / 1e9:.3f} s: {error}") from error
        return LabeledFrame(frame, label)

    def _paired(self) -> Iterator[tuple[bytes, bytes | None, bytes | None, Intrinsics | None]]:
        """Color, depth, label and the latest intrinsics; holds back only what still waits for a partner."""
        index, names = self.index, self.names
        intrinsics = self._first_intrinsics()
        waiting: deque[tuple[int, bytes, Intrinsics | None]] = deque()
        partners: dict[str, dict[int, bytes]] = {names.depth: {}, names.label: {}}
        wanted = {names.depth: set(index.depth.tolist()), names.label: set(index.label.tolist())}
        seen = dict.fromkeys((names.color, names.depth, names.label), 0)
        for message in self.messages((*seen, names.camera_info)):
            if message.topic == names.camera_info:
                intrinsics = decode_intrinsics(message.cdr)
                continue
            number = seen[message.topic]
            seen[message.topic] += 1
            if message.topic == names.color:
                waiting.append((number, message.cdr, intrinsics))
            elif number in wanted[message.topic]:
                partners[message.topic][number] = message.cdr
            while waiting:
                number, color, info = waiting[0]
                depth, label = int(index.depth[number]), int(index.label[number])
                if any(i >= 0 and i not in partners[t] for t, i in ((names.depth, depth), (names.label, label))):
                    break
                waiting.popleft()
                yield color, partners[names.depth].pop(depth, None), partners[names.label].pop(label, None), info

    def _first_intrinsics(self) -> Intrinsics | None:
        """The bag's first camera_info, for images that were recorded before it."""
        first = next(self.messages([self.names.camera_info]), None)
        return None if first is None else decode_intrinsics(first.cdr)

    def _check_topics(self) -> None:
        names = self.names
        if not self.message_counts.get(names.color):
            present = ", ".join(f"{name} ({kind})" for name, kind in sorted(self.topics.items())) or "no topic at all"
            raise BagError(
                f"bag {self.path}: no color images on {names.color}; it holds {present}:"
                " name the topics it was recorded with (--color-topic, --depth-topic, --camera-info-topic)"
            )
        for topic in (names.color, names.depth, names.label):
            self._check_type(topic, IMAGE_TYPE)
        self._check_type(names.camera_info, CAMERA_INFO_TYPE)

    def _check_type(self, topic: str, expected: str) -> None:
        found = self.topics.get(topic, expected)
        if found != expected:
            raise BagError(
                f"bag {self.path}: {topic} is of type {found}, expected {expected}:"
                " name another topic, or decompress the bag"
            )


def _image_fields(image: Any) -> tuple[str, int, int, int, int, NDArray[np.uint8]]:
    """A stored image as `image_codec` takes it."""
    return image.encoding, image.height, image.width, image.step, image.is_bigendian, image.data
