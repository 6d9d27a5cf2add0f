# SPDX-License-Identifier: Apache-2.0
"""Where on Earth a drive went, from the NavSatFix messages of its bag. N fixes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.bags.cdr import decode_message, header_stamp_ns
from road_kd_seg.bags.reader import BagReader

FIX_TYPE = "sensor_msgs/msg/NavSatFix"
_MAX_GAP_S = 2.0
"""Between fixes further apart, nobody knows where the vehicle was."""
_HEADING_S = 1.0
_MIN_STEP_M = 0.5
"""What moved less than this in twice `_HEADING_S` has no heading: fixes scatter."""
_METERS_PER_DEGREE = 111_320.0


@dataclass(frozen=True)
class GpsTrack:
    """Fixes in order of time."""

    stamps_ns: NDArray[np.int64]
    degrees: NDArray[np.float64]
    """Latitude and longitude, WGS 84, (N, 2)."""

    def at(self, stamp_ns: int, right_m: float = 0.0, ahead_m: float = 0.0) -> tuple[float, float] | None:
        """Latitude and longitude of a place beside the vehicle at a moment; None where no fix is near in time.

        Args:
            stamp_ns: the moment.
            right_m: of the vehicle; without a heading, as of one that stands, the vehicle's own place is given.
            ahead_m: of the vehicle.
        """
        here = self._interpolated(stamp_ns)
        if here is None:
            return None
        steps = [self._interpolated(stamp_ns + sign * round(_HEADING_S * 1e9)) for sign in (-1, 1)]
        before, after = (here if step is None else step for step in steps)
        scale = np.array([1, math.cos(math.radians(here[0]))]) * _METERS_PER_DEGREE
        north_m, east_m = (after - before) * scale
        length_m = math.hypot(north_m, east_m)
        if length_m >= _MIN_STEP_M:
            north, east = north_m / length_m, east_m / length_m
            here = here + np.array([north * ahead_m - east * right_m, east * ahead_m + north * right_m]) / scale
        return float(here[0]), float(here[1])

    def _interpolated(self, stamp_ns: int) -> NDArray[np.float64] | None:
        after = int(np.searchsorted(self.stamps_ns, stamp_ns))
        first, last = max(after - 1, 0), min(after, len(self.stamps_ns) - 1)
        begin_ns, end_ns = int(self.stamps_ns[first]), int(self.stamps_ns[last])
        if max(abs(stamp_ns - begin_ns), abs(end_ns - stamp_ns)) > _MAX_GAP_S * 1e9:
            return None
        share = min(max((stamp_ns - begin_ns) / max(end_ns - begin_ns, 1), 0.0), 1.0)
        place: NDArray[np.float64] = (1 - share) * self.degrees[first] + share * self.degrees[last]
        return place


def read_gps(reader: BagReader) -> GpsTrack | None:
    """The fixes of the topic that has most of them; None if the bag holds none that are valid."""
    topics = [topic for topic, kind in reader.topics.items() if kind == FIX_TYPE and reader.message_counts[topic]]
    if not topics:
        return None
    topic = max(topics, key=lambda name: reader.message_counts[name])
    fixes: dict[int, tuple[float, float]] = {}
    for message in reader.messages([topic]):
        fix = decode_message(message.cdr, message.msgtype)
        if fix.status.status >= 0 and math.isfinite(fix.latitude) and math.isfinite(fix.longitude):
            fixes[header_stamp_ns(message.cdr) or message.log_time_ns] = (fix.latitude, fix.longitude)
    if not fixes:
        return None
    stamps_ns = np.array(sorted(fixes), np.int64)
    return GpsTrack(stamps_ns, np.array([fixes[int(stamp_ns)] for stamp_ns in stamps_ns]))
