# SPDX-License-Identifier: Apache-2.0
import math

import pytest

from road_kd_seg.synthetic.layout import build_segment
from road_kd_seg.synthetic.roads import draw_road
from road_kd_seg.synthetic.scene import SEGMENT_M, Road, Segment


def segments_of(road: Road, count: int) -> list[Segment]:
    return [build_segment(road, i) for i in range(count)]


def road_with(**wanted: object) -> Road:
    return next(
        road
        for road in (draw_road(seed, clear_path=True, close_up=False) for seed in range(200))
        if all(getattr(road, name) == value for name, value in wanted.items())
    )


class TestSegments:
    def test_a_segment_is_the_same_whenever_it_is_built(self):
        road = draw_road(3, clear_path=True, close_up=False)
        first = build_segment(road, 5)
        build_segment.cache_clear()
        again = build_segment(road, 5)
        assert again == first
        assert again is not first

    def test_no_two_segments_are_alike(self):
        segments = segments_of(draw_road(3, clear_path=True, close_up=False), 40)
        assert len({s.billboards + s.stains + s.defects for s in segments}) == 40

    def test_features_belong_to_their_segment(self):
        road = draw_road(4, clear_path=True, close_up=False)
        for i, segment in enumerate(segments_of(road, 30)):
            for feature in segment.stains + segment.defects + segment.solids + segment.billboards:
                assert i * SEGMENT_M <= feature.s_m <= (i + 1) * SEGMENT_M

    @pytest.mark.parametrize("seed", range(6))
    def test_a_drive_never_meets_an_obstacle(self, seed: int):
        road = draw_road(seed, clear_path=True, close_up=False)
        for solid in (s for segment in segments_of(road, 100) for s in segment.solids):
            reach_m = math.hypot(solid.size_m[0], solid.size_m[1]) / 2
            assert abs(solid.t_m - road.ego_t_m) >= reach_m + 0.6

    def test_defects_lie_on_the_asphalt_and_apart(self):
        road = draw_road(5, clear_path=True, close_up=False)
        for segment in segments_of(road, 60):
            for i, defect in enumerate(segment.defects):
                assert abs(defect.t_m) < road.half_width_m
                for other in segment.defects[:i]:
                    assert math.hypot(defect.s_m - other.s_m, defect.t_m - other.t_m) > 0.5 * defect.reach_m

    def test_sizes_are_those_of_real_things(self):
        segments = [s for seed in range(10) for s in segments_of(draw_road(seed, clear_path=False, close_up=False), 40)]
        depths_m = [d.depth_m for s in segments for d in s.defects if d.kind == "pothole"]
        widths_m = [d.size_m for s in segments for d in s.defects if d.kind == "crack"]
        heights_m = [o.size_m[2] for s in segments for o in s.solids]
        assert 0.02 <= min(depths_m) < max(depths_m) <= 0.10
        assert 0.015 <= min(widths_m) < max(widths_m) <= 0.045
        assert 0.1 <= min(heights_m) < max(heights_m) <= 1.0
        assert {o.kind for s in segments for o in s.solids} == {"box", "cone", "barrel", "kerb", "rock"}

    def test_a_close_up_has_its_pothole_right_in_front_and_nothing_else_to_hit(self):
        segments = [build_segment(draw_road(seed, clear_path=False, close_up=True), 0) for seed in range(40)]
        potholes = [d for s in segments for d in s.defects if d.kind == "pothole"]
        assert len(potholes) > 30
        assert all(0.5 < d.s_m < 2.0 and abs(d.t_m) < 0.6 for d in potholes)
        assert not any(s.solids or s.billboards or s.marks for s in segments)


class TestRoads:
    def test_every_road_has_lines_and_its_camera_on_the_asphalt(self):
        for seed in range(100):
            road = draw_road(seed, clear_path=True, close_up=False)
            assert road.lines
            assert all(abs(line.t_m) <= road.half_width_m for line in road.lines)
            assert abs(road.ego_t_m) < road.half_width_m

    def test_walls_stand_along_straight_streets_only(self):
        assert road_with(wall=True).bend_m == 0.0

    def test_the_heading_is_the_slope_of_the_middle(self):
        road = road_with(wall=False)
        step_m = 0.01
        for s_m in (0.0, 33.0, 140.0):
            slope = (road.middle_x(s_m + step_m) - road.middle_x(s_m - step_m)) / (2 * step_m)
            assert math.tan(road.heading_rad(s_m)) == pytest.approx(float(slope), abs=1e-6)

    def test_colors_and_styles_vary(self):
        roads = [draw_road(seed, clear_path=True, close_up=False) for seed in range(60)]
        assert {r.style for r in roads} == {"urban", "rural"}
        assert {r.verge for r in roads} == {"gravel", "grass", "pavement"}
        assert {r.num_lanes for r in roads} == {1, 2, 3}
        assert any(line.gap_m == 0 for r in roads for line in r.lines)
        assert any(line.gap_m > 0 for r in roads for line in r.lines)
        assert any(line.yellow for r in roads for line in r.lines)
