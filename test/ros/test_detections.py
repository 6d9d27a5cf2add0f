"""Obstacles as vision_msgs. Where the package is missing, classes with the fields of its definition stand in."""

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
from geometry_msgs.msg import Pose, Vector3
from std_msgs.msg import Header

from road_kd_seg.obstacles import Obstacle
from road_kd_seg.ros.detections import detections, quaternion
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY, NEGATIVE_OBSTACLE


class Result(SimpleNamespace):
    def __init__(self):
        super().__init__(
            hypothesis=SimpleNamespace(class_id="", score=0.0), pose=SimpleNamespace(pose=Pose(), covariance=[])
        )


class Detection(SimpleNamespace):
    def __init__(self, **fields):
        super().__init__(bbox=SimpleNamespace(center=Pose(), size=Vector3()), **fields)


STAND_IN = SimpleNamespace(
    Detection3DArray=lambda header: SimpleNamespace(header=header, detections=[]),
    Detection3D=Detection,
    ObjectHypothesisWithPose=Result,
)


@pytest.fixture
def vision():
    if importlib.util.find_spec("vision_msgs") is None:
        return STAND_IN
    return importlib.import_module("vision_msgs.msg")


def test_each_obstacle_is_a_box_with_its_class_score_and_number(vision):
    axes = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    pothole = Obstacle(NEGATIVE_OBSTACLE, 0.75, 500, np.array([1.0, 1.2, 4.0]), np.array([0.4, 0.6, 0.05]), axes, False)
    header = Header(frame_id="camera")
    array = detections(vision, [pothole], [7], DEFAULT_TAXONOMY, header)
    (found,) = array.detections
    assert (array.header, found.header, found.id) == (header, header, "7")
    assert (found.results[0].hypothesis.class_id, found.results[0].hypothesis.score) == ("negative_obstacle", 0.75)
    assert found.results[0].pose.pose == found.bbox.center
    assert (found.bbox.center.position.x, found.bbox.center.position.y, found.bbox.center.position.z) == (1.0, 1.2, 4.0)
    assert (found.bbox.size.x, found.bbox.size.y, found.bbox.size.z) == (0.4, 0.6, 0.05)


@pytest.mark.parametrize("seed", range(8))
def test_the_quaternion_turns_as_its_matrix_does(seed):
    random = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(random.normal(size=(3, 3)))
    rotation *= np.linalg.det(rotation)
    q = quaternion(rotation)
    vector, point = np.array([q.x, q.y, q.z]), random.normal(size=3)
    across = 2 * np.cross(vector, point)
    np.testing.assert_allclose(point + q.w * across + np.cross(vector, across), rotation @ point, atol=1e-12)
