# SPDX-License-Identifier: Apache-2.0
"""What the node notes about its traffic, and its judgment once a second."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from road_kd_seg.errors import printable
from road_kd_seg.ros.frame_counters import FrameCounts, FrameOutcome

LATENCY_WINDOW = 300
"""Frames over which latency percentiles are taken: ten seconds at 30 Hz."""
SHARE_WINDOW = 10
"""Reports over which the share of superseded frames is taken."""
SILENCE_S = 5.0
"""After this long without images, or without pairs, the log says so."""
NAMESAKE = (
    "another node has the same name: parameters, services and masks of the two mix; rename one (-r __node:=NAME or"
    " -r __ns:=/NAMESPACE)"
)


@dataclass(frozen=True, slots=True)
class NodeState:
    """What the node, not its traffic, is like."""

    lifecycle: str
    """unconfigured, inactive, active or finalized."""
    enabled: bool
    model: str
    rgb_only_model: str
    device: str
    runs_without_depth: bool
    failure: str
    """Why the last transition failed; empty if it did not."""
    has_namesake: bool
    """Another node of this graph has the same name."""
    listens: bool
    """Whether the inputs are open."""
    depth_is_used: bool
    max_latency_ms: float
    max_superseded_share: float
    forecast_hz: float
    """Frames that the model segments per second here, as measured when it was loaded; 0 without a model."""

    def describe_forecast(self, color_hz: float) -> str:
        """What the model can do, beside what the camera wants of it."""
        return f"segments about {self.forecast_hz:.0f} frames/s here; the camera sends {color_hz:.0f}"


@dataclass(slots=True)
class _Traffic:
    """Counts since the last report."""

    color: int = 0
    depth: int = 0
    pairs: int = 0
    published: int = 0
    problems: int = 0
    poor_depth: int = 0


class Monitor:
    """Collects from the executor's and the worker's thread; `report` reads and starts a new period."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._traffic = _Traffic()
        self._since_ns = time.monotonic_ns()
        self._latencies_ms: deque[float] = deque(maxlen=LATENCY_WINDOW)
        self._counts: deque[FrameCounts] = deque(maxlen=SHARE_WINDOW + 1)
        self._depth_missing = False
        self._last_problem = ""
        self._poor_depth = 0
        self._depth_problem = self._alignment_problem = ""
        self._color_only = False
        self.listen()

    def listen(self) -> None:
        """The inputs were opened: silence counts from now."""
        with self._lock:
            now_s = time.monotonic()
            self._color_s = self._depth_s = self._pair_s = now_s

    def silence(self, *, depth_is_used: bool) -> str:
        """What has not come for `SILENCE_S`; empty if all is well."""
        with self._lock:
            limit_s = time.monotonic() - SILENCE_S
            color, depth, pair = (seen_s > limit_s for seen_s in (self._color_s, self._depth_s, self._pair_s))
        if not color:
            return f"no color image for {SILENCE_S:.0f} s"
        if not depth_is_used:
            return ""
        if not depth:
            return f"color images, but no depth image for {SILENCE_S:.0f} s"
        return "" if pair else f"color and depth images, but no two with matching stamps for {SILENCE_S:.0f} s"

    def see_color(self, *, depth_missing: bool) -> None:
        """A color image arrived; whether depth is missing beside it."""
        with self._lock:
            self._traffic.color += 1
            self._color_s = time.monotonic()
            self._depth_missing = depth_missing

    def see_depth(self) -> None:
        """A depth image arrived."""
        with self._lock:
            self._traffic.depth += 1
            self._depth_s = time.monotonic()

    def see_pair(self) -> None:
        """Color and depth of one moment were found."""
        with self._lock:
            self._traffic.pairs += 1
            self._pair_s = time.monotonic()

    def see_published(self, latency_ms: float) -> None:
        """A frame left the node, this long after its color image came."""
        with self._lock:
            self._traffic.published += 1
            self._latencies_ms.append(latency_ms)

    def see_depth_problem(self, problem: str, *, color_only: bool) -> None:
        """A frame with depth was checked: what is wrong with it, and whether color alone is used now."""
        with self._lock:
            self._color_only = color_only
            if problem:
                self._traffic.poor_depth += 1
                self._poor_depth += 1
                self._depth_problem = problem

    def see_alignment(self, problem: str) -> None:
        """Color and depth were compared: what is wrong, empty if nothing is."""
        with self._lock:
            self._alignment_problem = problem

    def see_problem(self, message: str) -> None:
        """A frame was dropped as invalid, or could not be segmented."""
        with self._lock:
            self._traffic.problems += 1
            self._last_problem = message

    def report(self, state: NodeState, counts: FrameCounts, name: str) -> DiagnosticStatus:
        """The period since the last report as a diagnostic status."""
        with self._lock:
            now_ns = time.monotonic_ns()
            traffic, period_s = self._traffic, max((now_ns - self._since_ns) / 1e9, 1e-9)
            self._traffic, self._since_ns = _Traffic(), now_ns
            latencies_ms, missing, problem = list(self._latencies_ms), self._depth_missing, self._last_problem
            depth_problem, poor_depth, color_only = self._depth_problem, self._poor_depth, self._color_only
            misaligned = self._alignment_problem
            self._counts.append(counts)
            superseded = _superseded_share(self._counts[0], counts)
        p50_ms, p95_ms = np.percentile(latencies_ms, (50, 95)) if latencies_ms else (float("nan"), float("nan"))
        depth = "missing" if missing else "poor" if color_only else "present"
        color_hz = traffic.color / period_s
        level, message = _judge(
            state, traffic, depth, problem, depth_problem, misaligned, superseded, float(p95_ms), color_hz
        )
        values = {
            "state": state.lifecycle,
            "enabled": state.enabled,
            "model": state.model,
            "rgb_only_model": state.rgb_only_model,
            "device": state.device,
            "depth": depth,
            "poor_depth_frames": poor_depth,
            "alignment": misaligned or "ok",
            "color_rate_hz": f"{color_hz:.1f}",
            "depth_rate_hz": f"{traffic.depth / period_s:.1f}",
            "pair_rate_hz": f"{traffic.pairs / period_s:.1f}",
            "forecast_hz": f"{state.forecast_hz:.1f}",
            "published_rate_hz": f"{traffic.published / period_s:.1f}",
            "latency_p50_ms": f"{p50_ms:.1f}",
            "latency_p95_ms": f"{p95_ms:.1f}",
            "superseded_share": f"{superseded:.2f}",
            **counts.as_dict(),
            "last_problem": problem,
        }
        return DiagnosticStatus(
            level=level,
            name=name,
            message=printable(message),
            hardware_id=state.device,
            values=[KeyValue(key=key, value=printable(value)) for key, value in values.items()],
        )


