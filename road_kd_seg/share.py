"""Where models/, config/ and launch/ are: in a source checkout, a colcon install or a pip install."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from road_kd_seg.errors import RoadKdError


def share_candidates(relative: str | Path) -> list[Path]:
    """Every place where a shared file may be, in the order in which to look.

    Args:
        relative: e.g. "config/fastdds_shm.xml".
    """
    folders = [Path(__file__).resolve().parents[1]]
    # Without ROS there is no index to import, and without colcon's setup.bash nothing in it (LookupError).
    with contextlib.suppress(ImportError, LookupError, OSError):
        from ament_index_python.packages import get_package_share_directory

        folders.append(Path(get_package_share_directory("road_kd_seg")))
    folders.append(Path(sys.prefix) / "share" / "road_kd_seg")
    return [folder / relative for folder in folders]


def share_file(relative: str) -> Path:
    """Find a file of this package, in a source checkout, a colcon install or a pip install.

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
