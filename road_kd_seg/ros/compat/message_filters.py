# SPDX-License-Identifier: Apache-2.0
"""`message_filters`, or our fallback."""

try:
    from message_filters import ApproximateTimeSynchronizer, SimpleFilter, TimeSynchronizer
except ImportError:
    from road_kd_seg.ros.compat.message_filters_fallback import (
        ApproximateTimeSynchronizer,
        SimpleFilter,
        TimeSynchronizer,
    )

__all__ = ["ApproximateTimeSynchronizer", "SimpleFilter", "TimeSynchronizer"]
