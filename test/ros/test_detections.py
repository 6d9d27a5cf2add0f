# SPDX-License-Identifier: Apache-2.0
"""Obstacles as vision_msgs. PyPI has no wheels of it: where it is missing, classes with its fields stand in, and what
they hold is serialized by its message definitions."""

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
            hypothesis=SimpleNamespace(class_id="", score=0.0),
            pose=SimpleNamespace(pose=Pose(), covariance=np.zeros(36)),
        )


class Detection(SimpleNamespace):
    def __init__(self, **fields):
        super().__init__(bbox=SimpleNamespace(center=Pose(), size=Vector3()), **fields)


DEFINITIONS = {  # of vision_msgs 4
    "Detection3DArray": "std_msgs/Header header\nvision_msgs/Detection3D[] detections",
    "Detection3D": "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
    "vision_msgs/BoundingBox3D bbox\nstring id",
    "ObjectHypothesisWithPose": "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose",
    "ObjectHypothesis": "string class_id\nfloat64 score",
    "BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size",
}
STAND_IN = SimpleNamespace(
    Detection3DArray=lambda header: SimpleNamespace(header=header, detections=[]),
    Detection3D=Detection,
    ObjectHypothesisWithPose=Result,
)


AXES = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
POTHOLE = Obstacle(NEGATIVE_OBSTACLE, 0.75, 500, np.array([1.0, 1.2, 4.0]), np.array([0.4, 0.6, 0.05]), AXES, False)


@pytest.fixture
def vision():
    if importlib.util.find_spec("vision_msgs") is None:
        return STAND_IN
    return importlib.import_module("vision_msgs.msg")


def test_each_obstacle_is_a_box_with_its_class_score_and_number(vision):
    header = Header(frame_id="camera")
    array = detections(vision, [POTHOLE], [7], DEFAULT_TAXONOMY, header)
    (found,) = array.detections
    assert (array.header, found.header, found.id) == (header, header, "7")
    assert (found.results[0].hypothesis.class_id, found.results[0].hypothesis.score) == ("negative_obstacle", 0.75)
    assert found.results[0].pose.pose == found.bbox.center
    assert (found.bbox.center.position.x, found.bbox.center.position.y, found.bbox.center.position.z) == (1.0, 1.2, 4.0)
    assert (found.bbox.size.x, found.bbox.size.y, found.bbox.size.z) == (0.4, 0.6, 0.05)


def test_every_field_has_the_type_of_the_definition(vision):
    typesys = pytest.importorskip("rosbags.typesys")
    store = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
    for name, text in DEFINITIONS.items():
        store.register(typesys.get_types_from_msg(text, f"vision_msgs/msg/{name}"))
    name = "vision_msgs/msg/Detection3DArray"
    array = detections(vision, [POTHOLE, POTHOLE], [7, 8], DEFAULT_TAXONOMY, Header(frame_id="camera"))
    again = store.deserialize_cdr(store.serialize_cdr(array, name), name)
    assert [(each.header.frame_id, each.id) for each in again.detections] == [("camera", "7"), ("camera", "8")]
    found = again.detections[0]
    assert (found.results[0].hypothesis.class_id, found.results[0].hypothesis.score) == ("negative_obstacle", 0.75)
    assert (found.bbox.center.position.z, found.bbox.size.y) == (4.0, 0.6)


@pytest.mark.parametrize("seed", range(8))
def test_the_quaternion_turns_as_its_matrix_does(seed):
    random = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(random.normal(size=(3, 3)))
    rotation *= np.linalg.det(rotation)
    q = quaternion(rotation)
    vector, point = np.array([q.x, q.y, q.z]), random.normal(size=3)
    across = 2 * np.cross(vector, point)
    np.testing.assert_allclose(point + q.w * across + np.cross(vector, across), rotation @ point, atol=1e-12)
