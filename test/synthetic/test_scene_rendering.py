# SPDX-License-Identifier: Apache-2.0
"""One thing at a time on an otherwise empty road, seen by a camera whose pose is known."""

import math
from dataclasses import replace

import numpy as np
import pytest

from road_kd_seg.synthetic import blemishes, markings, render, surface
from road_kd_seg.synthetic.camera import CameraPose, View, d455_intrinsics
from road_kd_seg.synthetic.canvas import Canvas, Ground, see_ground
from road_kd_seg.synthetic.roads import draw_road
from road_kd_seg.synthetic.scene import Defect, LaneLine, Mark, MarkKind, Road, Segment, Solid, Stain
from road_kd_seg.taxonomy import BACKGROUND, DEFAULT_TAXONOMY, LANE_MARKING, NEGATIVE_OBSTACLE, POSITIVE_OBSTACLE, ROAD

H, W = 288, 512
ROAD_TO_TEST = replace(
    draw_road(3, clear_path=True, close_up=False),
    num_lanes=2,
    lane_width_m=3.0,
    margin_m=1.0,
    bend_m=0.0,
    verge="grass",
)
"""Straight, 8 m wide."""
VIEW = View(d455_intrinsics(H, W), CameraPose(0.0, 0.0, 1.3, 0.0, math.radians(20), 0.0))


def open_road(road: Road = ROAD_TO_TEST, view: View = VIEW) -> tuple[Canvas, Ground]:
    """The road below the horizon, bare."""
    plane = see_ground(road, view)
    canvas = Canvas.blank(H, W).below(plane.top)
    surface.paint_surface(canvas, plane, road)
    return canvas, plane


def place(monkeypatch: pytest.MonkeyPatch, **features: tuple) -> None:
    """Make every road hold these features, in its first segment, and no others."""
    empty = Segment((), (), (), (), ())
    filled = replace(empty, **features)
    monkeypatch.setattr(render, "build_segment", lambda road, index: filled if index == 0 else empty)


class TestSurface:
    def test_the_road_is_as_wide_as_it_should_be(self):
        canvas, plane = open_road()
        clearly_on, clearly_off = np.abs(plane.t_m) < 3.5, np.abs(plane.t_m) > 4.5
        assert (canvas.label[clearly_on & np.isfinite(plane.depth_m)] == ROAD).all()
        assert (canvas.label[clearly_off] == BACKGROUND).all()

    def test_ids_are_those_of_the_default_taxonomy(self):
        names = ["background", "road", "lane_marking", "negative_obstacle", "positive_obstacle"]
        ids = [BACKGROUND, ROAD, LANE_MARKING, NEGATIVE_OBSTACLE, POSITIVE_OBSTACLE]
        assert [DEFAULT_TAXONOMY.names[i] for i in ids] == names

    def test_texture_is_finer_near_the_camera_than_far_away(self):
        canvas, _ = open_road()
        middle = canvas.rgb[:, 200:300, 1]
        detail = np.abs(np.diff(middle, axis=1)).mean(axis=1) / middle.mean(axis=1)
        assert detail[-40:].mean() > 2 * detail[15:40].mean()


class TestPaint:
    def test_a_fresh_line_is_labeled_where_it_lies_and_bright(self):
        road = replace(ROAD_TO_TEST, lines=(LaneLine(1.0, 0.15, 3.0, 0.0, False),), paint_wear=0.0)
        canvas, plane = open_road(road)
        markings.paint_lines(canvas, plane, road, [])
        near = plane.depth_m < 12
        expected = (np.abs(plane.t_m - 1.0) < 0.075) & near
        painted = (canvas.label == LANE_MARKING) & near
        assert (painted == expected)[near].mean() > 0.998
        assert canvas.rgb[painted].mean() > 1.5 * canvas.rgb[near & ~painted & (canvas.label == ROAD)].mean()

    def test_wear_takes_paint_away(self):
        shares = []
        for wear in (0.0, 0.6, 1.0):
            road = replace(ROAD_TO_TEST, lines=(LaneLine(0.0, 0.2, 3.0, 0.0, False),), paint_wear=wear)
            canvas, plane = open_road(road)
            markings.paint_lines(canvas, plane, road, [])
            shares.append((canvas.label == LANE_MARKING).sum())
        assert shares[0] > shares[1] > shares[2]

    def test_a_stop_line_fills_its_rectangle(self):
        road = replace(ROAD_TO_TEST, lines=(), paint_wear=0.0)
        canvas, plane = open_road(road)
        markings.paint_lines(canvas, plane, road, [Mark(MarkKind.STOP_LINE, 5.0, 1.0, 0.5, 2.0)])
        inside = (np.abs(plane.s_m - 5.0) < 0.2) & (np.abs(plane.t_m - 1.0) < 0.9)
        outside = (np.abs(plane.s_m - 5.0) > 0.35) | (np.abs(plane.t_m - 1.0) > 1.1)
        assert (canvas.label[inside] == LANE_MARKING).mean() > 0.97
        assert not (canvas.label[outside] == LANE_MARKING).any()


