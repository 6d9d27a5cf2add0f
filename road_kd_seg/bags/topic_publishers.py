# SPDX-License-Identifier: Apache-2.0
"""Which message class and which quality of service a recorded topic is played with. Needs ROS."""

from __future__ import annotations

import importlib
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from road_kd_seg.errors import RoadKdError
from road_kd_seg.plain_data import parse_yaml

_MSGTYPE = re.compile(r"([a-z][a-z0-9_]*)/msg/([A-Z][A-Za-z0-9]*)")
_LATCHED = ("/tf_static", "/robot_description", "/map")
"""What is latched by convention, where the recording does not say."""
_MAX_DEPTH = 100
# As numbers until Jazzy, as names since; other values are "unknown" and "the system's default".
_TRANSIENT_LOCAL = (1, "transient_local")
_BEST_EFFORT = (2, "best_effort")


def interface_class(msgtype: str) -> Any:
    """The class of a message type; None where no such interface package is installed.

    A bag names any type it likes: nothing is imported but packages that ROS's generator made.
    """
    match = _MSGTYPE.fullmatch(msgtype)
    spec = find_spec(match.group(1)) if match else None  # finds a package without running it
    if match is None or spec is None or not spec.submodule_search_locations:
        return None
    package, name = match.groups()
    generated = f"{package}_s__rosidl_typesupport_*"
    if not any(any(Path(folder).glob(generated)) for folder in spec.submodule_search_locations):
        return None
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name, None)
    except ImportError:
        return None


def publisher_qos(topic: str, offered: str, messages: int) -> QoSProfile:
    """What the recorded publishers offered, for one publisher in their place.

    Args:
        topic: its name.
        offered: QoS profiles as YAML; empty where unknown.
        messages: how many will be published; as many stay available of a latched topic, up to 100.
    """
    profiles = _profiles(offered)
    latched = topic in _LATCHED if not profiles else all(p.get("durability") in _TRANSIENT_LOCAL for p in profiles)
    # A reliable publisher, as the RealSense driver's, matches reliable and best-effort subscribers.
    best_effort = bool(profiles) and all(profile.get("reliability") in _BEST_EFFORT for profile in profiles)
    depths = [
        profile["depth"] for profile in profiles if isinstance(profile.get("depth"), int) and profile["depth"] > 0
    ]
    depth = max([*depths, messages]) if latched else max(depths, default=10)
    return QoSProfile(
        depth=min(max(depth, 1), _MAX_DEPTH),
        reliability=ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def _profiles(offered: str) -> list[dict[str, Any]]:
    try:
        profiles = parse_yaml(offered.encode(errors="replace"), "QoS")
    except RoadKdError:
        return []
    return [profile for profile in profiles if isinstance(profile, dict)] if isinstance(profiles, list) else []
