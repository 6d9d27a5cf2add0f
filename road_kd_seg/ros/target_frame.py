# SPDX-License-Identifier: Apache-2.0
"""Points in another frame than the camera's, by tf2, which is optional: PyPI has no wheels of it."""

from __future__ import annotations

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
        self._failures: tuple[type[Exception], ...] = (tf2_ros.TransformException,)
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, node)

    def close(self) -> None:
        """Unsubscribe from /tf and /tf_static."""
        self._listener.unregister()

    def move(self, points: NDArray[np.void], header: Header) -> tuple[NDArray[np.void], Header] | None:
        """Points and header in the target frame; None, and a warning, where nobody knows the transform.

        Not on the executor's thread, which brings the transforms that this waits for.
        """
        try:
            found = self._buffer.lookup_transform(
                self._frame_id, header.frame_id, Time.from_msg(header.stamp), Duration(seconds=_PATIENCE_S)
            )
        except self._failures as error:
            text = f"no points: no transform from {header.frame_id} to {self._frame_id} (target_frame): {error}"
            self._node.get_logger().warning(printable(text), throttle_duration_sec=_THROTTLE_S)
            return None
        turn, shift = found.transform.rotation, found.transform.translation
        there = moved(points, (turn.x, turn.y, turn.z, turn.w), (shift.x, shift.y, shift.z))
        return there, Header(stamp=header.stamp, frame_id=self._frame_id)
