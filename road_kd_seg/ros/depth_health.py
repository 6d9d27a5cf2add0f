# SPDX-License-Identifier: Apache-2.0
"""Is depth worth using? Every frame's is judged, on the worker's thread."""

from __future__ import annotations

from typing import Any

from road_kd_seg.alignment_check import AlignmentCheck
from road_kd_seg.frame import RgbdFrame
from road_kd_seg.ground import DepthQuality, GroundPlane, assess_depth
from road_kd_seg.ros.monitor import Monitor

_FRAMES_TO_LEAVE = 10
_FRAMES_TO_RETURN = 30
_ALIGNMENT_PERIOD = 15
"""Every 15th frame is checked for alignment: 4 ms."""
_REMINDER_S = 30.0


class DepthHealth:
    """With hysteresis: a few bad frames switch nothing, a few good ones do not switch back."""

    def __init__(self) -> None:
        self.poor = False
        """Whether depth has been of no use for so long that color alone is better."""
        self._contrary = 0

    def see(self, quality: DepthQuality, min_valid_share: float) -> str:
        """Take note of a frame; what is wrong with its depth, empty if nothing is."""
        problem = ""
        if quality.valid_share < min_valid_share:
            problem = f"only {quality.valid_share:.0%} of the pixels have depth (min_valid_depth {min_valid_share:.0%})"
        elif quality.plane is None:
            problem = "no road plane in the depth: obstacles cannot be told by their height"
        self._contrary = self._contrary + 1 if bool(problem) != self.poor else 0
        if self._contrary >= (_FRAMES_TO_RETURN if self.poor else _FRAMES_TO_LEAVE):
            self.poor, self._contrary = not self.poor, 0
        return problem


class DepthAssessor:
    """Road plane, share of valid pixels and alignment of each frame, told to the monitor and to the log."""

    def __init__(self, monitor: Monitor, logger: Any) -> None:
        self._monitor = monitor
        self._logger = logger
        self._health = DepthHealth()
        self._alignment = AlignmentCheck()
        self._num_seen = 0

    @property
    def poor(self) -> bool:
        """Whether the model that does without depth should be used."""
        return self._health.poor

    def assess(self, frame: RgbdFrame, min_valid_share: float, *, is_used: bool) -> GroundPlane | None:
        """The road's plane, None without.

        Args:
            frame: with or without depth.
            min_valid_share: see the parameter min_valid_depth.
            is_used: whether the model requires depth; if not, the log is spared.
        """
        if frame.depth_m is None:
            return None
        quality = assess_depth(frame.depth_m)
        was_poor = self.poor
        problem = self._health.see(quality, min_valid_share)
        self._monitor.see_depth_problem(problem, color_only=self.poor)
        if was_poor and not self.poor:
            self._logger.info("depth is good again")
        if problem and is_used:
            self._logger.warning(f"poor depth: {problem}", throttle_duration_sec=_REMINDER_S)
        if self._num_seen % _ALIGNMENT_PERIOD == 0:
            misaligned = self._alignment.see(frame.rgb, frame.depth_m)
            self._monitor.see_alignment(misaligned)
            if misaligned and is_used:
                self._logger.warning(misaligned, throttle_duration_sec=_REMINDER_S)
        self._num_seen += 1
        return quality.plane
