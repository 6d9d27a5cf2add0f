# SPDX-License-Identifier: Apache-2.0
"""The DDS set-up that images need (before `rclpy.init()`), and what killed processes leave of it."""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

from road_kd_seg.errors import RoadKdError, printable, shown
from road_kd_seg.share import share_file

PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""Fast DDS 2 (Jazzy) reads the first, Fast DDS 3 (Kilted and later) the second."""

MIN_SEGMENT_BYTES = 4 << 20
"""From here on no image was lost in our measurements (1024x576, 30 Hz color and depth); the default is 512 kB."""

SHARED_MEMORY = Path("/dev/shm")

_SEGMENT = re.compile(r"fastrtps_[0-9a-f]{16}")
_MIN_LOCK_AGE_S = 10.0
"""A process that is just starting creates its lock file before it locks it."""


def check_middleware() -> None:
    """Refuse a middleware that is not installed, before rclpy is imported: with one, its import ends the process.

    Raises:
        RoadKdError: RMW_IMPLEMENTATION names none of those that the ament index lists.
    """
    wanted, rclpy = os.environ.get("RMW_IMPLEMENTATION"), find_spec("rclpy")
    if not wanted or rclpy is None or rclpy.origin is None:
        return
    # PREFIX/lib/pythonX.Y/site-packages/rclpy/__init__.py, of ROS and of its wheels alike.
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), str(Path(rclpy.origin).parents[4])]
    folders = [Path(prefix, "share/ament_index/resource_index/rmw_typesupport") for prefix in prefixes if prefix]
    installed = {file.name for folder in folders if folder.is_dir() for file in folder.iterdir()}
    installed.discard("rmw_implementation")
    if installed and wanted not in installed:
        raise RoadKdError(
            f"RMW_IMPLEMENTATION is {shown(wanted)}, which is not installed: unset it, set it to"
            f" {' or '.join(sorted(installed))}, or apt install ros-$ROS_DISTRO-{printable(wanted).replace('_', '-')}"
        )


def parse_beside_ros(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """A tool's own arguments of the command line, without those of ROS; `--help` works where no ROS is installed.

    Raises:
        RoadKdError: as `check_middleware`.
    """
    if {"-h", "--help"} & set(sys.argv):
        parser.parse_args(["--help"])
    check_middleware()
    from rclpy.utilities import remove_ros_args

    return parser.parse_args(remove_ros_args(sys.argv)[1:])


def use_shared_memory_profile() -> str | None:
    """Point Fast DDS at `config/fastdds_shm.xml`, unless the user has chosen a profile.

    Returns:
        A warning for the log if images will be lost all the same, else None.
    """
    if os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp") not in ("rmw_fastrtps_cpp", "rmw_fastrtps_dynamic_cpp"):
        return None
    chosen = next((os.environ[name] for name in PROFILE_VARIABLES if os.environ.get(name)), None)
    profile = Path(chosen) if chosen else share_file("config/fastdds_shm.xml")
    for name in PROFILE_VARIABLES:
        os.environ.setdefault(name, str(profile))
    return check_profile(profile)


def check_profile(profile: Path) -> str | None:
    """Say what is wrong with a Fast DDS profile file as far as images go; None if nothing is."""
    hint = "unset FASTRTPS_DEFAULT_PROFILES_FILE to use config/fastdds_shm.xml"
    try:
        root = ElementTree.parse(profile).getroot()
    except (OSError, ElementTree.ParseError) as error:
        return f"Fast DDS profile {profile} cannot be read ({error}), so most images will be lost: {hint}"
    texts = [(item.text or "").strip() for item in root.iter() if item.tag.endswith("segment_size")]
    sizes = [int(text) for text in texts if text.isdigit()]
    if not sizes or max(sizes) < MIN_SEGMENT_BYTES:
        found = f"a shared-memory segment of {max(sizes)} bytes" if sizes else "no shared-memory segment_size"
        return f"Fast DDS profile {profile} sets {found}, expected {MIN_SEGMENT_BYTES} or more; images get lost: {hint}"
    return None


def remove_orphaned_segments(folder: Path = SHARED_MEMORY) -> int:
    """Remove the segments of this user's processes that were killed; returns how many.

    A living process holds an exclusive lock on `NAME_el` beside its segment `NAME` (Fast DDS's RobustExclusiveLock);
    the kernel releases it whichever way the process ends.
    """
    removed = 0
    for lock in folder.glob("fastrtps_*_el"):
        segment = lock.with_name(lock.name.removesuffix("_el"))
        if _SEGMENT.fullmatch(segment.name) and _is_orphaned(lock):
            for file in (segment, lock):
                with suppress(OSError):
                    file.unlink()
            removed += 1
    return removed


def _is_orphaned(lock: Path) -> bool:
    try:
        if time.time() - lock.stat().st_mtime < _MIN_LOCK_AGE_S:
            return False
        descriptor = os.open(lock, os.O_RDWR)
    except OSError:  # another user's, or removed meanwhile
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
