# SPDX-License-Identifier: Apache-2.0
"""A stream of messages → the messages of each frame, in memory that does not grow with the recording."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.bags.frame_decoder import FrameMessages
from road_kd_seg.bags.frame_index import FrameIndex
from road_kd_seg.bags.storage import MessageBytes
from road_kd_seg.bags.topics import TopicNames

MAX_WAITING = 64
"""Messages of a topic that are held back until the others of their frame have come."""


class BagMessage(NamedTuple):
    """A message as it was recorded; its bytes are as ROS 2 serializes."""

    topic: str
    msgtype: str
    log_time_ns: int
    cdr: MessageBytes


class _Partners:
    """Messages of another topic that have come before their color images; index: (N,) which belongs to each."""

    def __init__(self, index: NDArray[np.int64]) -> None:
        self._index = index
        self._awaited = set(index[index >= 0].tolist())
        self._kept: dict[int, MessageBytes] = {}

    def is_to_come(self, number: int) -> bool:
        """Whether the partner of a color image has not come yet."""
        return int(self._index[number]) in self._awaited

    def keep(self, number: int, message: MessageBytes) -> None:
        """A message came; of many that wait for their color image, the oldest is let go."""
        if number in self._awaited:
            self._awaited.remove(number)
            self._kept[number] = message
            if len(self._kept) > MAX_WAITING:
                del self._kept[next(iter(self._kept))]

    def take(self, number: int, fetch: Callable[[int], MessageBytes]) -> MessageBytes | None:
        """The partner of a color image; None if it has none."""
        at = int(self._index[number])
        if at < 0:
            return None
        self._awaited.discard(at)
        return self._kept.pop(at, None) or fetch(at)


def frame_messages(
    messages: Iterable[BagMessage],
    index: FrameIndex,
    names: TopicNames,
    camera_info: MessageBytes | None,
    fetch: Callable[[str, int], MessageBytes],
) -> Iterator[FrameMessages]:
    """The messages of each frame, in the order of the color images, with the latest camera_info.

    Depth and labels that were recorded near their color image are taken as they come; those far away are fetched.

    Args:
        messages: of the topics, by log time.
        index: which belong together.
        names: the topics.
        camera_info: for images before the first one in the stream.
        fetch: a topic's message by its number.
    """
    waiting: deque[tuple[int, MessageBytes, MessageBytes | None]] = deque()
    depth, label = _Partners(index.depth), _Partners(index.label)
    partners = {names.depth: depth, names.label: label}
    fetch_depth, fetch_label = partial(fetch, names.depth), partial(fetch, names.label)

    def ready(limit: int) -> Iterator[FrameMessages]:
        while waiting:
            number, color, info = waiting[0]
            if len(waiting) <= limit and (depth.is_to_come(number) or label.is_to_come(number)):
                return
            waiting.popleft()
            yield FrameMessages(number, color, depth.take(number, fetch_depth), label.take(number, fetch_label), info)

    seen = dict.fromkeys((names.color, names.depth, names.label), 0)
    for message in messages:
        if message.topic == names.camera_info:
            camera_info = message.cdr
            continue
        number = seen[message.topic]
        seen[message.topic] += 1
        if message.topic == names.color:
            waiting.append((number, message.cdr, camera_info))
        else:
            partners[message.topic].keep(number, message.cdr)
        yield from ready(MAX_WAITING)
    yield from ready(-1)
