"""Is depth worth using? With hysteresis: a few bad frames switch nothing, a few good ones do not switch back."""

from __future__ import annotations

from road_kd_seg.ground import DepthQuality

_FRAMES_TO_LEAVE = 10
_FRAMES_TO_RETURN = 30


class DepthHealth:
    """Follows the depth of consecutive frames."""

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