class TestStains:
    @pytest.mark.parametrize("kind", ["wet", "shadow", "foliage", "oil", "patch", "manhole"])
    def test_no_stain_changes_label_or_depth(self, kind: str):
        road = replace(ROAD_TO_TEST, lines=(LaneLine(0.0, 0.3, 3.0, 0.0, False),), paint_wear=0.0)
        canvas, plane = open_road(road)
        markings.paint_lines(canvas, plane, road, [])
        label, depth_m, rgb, sun = (a.copy() for a in (canvas.label, canvas.depth_m, canvas.rgb, canvas.sun))
        blemishes.paint_stain(canvas, plane, Stain(kind, 0, 4.0, 0.0, 1.5, 1.5, 0.0, 1.0))
        np.testing.assert_array_equal(canvas.label, label)
        np.testing.assert_array_equal(canvas.depth_m, depth_m)
        assert (canvas.rgb != rgb).any() or (canvas.sun != sun).any()

    def test_only_wet_patches_make_depth_fail(self):
        canvas, plane = open_road()
        blemishes.paint_stain(canvas, plane, Stain("shadow", 0, 4.0, 0.0, 1.5, 1.5, 0.0, 1.0))
        assert not canvas.hole_chance.any()
        blemishes.paint_stain(canvas, plane, Stain("wet", 0, 4.0, 0.0, 1.5, 1.5, 0.0, 1.0))
        assert (canvas.hole_chance > 0.9).sum() > 200


class TestDefects:
    POTHOLE = Defect("pothole", 11, 3.0, 0.2, 0.8, 0.45, 0.09, "gravel", 0.006)

    def test_a_pothole_lies_below_the_plane_by_its_depth(self):
        canvas, plane = open_road()
        flat_m = canvas.depth_m.copy()
        blemishes.paint_defect(canvas, plane, VIEW, ROAD_TO_TEST, self.POTHOLE)
        hollow = canvas.label == NEGATIVE_OBSTACLE
        # a ray that is z deep at the plane and z' at the floor has sunk h (z' / z - 1) below the plane
        below_m = 1.3 * (canvas.depth_m[hollow] / flat_m[hollow] - 1)
        assert (below_m >= 0).all()
        assert 0.06 < np.percentile(below_m, 95) < 0.14
        np.testing.assert_array_equal(canvas.depth_m[~hollow], flat_m[~hollow])

    def test_the_label_is_the_opening_in_the_road(self):
        canvas, plane = open_road()
        blemishes.paint_defect(canvas, plane, VIEW, ROAD_TO_TEST, self.POTHOLE)
        hollow = canvas.label == NEGATIVE_OBSTACLE
        area_m2 = (plane.pixel_s_m * plane.pixel_t_m)[hollow].sum()
        assert math.sqrt(area_m2 / math.pi) == pytest.approx(0.45, rel=0.3)
        assert math.hypot(plane.s_m[hollow].mean() - 3.0, plane.t_m[hollow].mean() - 0.2) < 0.2

    def test_the_far_wall_shows_and_the_near_wall_hides(self):
        canvas, plane = open_road()
        flat_m = canvas.depth_m.copy()
        steep = replace(self.POTHOLE, depth_m=0.10)
        blemishes.paint_defect(canvas, plane, VIEW, ROAD_TO_TEST, steep)
        column = np.argmax((canvas.label == NEGATIVE_OBSTACLE).sum(axis=0))
        rows = np.flatnonzero(canvas.label[:, column] == NEGATIVE_OBSTACLE)
        below_m = 1.3 * (canvas.depth_m[rows, column] / flat_m[rows, column] - 1)
        third = len(rows) // 3
        # seen obliquely, the wall rises slowly at the far side (top rows) and drops at once at the near side
        assert below_m[-third:].mean() > below_m[:third].mean()

    @pytest.mark.parametrize("kind", ["pothole", "crack"])
    def test_what_is_too_far_to_see_is_neither_drawn_nor_labeled(self, kind: str):
        canvas, plane = open_road()
        before = canvas.rgb.copy()
        blemishes.paint_defect(canvas, plane, VIEW, ROAD_TO_TEST, replace(self.POTHOLE, kind=kind, s_m=14.0))
        assert not (canvas.label == NEGATIVE_OBSTACLE).any()
        np.testing.assert_array_equal(canvas.rgb, before)

    def test_beside_the_road_there_is_no_pothole(self):
        canvas, plane = open_road()
        blemishes.paint_defect(canvas, plane, VIEW, ROAD_TO_TEST, replace(self.POTHOLE, s_m=6.0, t_m=4.1))
        hollow = canvas.label == NEGATIVE_OBSTACLE
        assert hollow.any()
        assert (np.abs(plane.t_m[hollow]) < 4.4).all()


