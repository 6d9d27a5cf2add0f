# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from road_kd_seg.frame import RgbdFrame, Segmentation
from road_kd_seg.ground import GroundPlane
from road_kd_seg.rotation import ROTATIONS, plane_turned_back, turned_back, upright

H, W = 5, 8


@pytest.fixture
def frame():
    random = np.random.default_rng(0)
    depth_m = random.random((H, W), np.float32)
    return RgbdFrame(random.integers(0, 256, (H, W, 3), np.uint8), depth_m, None, 7, "camera")


def values(plane, height, width):
    rows, columns = np.mgrid[:height, :width]
    return plane.columns * columns + plane.rows * rows + plane.offset


class TestRotation:
    def test_ninety_degrees_are_clockwise(self, frame):
        turned = upright(frame, 90)
        np.testing.assert_array_equal(turned.rgb[0], frame.rgb[::-1, 0])  # the left column becomes the top row
        assert (turned.size, turned.stamp_ns, turned.frame_id) == ((W, H), 7, "camera")

    @pytest.mark.parametrize("degrees", ROTATIONS)
    def test_what_is_found_comes_back_to_its_pixels(self, frame, degrees):
        turned = upright(frame, degrees)
        found = turned_back(Segmentation(turned.rgb[..., 0], turned.depth_m, 7, "camera"), degrees)
        np.testing.assert_array_equal(found.label, frame.rgb[..., 0])
        np.testing.assert_array_equal(found.confidence, frame.depth_m)

    @pytest.mark.parametrize("degrees", ROTATIONS)
    def test_a_plane_keeps_its_value_at_every_pixel(self, frame, degrees):
        plane = GroundPlane(0.3, -0.7, 2.0)
        turned_size = upright(frame, degrees).size
        expected = np.rot90(values(plane, *turned_size), degrees // 90)
        np.testing.assert_allclose(values(plane_turned_back(plane, degrees, (H, W)), H, W), expected)
