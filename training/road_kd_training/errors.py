# SPDX-License-Identifier: Apache-2.0
"""Exceptions of the training package, beside those of the runtime."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from road_kd_seg.errors import RoadKdError


class DatasetError(RoadKdError):
    """A dataset that is missing, laid out otherwise, or holds a damaged file."""


class TrainingError(RoadKdError):
    """A run that cannot start or cannot be resumed."""


def suggest(unknown: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one first, then all."""
    names = list(known)
    nearest = difflib.get_close_matches(unknown, names, n=1, cutoff=0.5)
    guess = f"did you mean '{nearest[0]}'? " if nearest else ""
    return f"{guess}use one of {', '.join(names)}" if names else "it takes none"
