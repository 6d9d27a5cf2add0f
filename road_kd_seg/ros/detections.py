# SPDX-License-Identifier: Apache-2.0
"""Obstacles as objects → vision_msgs. Its message classes are passed in: PyPI has no wheels of the package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from numpy.typing import NDArray
from std_msgs.msg import Header

from road_kd_seg.obstacles import Obstacle
from road_kd_seg.taxonomy import Taxonomy


def detections(
    vision: Any, obstacles: Sequence[Obstacle], numbers: Sequence[int], taxonomy: Taxonomy, header: Header
) -> Any:
    """A Detection3DArray: one box on the road for each obstacle, x to the right, y ahead and z up.

    Args:
        vision: module vision_msgs.msg.
        obstacles: of one frame.
        numbers: theirs; an obstacle keeps its number from frame to frame.
        taxonomy: names the classes.
        header: of the color image.
    """
    array = vision.Detection3DArray(header=header)
    for obstacle, number in zip(obstacles, numbers, strict=True):
        pose = Pose(position=Point(**_xyz(obstacle.position_m)), orientation=quaternion(obstacle.axes))
        result = vision.ObjectHypothesisWithPose()
        result.hypothesis.class_id = taxonomy.names[obstacle.class_id]
        result.hypothesis.score = obstacle.confidence
        result.pose.pose = pose
        detection = vision.Detection3D(header=header, results=[result], id=str(number))
        detection.bbox.center = pose
        detection.bbox.size = Vector3(**_xyz(obstacle.size_m))
        array.detections.append(detection)
    return array


def quaternion(rotation: NDArray[np.float64]) -> Quaternion:
    """Of a rotation matrix, (3, 3)."""
    # The eigenvector of the largest eigenvalue of this symmetric matrix (Bar-Itzhack 2000): right for every rotation.
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation
    symmetric = np.array(
        [
            [xx - yy - zz, xy + yx, xz + zx, zy - yz],
            [xy + yx, yy - xx - zz, yz + zy, xz - zx],
            [xz + zx, yz + zy, zz - xx - yy, yx - xy],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    x, y, z, w = (float(value) for value in np.linalg.eigh(symmetric)[1][:, -1])
    return Quaternion(x=x, y=y, z=z, w=w)


def _xyz(vector: NDArray[np.float64]) -> dict[str, float]:
    return dict(zip("xyz", map(float, vector), strict=True))
