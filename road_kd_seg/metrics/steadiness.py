# SPDX-License-Identifier: Apache-2.0
"""Does a prediction hold from one frame to the next? H W size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.frame import IGNORE_INDEX

Label = NDArray[np.uint8]


def changed_share(before: Label, after: Label) -> float:
    """Share of the pixels whose predicted class changes from one (H, W) frame to the next; needs no label."""
    return float((before != after).mean())


def flicker_share(ground_truth_before: Label, ground_truth_after: Label, before: Label, after: Label) -> float:
    """Share of the pixels whose predicted class changes among those whose true class does not; NaN if there are none.

    Args:
        ground_truth_before: (H, W) label of the first frame, IGNORE_INDEX where unknown.
        ground_truth_after: that of the second.
        before: prediction of the first.
        after: that of the second.
    """
    still = (ground_truth_before == ground_truth_after) & (ground_truth_before != IGNORE_INDEX)
    return float((before != after)[still].mean()) if still.any() else float("nan")
