# SPDX-License-Identifier: Apache-2.0
"""Points in another frame than the camera's, by tf2, which is optional: PyPI has no wheels of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time
from std_msgs.msg import Header

from road_kd_seg.clouds import moved
from road_kd_seg.errors import RoadKdError, printable

_PATIENCE_S = 0.1
"""How long a frame's points wait for the transform of its moment: odometry comes later than images."""
_BACK_NS = 1_000_000_000
"""Stamps that go back by more are those of a bag that looped, or whose player was restarted."""
_THROTTLE_S = 5.0


class TargetFrame:
    """Moves points into a frame, at the moment of their image.

    Raises:
        RoadKdError: tf2_ros is not installed.
    """

    def __init__(self, node: Node, frame_id: str) -> None:
        try:
            import tf2_ros
        except ImportError as error:
            raise RoadKdError(
                f"parameter target_frame: '{frame_id}' needs the Python package tf2_ros:"
                " apt install ros-$ROS_DISTRO-tf2-ros-py, or leave target_frame empty (points in the camera's frame)"
            ) from error
        self._node = node
        self._frame_id = frame_id
        self._failures: tuple[type[Exception], ...] = (
            tf2_ros.TransformException,
            ValueError,
        )  # the latter: a negative stamp
        self._newest_ns = 0
        self._missed_ns = -1
        """The newest transform when one was last waited for in vain."""
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, node)

    def close(self) -> None:
        """Unsubscribe from /tf and /tf_static."""
        self._listener.unregister()

    def at(self, header: Header) -> tuple[Header, Callable[[NDArray[np.void]], NDArray[np.void]]] | None:
        """The header of an image's points in the target frame, and what moves them there; None, and a warning, where
        nobody knows the transform.

        Not on the executor's thread, which brings the transforms that this waits for.
        """
        try:
            stamp = Time.from_msg(header.stamp)
            if stamp.nanoseconds < self._newest_ns - _BACK_NS:
                self._buffer.clear()  # all but the static ones: tf2 refuses those much older than what it has
                self._newest_ns = 0
            self._newest_ns = max(self._newest_ns, stamp.nanoseconds)
            # Raises at once where no tree connects the frames. Where odometry has stopped, only one frame waits for it.
            latest_ns = self._buffer.get_latest_common_time(self._frame_id, header.frame_id).nanoseconds
            has_stopped, self._missed_ns = latest_ns == self._missed_ns, latest_ns
            patience = Duration(seconds=0.0 if has_stopped else _PATIENCE_S)
            found = self._buffer.lookup_transform(self._frame_id, header.frame_id, stamp, patience)
            self._missed_ns = -1
        except self._failures as error:
            text = f"no points: no transform from {header.frame_id} to {self._frame_id} (target_frame): {error}"
            self._node.get_logger().warning(printable(text), throttle_duration_sec=_THROTTLE_S)
            return None
        turn, shift = found.transform.rotation, found.transform.translation
        move = partial(moved, rotation=(turn.x, turn.y, turn.z, turn.w), translation_m=(shift.x, shift.y, shift.z))
        return Header(stamp=header.stamp, frame_id=self._frame_id), move