class TestSolids:
    def test_a_box_has_its_true_height_and_distance(self, monkeypatch: pytest.MonkeyPatch):
        place(monkeypatch, solids=(Solid("box", 5.0, 0.0, 0.0, (0.6, 0.6, 0.5), (0.4, 0.3, 0.2)),))
        canvas = render.paint_scene(ROAD_TO_TEST, VIEW)
        rows, columns = np.nonzero(canvas.label == POSITIVE_OBSTACLE)
        assert len(rows) > 200
        x, y, z = VIEW.directions(0, 0, H, W)
        depth_m = canvas.depth_m[rows, columns]
        up_m = 1.3 + depth_m * z[rows, columns]
        ahead_m, aside_m = depth_m * y[rows, columns], depth_m * x[rows, columns]
        assert up_m.max() == pytest.approx(0.5, abs=0.02)
        assert up_m.min() == pytest.approx(0.0, abs=0.03)
        assert ahead_m.min() == pytest.approx(4.7, abs=0.01)
        assert aside_m.min() == pytest.approx(-0.3, abs=0.02)
        assert aside_m.max() == pytest.approx(0.3, abs=0.02)

    def test_a_solid_in_the_sun_throws_a_shadow_on_the_road_that_stays_road(self, monkeypatch: pytest.MonkeyPatch):
        low_sun = replace(
            ROAD_TO_TEST.light, to_sun=(-math.cos(0.6), 0.0, math.sin(0.6)), sun=(1.5, 1.5, 1.5), sky=(0.2, 0.2, 0.2)
        )
        road = replace(ROAD_TO_TEST, light=low_sun, lines=())
        place(monkeypatch)
        empty = render.paint_scene(road, VIEW)
        place(monkeypatch, solids=(Solid("box", 4.0, 0.0, 0.0, (0.5, 0.5, 0.5), (0.4, 0.3, 0.2)),))
        canvas = render.paint_scene(road, VIEW)
        plane = see_ground(road, VIEW)
        # sun from the left at 34 degrees: the shadow of a 0.5 m box reaches 0.5 / tan(34 degrees) = 0.73 m to its right
        shaded = (np.abs(plane.s_m - 4.0) < 0.15) & (plane.t_m > 0.45) & (plane.t_m < 0.85)
        lit = (np.abs(plane.s_m - 4.0) < 0.15) & (plane.t_m > 1.15) & (plane.t_m < 1.6)
        gain = canvas.rgb[plane.top :].mean(axis=2) / empty.rgb[plane.top :].mean(axis=2)
        assert (canvas.label[plane.top :][shaded] == ROAD).all()
        assert gain[shaded].max() < 0.5
        assert gain[lit].min() > 0.95

    def test_the_nearer_solid_hides_the_farther(self, monkeypatch: pytest.MonkeyPatch):
        near = Solid("box", 3.0, 0.0, 0.0, (0.6, 0.6, 0.9), (0.4, 0.3, 0.2))
        far = Solid("box", 6.0, 0.0, 0.0, (0.3, 0.3, 0.3), (0.4, 0.3, 0.2))
        place(monkeypatch, solids=(near, far))
        both = render.paint_scene(ROAD_TO_TEST, VIEW)
        place(monkeypatch, solids=(near,))
        alone = render.paint_scene(ROAD_TO_TEST, VIEW)
        np.testing.assert_array_equal(both.depth_m, alone.depth_m)


class TestWholeView:
    def test_above_the_horizon_there_is_sky_without_depth_and_it_is_background(self, monkeypatch: pytest.MonkeyPatch):
        place(monkeypatch)
        canvas = render.paint_scene(replace(ROAD_TO_TEST, wall=False), VIEW)
        top = canvas.label[:20]
        assert (top == BACKGROUND).all()
        assert np.isinf(canvas.depth_m[:20]).all()
        assert (canvas.rgb[:20].mean(axis=2) > 0.05).all()

    def test_houses_along_the_street_have_depth(self, monkeypatch: pytest.MonkeyPatch):
        place(monkeypatch)
        canvas = render.paint_scene(replace(ROAD_TO_TEST, wall=True, verge="pavement", verge_width_m=1.5), VIEW)
        x, _, _ = VIEW.directions(0, 0, H, W)
        left_edge = canvas.depth_m[60, 3] * x[60, 3]
        assert left_edge == pytest.approx(-(4.0 + 1.5 + 0.6), abs=0.01)
        assert canvas.label[60, 3] == BACKGROUND

    @pytest.mark.parametrize("pitch_deg", [45, -20])
    def test_views_without_sky_and_without_ground_are_rendered_too(
        self, monkeypatch: pytest.MonkeyPatch, pitch_deg: int
    ):
        place(monkeypatch)
        pose = replace(VIEW.pose, pitch_rad=math.radians(pitch_deg) + (0 if pitch_deg > 0 else -0.3))
        canvas = render.paint_scene(ROAD_TO_TEST, View(VIEW.camera, pose))
        assert np.isfinite(canvas.rgb).all()
        assert np.isfinite(canvas.depth_m).any() == (pitch_deg > 0)
