# SPDX-License-Identifier: Apache-2.0
"""Color and depth of one moment, on top of message_filters, without what its queues do to a looping bag."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from std_msgs.msg import Header

from road_kd_seg.ros.compat.message_filters import ApproximateTimeSynchronizer, SimpleFilter, TimeSynchronizer
from road_kd_seg.ros.conversions import stamp_ns


@dataclass(frozen=True, slots=True)
class StampedImage:
    """An image message and when this process got it. It has a header, which is all that message_filters wants."""

    message: Any
    """Image or CompressedImage."""
    received_ns: int
    """Monotonic clock."""

    @property
    def header(self) -> Header:
        """The message's own header."""
        header: Header = self.message.header
        return header

    @property
    def stamp_ns(self) -> int:
        """Acquisition time."""
        return stamp_ns(self.header.stamp)


class RgbdSynchronizer:
    """Pairs color with depth, and says how many color images never found their partner.

    A pair decides everything older: what waits for an older partner is dropped at once. When a stream's stamps go back
    (a bag that loops, a player that was restarted), what is newer than the new stamp is from the past run and is
    dropped; otherwise the full queues would evict every new message for ever.

    Args:
        on_pair: called with (color, depth). Its exceptions come out of `add_color` and `add_depth`.
        on_unsynchronized: called with a number of color images that will never be paired.
        on_time_went_back: called with the new time in nanoseconds, before any message of the new run is paired.
        slop_s: largest stamp difference in seconds; 0 pairs equal stamps only.
        queue_size: images of each kind that may wait.
    """

    def __init__(
        self,
        on_pair: Callable[[StampedImage, StampedImage], None],
        on_unsynchronized: Callable[[int], None],
        on_time_went_back: Callable[[int], None],
        *,
        slop_s: float,
        queue_size: int,
    ) -> None:
        self._on_pair = on_pair
        self._on_unsynchronized = on_unsynchronized
        self._on_time_went_back = on_time_went_back
        self._inputs = (SimpleFilter(), SimpleFilter())
        self._synchronizer = (
            ApproximateTimeSynchronizer(self._inputs, queue_size, slop_s)
            if slop_s > 0
            else TimeSynchronizer(self._inputs, queue_size)
        )
        self._matched: list[tuple[StampedImage, StampedImage]] = []
        # The callback runs under a lock that an exception would leave held for ever, so it only takes note.
        self._synchronizer.registerCallback(lambda color, depth: self._matched.append((color, depth)))
        self._newest_ns: list[int | None] = [None, None]
        self._waiting = 0

    def add_color(self, color: StampedImage) -> None:
        """Take a color image."""
        self._waiting += 1
        self._add(0, color)

    def add_depth(self, depth: StampedImage) -> None:
        """Take a depth image."""
        self._add(1, depth)

    def forget_newer_than(self, limit_ns: int) -> None:
        """Drop what waits with a later stamp: time went back to `limit_ns`."""
        self._newest_ns = [None, None]
        self._drop(lambda waiting_ns: waiting_ns > limit_ns)

    def clear(self) -> None:
        """Drop everything that waits."""
        self._newest_ns = [None, None]
        self._drop(lambda _: True)

    def _add(self, index: int, arrival: StampedImage) -> None:
        newest_ns = self._newest_ns[index]
        if newest_ns is not None and arrival.stamp_ns < newest_ns:
            self.forget_newer_than(arrival.stamp_ns)
            self._on_time_went_back(arrival.stamp_ns)
        self._newest_ns[index] = arrival.stamp_ns
        self._inputs[index].signalMessage(arrival)
        matched, self._matched = self._matched, []
        self._waiting -= len(matched)
        if matched:
            paired_ns = min(member.stamp_ns for member in matched[-1])
            self._drop(lambda waiting_ns: waiting_ns < paired_ns)
        self._report()
        for color, depth in matched:
            self._on_pair(color, depth)

    def _drop(self, unwanted: Callable[[int], bool]) -> None:
        for queue in self._synchronizer.queues:
            for waiting_ns in [stamp for stamp in queue if unwanted(stamp)]:
                del queue[waiting_ns]
        self._report()

    def _report(self) -> None:
        """Color images that are neither paired nor waiting any more were dropped, here or by message_filters."""
        lost = self._waiting - len(self._synchronizer.queues[0])
        self._waiting -= lost
        if lost:
            self._on_unsynchronized(lost)
