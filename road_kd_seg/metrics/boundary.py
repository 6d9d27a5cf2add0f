# SPDX-License-Identifier: Apache-2.0
"""How well boundaries between classes lie: F1 with a tolerance in pixels (Csurka et al., BMVC 2013; counted over a data
set here, not averaged over images). K classes, H W size.

IoU hardly sees the edge of a large area, and eroded-mask measures vanish on lane marks of a few pixels; this does not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.errors import RoadKdError, ShapeMismatch
from road_kd_seg.frame import IGNORE_INDEX
from road_kd_seg.metrics import Counts, PerClass

TOLERANCE_PX = 3


def boundary_counts(
    target: NDArray[np.uint8], prediction: NDArray[np.uint8], num_classes: int, tolerance_px: int = TOLERANCE_PX
) -> Counts:
    """Count boundary pixels by class; counts of several images add up.

    A pixel is on the boundary of its class if one of its four neighbors has another one. It is matched if the other
    label image has a boundary pixel of the same class within `tolerance_px` (Euclidean). Where the ground truth is
    IGNORE_INDEX nothing is scored, and the edge of such an area is no boundary.

    Args:
        target: (H, W) class ids or IGNORE_INDEX.
        prediction: (H, W) class ids.
        num_classes: K.
        tolerance_px: 0 asks for the very pixel.

    Returns:
        (K, 4): true boundary pixels that are matched, all true ones, predicted ones that are matched, all of these.

    Raises:
        ShapeMismatch: the shapes differ.
        RoadKdError: a negative tolerance.
    """
    if target.shape != prediction.shape:
        raise ShapeMismatch(
            "boundary_counts: prediction", prediction.shape, target.shape, hint="resize to the label, nearest"
        )
    if tolerance_px < 0:
        raise RoadKdError(f"boundary_counts: tolerance_px is {tolerance_px}, expected 0 or more")
    edges = [_edges(target), _edges(np.where(target == IGNORE_INDEX, np.uint8(IGNORE_INDEX), prediction))]
    counts = np.zeros((num_classes, 4), np.int64)
    for side, (own, other) in enumerate((edges, edges[::-1])):
        ids, matched = _match(own, other, tolerance_px)
        counts[:, 2 * side] = np.bincount(ids[matched], minlength=num_classes)
        counts[:, 2 * side + 1] = np.bincount(ids, minlength=num_classes)
    return counts


def boundary_f1(counts: Counts) -> PerClass:
    """Harmonic mean of the matched shares of true and of predicted boundary pixels, (K,).

    NaN for a class that has no boundary on either side, 0 for one that has it on one side only.

    Args:
        counts: (K, 4) from `boundary_counts`.
    """
    recalled, true, correct, predicted = counts.astype(np.float64).T
    # 2PR / (P + R) with P and R written out: needs no case for P + R = 0.
    with np.errstate(invalid="ignore", divide="ignore"):
        score = 2 * correct * recalled / (correct * true + recalled * predicted)
    f1: PerClass = np.where(true + predicted > 0, np.nan_to_num(score), np.nan)
    return f1


def mean_boundary_f1(counts: Counts) -> float:
    """Mean over the classes that have a boundary in the ground truth; NaN if none has."""
    present = counts[:, 1] > 0
    return float(boundary_f1(counts)[present].mean()) if present.any() else float("nan")


def _edges(label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The label on its boundary pixels, IGNORE_INDEX elsewhere."""
    edge, known = np.zeros(label.shape, np.bool_), label != IGNORE_INDEX
    for first, second in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        differs = label[first] != label[second]
        differs &= known[first]
        differs &= known[second]
        edge[first] |= differs
        edge[second] |= differs
    return np.where(edge, label, np.uint8(IGNORE_INDEX))


def _match(
    own: NDArray[np.uint8], other: NDArray[np.uint8], tolerance_px: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Class of every boundary pixel of `own`, and whether `other` has one of that class nearby."""
    height, width = own.shape
    pixels = np.flatnonzero(own != IGNORE_INDEX)
    ids = own.reshape(-1).take(pixels)
    around = np.full((height + 2 * tolerance_px, width + 2 * tolerance_px), IGNORE_INDEX, np.uint8)
    around[tolerance_px : tolerance_px + height, tolerance_px : tolerance_px + width] = other
    rows, columns = np.divmod(pixels, width)
    places = (rows + tolerance_px) * around.shape[1] + columns + tolerance_px  # of the same pixels in `around`
    matched = np.zeros(len(ids), np.bool_)
    reach = np.arange(-tolerance_px, tolerance_px + 1)
    for dy, dx in np.argwhere(np.hypot(*np.meshgrid(reach, reach)) <= tolerance_px) - tolerance_px:
        matched |= around.reshape(-1).take(places + (dy * around.shape[1] + dx)) == ids
    return ids, matched
