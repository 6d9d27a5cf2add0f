# SPDX-License-Identifier: Apache-2.0
"""Which samples have a label: what semi-supervised protocols draw, and the choice between the two parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from road_kd_training.datasets.common.folder import Layout
from road_kd_training.datasets.common.splits import drawn
from road_kd_training.errors import DatasetError

Part = Literal["all", "labeled", "unlabeled"]


def draw_labeled(names: Sequence[str], share: float, seed: int) -> list[bool]:
    """Draw the samples that keep their label.

    A smaller share is a subset of a larger one.

    Args:
        names: unique names.
        share: 0 to 1; the number of labeled samples is rounded.
        seed: another seed draws others.

    Returns:
        Whether each sample is labeled, in the order of `names`.

    Raises:
        DatasetError: a share outside 0 to 1.
    """
    if not 0 <= share <= 1:
        raise DatasetError(f"labeled is {share}: expected a share from 0 to 1, e.g. 0.2 for one in five")
    kept = set(drawn(names, seed)[: round(share * len(names))])
    return [name in kept for name in names]


def choose_part(layout: Layout, part: Part, with_label: Sequence[bool], root: Path) -> list[int]:
    """Indices of the samples of one part, in order.

    Raises:
        DatasetError: an unknown part, or one without samples.
    """
    if part not in get_args(Part):
        raise DatasetError(f"{layout.name}: part '{part}' is unknown: use one of {', '.join(get_args(Part))}")
    chosen = [i for i, known in enumerate(with_label) if part == "all" or known == (part == "labeled")]
    if not chosen:
        other = {"labeled": "labeled", "unlabeled": "unlabeled", "all": ""}[part]
        raise DatasetError(f"{layout.name}: none of the {len(with_label)} samples of {root} is {other}")
    return chosen
