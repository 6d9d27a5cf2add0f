# SPDX-License-Identifier: Apache-2.0
import math
from dataclasses import replace

import numpy as np
import pytest

from road_kd_seg.synthetic import surface
from road_kd_seg.synthetic.camera import CameraPose, View, d455_intrinsics, plane_points
from road_kd_seg.synthetic.canvas import Canvas, see_ground
from road_kd_seg.synthetic.roads import draw_road
from road_kd_seg.synthetic.scene import Terrain
from road_kd_seg.synthetic.terrain import elevation_m, meet_terrain
from road_kd_seg.taxonomy import BACKGROUND, ROAD

H, W = 288, 512
HEIGHT_M = 1.3
PLANE = replace(
    draw_road(3, clear_path=True, close_up=False),
    num_lanes=2, lane_width_m=3.0, margin_m=1.0, bend_m=0.0, verge="pavement",
)  # fmt: skip
"""Straight, 8 m wide."""
VIEW = View(d455_intrinsics(H, W), CameraPose(0.0, 0.0, HEIGHT_M, 0.0, math.radians(20), 0.0))
FLAT = Terrain(0.0, 0.0, 0.0, 0.0)


def points_on(terrain, view=VIEW):
    """World x, y, z (n,) of the ground up to 20 m that the camera sees, and whether each lies on a kerb's face."""
    directions = view.directions(0, 0, H, W)
    depth_m, x_m, y_m, face = meet_terrain(PLANE, terrain, view, directions)
    near = depth_m < 20
    z_m = HEIGHT_M + depth_m[near] * np.broadcast_to(directions[2], depth_m.shape)[near]
    return x_m[near], y_m[near], z_m, np.zeros(z_m.shape, bool) if face is None else face[near]


class TestTerrain:
    def test_flat_terrain_is_the_plane(self):
        directions = VIEW.directions(0, 0, H, W)
        expected = plane_points(VIEW, directions)
        found = meet_terrain(PLANE, FLAT, VIEW, directions)
        near = expected[0] < 100
        for ours, theirs in zip(found[:3], expected, strict=True):
            np.testing.assert_allclose(ours[near], theirs[near], rtol=2e-3, atol=2e-3)

    @pytest.mark.parametrize("curve", [-0.001, 0.001])
    def test_points_lie_on_the_parabola(self, curve):
        _, y_m, z_m, _ = points_on(replace(FLAT, curve_per_m=curve))
        np.testing.assert_allclose(z_m, curve * y_m**2, atol=2e-3)

    def test_nothing_is_seen_beyond_a_crest(self):
        """From 1.3 m, z = -0.002 y² is seen up to where the line of sight touches it: y = sqrt(1.3 / 0.002)."""
        directions = VIEW.directions(0, 0, H, W)
        depth_m, _, y_m, _ = meet_terrain(PLANE, replace(FLAT, curve_per_m=-0.002), VIEW, directions)
        seen = np.isfinite(depth_m)
        # A row is meters there: what is seen grows with the square root of the ray's distance from the tangent.
        assert y_m[seen].max() == pytest.approx(math.sqrt(HEIGHT_M / 0.002), rel=0.15)
        assert y_m[seen].max() <= math.sqrt(HEIGHT_M / 0.002) * 1.001

    def test_a_crowned_road_falls_to_its_edges(self):
        x_m, y_m, z_m, _ = points_on(replace(FLAT, crown=0.03))
        expected = -0.03 * np.minimum(np.abs(x_m), 4.0) * (1 - y_m / 40)
        np.testing.assert_allclose(z_m, expected, atol=0.012)

    def test_waves_have_the_given_height(self):
        _, y_m, z_m, _ = points_on(replace(FLAT, bumps_m=0.02))
        near = y_m < 8
        assert 0.008 < z_m[near].std() < 0.03

    def test_beside_a_kerb_the_ground_is_higher_and_its_face_stands_at_the_edge(self):
        x_m, _, z_m, face = points_on(replace(FLAT, kerb_m=0.12))
        top = (np.abs(x_m) > 4.02) & ~face
        np.testing.assert_allclose(z_m[top], 0.12, atol=2e-3)
        np.testing.assert_allclose(z_m[(np.abs(x_m) < 3.98) & ~face], 0.0, atol=2e-3)
        assert face.sum() > 20
        np.testing.assert_allclose(np.abs(x_m[face]), 4.0, atol=0.01)
        assert ((z_m[face] > -0.005) & (z_m[face] < 0.125)).all()

    def test_beside_a_raised_road_the_ground_is_lower(self):
        x_m, _, z_m, face = points_on(replace(FLAT, kerb_m=-0.15))
        np.testing.assert_allclose(z_m[np.abs(x_m) > 4.6], -0.15, atol=2e-3)
        np.testing.assert_allclose(z_m[np.abs(x_m) < 4.0], 0.0, atol=2e-3)
        assert not face.any()

    def test_a_kerbs_face_is_no_road(self):
        road = replace(PLANE, terrain=replace(FLAT, kerb_m=0.12))
        ground = see_ground(road, VIEW)
        canvas = Canvas.blank(H, W).below(ground.top)
        surface.paint_surface(canvas, ground, road)
        assert (canvas.label[ground.face] == BACKGROUND).all()
        assert (canvas.label[(np.abs(ground.t_m) < 3.9) & (ground.depth_m < 50)] == ROAD).all()

    def test_solids_stand_on_the_ground(self):
        road = replace(PLANE, terrain=Terrain(0.001, 0.02, 0.0, 0.1))
        assert elevation_m(PLANE, VIEW, 10.0, 1.0) == 0
        assert elevation_m(road, VIEW, 10.0, 2.0) == pytest.approx(0.1 - 0.04 * 0.75)
        assert elevation_m(road, VIEW, 0.0, 5.0) == pytest.approx(0.1 - 0.02 * 4.0)
