# SPDX-License-Identifier: Apache-2.0
"""Frames of a bag by their number, read from the file one at a time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from road_kd_seg.bags.frame_decoder import FrameMessages
from road_kd_seg.bags.reader import BagReader
from road_kd_seg.bags.storage import MessageBytes
from road_kd_seg.bags.topics import TopicNames
from road_kd_seg.frame import LabeledFrame


class FrameAccess:
    """The frames that `BagReader.frames` yields, in the same order and pairing, by number.

    The bag is read once to index it. Processes that inherit or unpickle this object each open the bag for themselves,
    because a file position cannot be shared.

    Args:
        path: as `BagReader` takes it.
        names: as `BagReader` takes them.
        slop_s: as `BagReader` takes it.
        require_same_frame: as `BagReader` takes it.

    Raises:
        BagError: nothing is there, nothing that can be read, or no color images in it.
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
        self._options: dict[str, Any] = {"names": names, "slop_s": slop_s, "require_same_frame": require_same_frame}
        with BagReader(self.path, **self._options) as reader:
            self.index, self.names, self._notes = reader.index, reader.names, reader.notes
        self._opened: tuple[int, BagReader] | None = None

    @property
    def notes(self) -> list[str]:
        """What a reader of results has to know about the recording, in sentences; reading adds to them."""
        return list(dict.fromkeys([*self._notes, *(self._opened[1].notes if self._opened else ())]))

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, number: int) -> LabeledFrame:
        """One frame; depth and label are None where missing.

        Raises:
            IndexError: no frame has this number.
            BagError: the bag has changed or is damaged.
            FrameError: the frame cannot be decoded.
        """
        if not 0 <= number < len(self):
            raise IndexError(f"bag {self.path} has frames 0..{len(self) - 1}, not {number}")
        names, index, reader = self.names, self.index, self._reader()
        color = reader.message(names.color, number)
        depth, label = (
            None if at < 0 else reader.message(topic, int(at))
            for topic, at in ((names.depth, index.depth[number]), (names.label, index.label[number]))
        )
        return reader.decode_frame(FrameMessages(number, color, depth, label, self._camera_info(reader, number)))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def _reader(self) -> BagReader:
        if self._opened is None or self._opened[0] != os.getpid():
            reader = BagReader(self.path, **self._options)
            reader.index = self.index  # known already
            self._opened = os.getpid(), reader
        return self._opened[1]

    def _camera_info(self, reader: BagReader, number: int) -> MessageBytes | None:
        """From the latest camera_info at that time; the bag's first for images that were recorded before it."""
        topic = self.names.camera_info
        times = self.index.log_times_ns[topic]
        if times.size == 0:
            return None
        latest = int(np.searchsorted(times, self.index.log_times_ns[self.names.color][number], side="right")) - 1
        return reader.message(topic, max(latest, 0))
