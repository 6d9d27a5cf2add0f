"""The DDS set-up that images need. Call `use_shared_memory_profile()` before `rclpy.init()`."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree

from road_kd_seg.share import share_file

PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""Fast DDS 2 (Jazzy) reads the first, Fast DDS 3 (Kilted and later) the second."""

MIN_SEGMENT_BYTES = 4 << 20
"""From here on no image was lost in our measurements (1024x576, 30 Hz color and depth); the default is 512 kB."""


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
