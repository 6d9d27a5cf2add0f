# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from road_kd_seg.synthetic.camera import CameraPose, View, d455_intrinsics, plane_points

poses = st.builds(
    CameraPose,
    x_m=st.floats(-3, 3),
    y_m=st.floats(-100, 1000),
    height_m=st.floats(0.5, 2.0),
    heading_rad=st.floats(-0.5, 0.5),
    pitch_rad=st.floats(0.1, 0.9),
    roll_rad=st.floats(-0.1, 0.1),
)


class TestIntrinsics:
    def test_the_field_of_view_is_90_degrees_wide_at_any_size(self):
        for width in (1024, 256):
            camera = d455_intrinsics(width * 9 // 16, width)
            assert 2 * math.degrees(math.atan(width / 2 / camera.fx)) == pytest.approx(90)


class TestPose:
    @given(poses)
    def test_rotation_is_orthonormal_and_right_handed(self, pose: CameraPose):
        r = pose.rotation()
        np.testing.assert_allclose(r.T @ r, np.eye(3), atol=1e-12)
        assert np.linalg.det(r) == pytest.approx(1)

    def test_a_level_camera_looks_along_the_road_with_y_down(self):
        right, down, forward = CameraPose(0, 0, 1, 0, 0, 0).rotation().T
        np.testing.assert_allclose((right, down, forward), [(1, 0, 0), (0, 0, -1), (0, 1, 0)], atol=1e-12)

    def test_positive_pitch_looks_down_and_positive_heading_right(self):
        forward = CameraPose(0, 0, 1, 0.2, 0.3, 0).rotation()[:, 2]
        assert forward[2] == pytest.approx(-math.sin(0.3))
        assert forward[0] > 0


class TestPlane:
    @given(poses)
    def test_plane_points_project_back_to_their_pixels(self, pose: CameraPose):
        view = View(d455_intrinsics(18, 32), pose)
        depth_m, x_m, y_m = plane_points(view, view.directions(0, 0, 18, 32))
        rows, columns = np.nonzero(depth_m < 50)
        points = np.stack([x_m[rows, columns], y_m[rows, columns], np.zeros(len(rows))], 1).astype(np.float64)
        expected = np.stack([columns, rows, depth_m[rows, columns]], 1)
        # float32 keeps a thousand meters to 0.06 mm, which is a few hundredths of a pixel at the near end
        np.testing.assert_allclose(view.project(points), expected, atol=0.05, rtol=1e-3)

    def test_the_depth_straight_below_the_horizon_follows_height_over_slope(self):
        view = View(d455_intrinsics(576, 1024), CameraPose(0, 0, 1.3, 0, 0, 0))
        depth_m, _, _ = plane_points(view, view.directions(0, 0, 576, 1024))
        slope = (np.arange(576) - view.camera.cy) / view.camera.fy
        below = slope > 0.01
        np.testing.assert_allclose(depth_m[below, 7], 1.3 / slope[below], rtol=1e-5)
        assert np.isinf(depth_m[~(slope > 0.001)]).all()

    def test_a_coarse_grid_holds_every_fourth_ray_and_covers_the_image(self):
        view = View(d455_intrinsics(30, 50), CameraPose(0, 0, 1.3, 0.1, 0.3, 0.05))
        fine, coarse = view.directions(0, 0, 30, 50), view.directions(0, 0, 30, 50, step_px=4)
        for a, b in zip(fine, coarse, strict=True):
            np.testing.assert_allclose(b[:8, :13], a[::4, ::4], atol=1e-6)
            assert b.shape[0] * 4 > 30
            assert b.shape[1] * 4 > 50