def _superseded_share(before: FrameCounts, now: FrameCounts) -> float:
    """Superseded color images among those received between two readings."""
    superseded = now.recorded[FrameOutcome.SUPERSEDED] - before.recorded[FrameOutcome.SUPERSEDED]
    return superseded / max(now.received - before.received, 1)


def _judge(
    state: NodeState,
    traffic: _Traffic,
    depth: str,
    problem: str,
    depth_problem: str,
    misaligned: str,
    superseded_share: float,
    p95_ms: float,
    color_hz: float,
) -> tuple[bytes, str]:
    """Level and one line: the worst that is true."""
    if state.failure:
        return DiagnosticStatus.ERROR, state.failure
    if state.has_namesake:
        return DiagnosticStatus.WARN, NAMESAKE
    if state.lifecycle != "active" or not state.enabled:
        return DiagnosticStatus.OK, state.lifecycle if state.lifecycle != "active" else "disabled by set_enabled"
    if not traffic.color:
        return DiagnosticStatus.WARN, "no color images: is the camera running, and color/image_raw remapped to it?"
    color_model = state.rgb_only_model or state.model
    if depth == "missing" and not state.runs_without_depth:
        return DiagnosticStatus.ERROR, "no depth images, and no rgb_only_model: nothing is segmented"
    if depth == "missing":
        return DiagnosticStatus.WARN, f"no depth images: segmenting color alone with {color_model}"
    if traffic.depth and not traffic.pairs:
        return DiagnosticStatus.ERROR, (
            f"{traffic.color} color and {traffic.depth} depth images, but no two with equal stamps:"
            " align and synchronize them in the driver, or set sync_slop_s"
        )
    if traffic.problems:
        return DiagnosticStatus.WARN, f"dropped {traffic.problems} frames: {problem}"
    if depth == "poor" and state.depth_is_used and state.runs_without_depth:
        return DiagnosticStatus.WARN, f"{depth_problem}: segmenting color alone with {color_model}"
    if traffic.poor_depth and state.depth_is_used:
        return DiagnosticStatus.WARN, f"{traffic.poor_depth} frames of poor depth: {depth_problem}"
    if misaligned and state.depth_is_used:
        return DiagnosticStatus.WARN, misaligned
    if superseded_share > state.max_superseded_share:
        return DiagnosticStatus.WARN, (
            f"{superseded_share:.0%} of the color images are superseded (max_superseded_share"
            f" {state.max_superseded_share:.0%}): the model {state.describe_forecast(color_hz)}"
        )
    if p95_ms > state.max_latency_ms:
        return DiagnosticStatus.WARN, (
            f"latency is {p95_ms:.0f} ms at the 95th percentile (max_latency_ms {state.max_latency_ms:.0f})"
        )
    return DiagnosticStatus.OK, "segmenting"
