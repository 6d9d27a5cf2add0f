# SPDX-License-Identifier: Apache-2.0
"""Where models/ and config/ are: inside the installed package, or in the checkout it runs from."""

from __future__ import annotations

from pathlib import Path

from road_kd_seg.errors import RoadKdError

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent


def share_candidates(relative: str | Path) -> list[Path]:
    """Every place where a shared file may be, in the order in which to look.

    An installation carries them as `shared/` inside the package, so that they are wherever pip or colcon put it:
    `--user`, `--target` and a distribution's own prefix differ in where other files go.

    Args:
        relative: e.g. "config/fastdds_shm.xml".
    """
    folders = [_PACKAGE / "shared"]
    if (_CHECKOUT / "package.xml").is_file():
        folders.insert(0, _CHECKOUT)
    return [folder / relative for folder in folders]


def share_file(relative: str) -> Path:
    """Find a file of this package.

    Args:
        relative: e.g. "config/fastdds_shm.xml".

    Raises:
        RoadKdError: it is in none of the places.
    """
    candidates = share_candidates(relative)
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    searched = ", ".join(str(candidate) for candidate in candidates)
    raise RoadKdError(
        f"{relative} is missing, searched {searched}: install road_kd_seg again, or run from its checkout"
    )
