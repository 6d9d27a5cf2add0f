# SPDX-License-Identifier: Apache-2.0
"""Where a report was made: without this its milliseconds mean nothing."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from road_kd_seg.host import cpu_name

REPORTED_PACKAGES = ("road_kd_seg", "torch", "numpy", "opencv-python-headless", "rosbags", "ros-rclpy")


def describe_environment() -> dict[str, str | int | None]:
    """Machine, versions and the source's commit; None for what cannot be told."""
    found: dict[str, str | int | None] = {
        "machine": platform.machine(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "os": platform.platform(terse=True),
        "ros_distro": os.environ.get("ROS_DISTRO"),
        "python": platform.python_version(),
    }
    found.update({name: _version(name) for name in REPORTED_PACKAGES})
    found["git"] = git_commit(Path(__file__).parent)
    return found


def git_commit(folder: Path) -> str | None:
    """Commit of the checkout that a folder is in, with `-dirty` if files were changed; None outside a checkout."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--match="]
    try:
        completed = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return completed.stdout.strip() or None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
