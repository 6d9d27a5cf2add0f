# SPDX-License-Identifier: Apache-2.0
"""Topics in words: why one cannot be opened, and what the ROS graph knows of one from which nothing comes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.qos import QoSProfile

from road_kd_seg.errors import RoadKdError

_MAX_NAMES = 4


@contextmanager
def explained(node: Node, name: str) -> Iterator[None]:
    """Turn what rclpy raises while a publisher or subscription is created into a RoadKdError with the topic's name."""
    try:
        yield
    except (RuntimeError, ValueError, ParameterException) as error:  # RCLError is the first
        topic = node.resolve_topic_name(name)
        raise RoadKdError(
            f"topic {topic} cannot be opened: {error}: correct qos_overrides.{topic}.* and start again"
        ) from error


def describe_input(node: Node, subscription: Any) -> str:
    """A subscribed topic by its resolved name, with its publishers and their quality of service.

    Where nobody publishes it, the topics of the same type are named: one of them may be meant.
    """
    topic, kind = subscription.topic_name, _type_name(subscription.msg_type)
    publishers = node.get_publishers_info_by_topic(topic)
    wanted = _describe_qos(subscription.qos_profile)
    if publishers:
        found = ", ".join(_describe_publisher(item, kind) for item in publishers[:_MAX_NAMES])
        return f"{topic} ({wanted}) has {len(publishers)} publisher{'s' * (len(publishers) > 1)}: {found}"
    output = f"/{node.get_name()}/"  # of this node, or of one for another camera
    others = [
        name
        for name, kinds in node.get_topic_names_and_types()
        if kind in kinds and output not in name and node.count_publishers(name)
    ]
    hint = f"; remap it to one of {', '.join(others[:_MAX_NAMES])}" if others else ""
    return f"{topic} ({wanted}) has no publisher{hint}"


def _describe_publisher(info: Any, kind: str) -> str:
    other = "" if info.topic_type == kind else f", but {info.topic_type}"
    return f"{info.node_name} ({_describe_qos(info.qos_profile)}{other})"


def _type_name(kind: Any) -> str:
    package, _, rest = kind.__module__.partition(".")
    return f"{package}/{rest.partition('.')[0]}/{kind.__name__}"


def _describe_qos(profile: QoSProfile) -> str:
    return f"{profile.reliability.name}, {profile.durability.name}".lower().replace("_", " ")
