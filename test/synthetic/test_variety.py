# SPDX-License-Identifier: Apache-2.0
import math
from dataclasses import replace

import numpy as np
import pytest

from road_kd_seg.frame import RgbdFrame
from road_kd_seg.synthetic import render_scene, render_wet_mask, weather
from road_kd_seg.synthetic.camera import CameraPose, View, d455_intrinsics
from road_kd_seg.synthetic.canvas import Canvas, see_ground
from road_kd_seg.synthetic.drive import DriveConfig, _plan_scene, plan_drive, render_drive
from road_kd_seg.synthetic.roads import draw_road
from road_kd_seg.synthetic.scene import Surroundings, Weather
from road_kd_seg.synthetic.sensor import draw_sensor_look, measure_depth
from road_kd_seg.synthetic.stereo_faults import StereoFaults
from road_kd_seg.synthetic.surface import paint_surface
from road_kd_seg.synthetic.traffic import draw_traffic
from road_kd_seg.synthetic.variety import draw_lens
from road_kd_seg.taxonomy import BACKGROUND, LANE_MARKING, POSITIVE_OBSTACLE, ROAD

SEEDS = range(7000, 7300)
SMALL = (144, 256)
ROAD_TO_TEST = replace(
    draw_road(3, clear_path=True, close_up=False), num_lanes=2, lane_width_m=3.0, margin_m=1.0, bend_m=0.0
)
VIEW = View(d455_intrinsics(*SMALL), CameraPose(0.0, 0.0, 1.3, 0.0, math.radians(20), 0.0))


def plans():
    return [_plan_scene(seed, *SMALL, variety=True) for seed in SEEDS]


def bytes_of(scene):
    frame, label = scene
    assert isinstance(frame, RgbdFrame)
    return frame.rgb.tobytes(), frame.depth_m.tobytes(), label.tobytes()


class TestDrives:
    def test_a_varied_drive_keeps_its_mast_its_lens_and_its_weather(self):
        config = DriveConfig(7003, 3, rate_hz=5.0, height=144, width=256, variety=True)
        plan, frames = plan_drive(config), list(render_drive(config))
        assert {frame.intrinsics for frame, _ in frames} == {plan.camera}
        assert [bytes_of(scene) for scene in render_drive(config)] == [bytes_of(scene) for scene in frames]
        assert len({bytes_of(scene) for scene in frames}) == 3

    def test_masts_lenses_and_hours_differ_between_drives(self):
        plain, varied = ([plan_drive(DriveConfig(seed, variety=v)) for seed in range(40)] for v in (False, True))
        assert {plan.camera for plan in plain} == {d455_intrinsics(576, 1024)}
        assert all(plan.road.weather is None for plan in plain)
        heights_m = [plan.rig.height_m for plan in varied]
        assert min(heights_m) < 0.7
        assert max(heights_m) > 1.9
        assert {plan.camera.width for plan in varied} == {1024, 768}
        assert 3 < sum(plan.road.weather.night > 0.3 for plan in varied) < 25


class TestScenes:
    def test_a_seed_always_gives_the_same_bytes(self):
        assert bytes_of(render_scene(11, *SMALL, variety=True)) == bytes_of(render_scene(11, *SMALL, variety=True))
        assert bytes_of(render_scene(11, *SMALL, variety=True)) != bytes_of(render_scene(12, *SMALL, variety=True))

    def test_plain_scenes_draw_nothing_of_it(self):
        for seed in range(50):
            plain = _plan_scene(seed, *SMALL, variety=False)
            assert plain.road.terrain is plain.road.weather is plain.road.surroundings is None
            assert plain.look.faults is None
            assert plain.view.camera == d455_intrinsics(*SMALL)

    def test_labels_and_images_fit_the_frames_own_camera(self):
        for seed in range(7000, 7012):
            frame, label = render_scene(seed, *SMALL, variety=True)
            camera = frame.intrinsics
            assert frame.rgb.shape == (camera.height, camera.width, 3)
            assert label.shape == frame.depth_m.shape == (camera.height, camera.width)
            assert set(np.unique(label)) <= set(range(5))
            assert (frame.depth_m >= 0).all()

    def test_nearly_every_scene_shows_road(self):
        shares = [(render_scene(seed, 72, 128, variety=True).label == ROAD).mean() for seed in SEEDS[:40]]
        assert np.mean(np.array(shares) > 0.05) > 0.9

    def test_wet_masks_are_those_of_the_varied_scene(self):
        wet = next(s for s in SEEDS if _plan_scene(s, *SMALL, variety=True).road.weather.wet > 0.8)
        assert render_wet_mask(wet, *SMALL, variety=True).mean() > render_wet_mask(wet, *SMALL).mean() + 0.05


class TestDrawnAtRandom:
    def test_masts_have_the_heights_and_angles_of_robots(self):
        poses = [plan.view.pose for plan in plans() if plan.road.style != "close_up"]
        heights, pitches, rolls = (
            np.array([getattr(pose, name) for pose in poses]) for name in ("height_m", "pitch_rad", "roll_rad")
        )
        assert heights.min() >= 0.4
        assert heights.max() <= 2.5
        assert np.ptp(heights) > 1.8
        assert pitches.min() >= 0
        assert pitches.max() <= math.radians(90)
        assert np.ptp(pitches) > math.radians(75)
        assert np.abs(rolls).max() <= math.radians(15)

    def test_every_kind_of_hour_weather_and_neighborhood_occurs_and_none_rules(self):
        roads = [plan.road for plan in plans()]
        for found in (
            [road.weather.night > 0.5 for road in roads],
            [road.weather.rain > 0 for road in roads],
            [road.weather.snow_cover > 0 for road in roads],
            [road.terrain.kerb_m > 0 for road in roads],
            [road.terrain.kerb_m < 0 for road in roads],
            [road.surroundings is not None and road.surroundings.cars > 0 for road in roads],
            [road.surroundings is not None and road.surroundings.people > 0 for road in roads],
        ):
            assert 0.02 < np.mean(found) < 0.6

    def test_lenses_are_those_of_the_two_cameras_and_two_shapes(self):
        rng = np.random.default_rng(0)
        found = [draw_lens(rng, 480, 854) for _ in range(200)]
        assert {camera.width for camera, _ in found} == {640, 854}
        assert {baseline for _, baseline in found} == {0.05, 0.095}
        for camera, baseline in found:
            tall = math.degrees(2 * math.atan(camera.height / 2 / camera.fy))
            expected = {(640, 0.095): 65, (640, 0.05): 42.5, (854, 0.05): 42.5, (854, 0.095): 58.7}
            assert tall == pytest.approx(expected[camera.width, baseline], abs=1)


class TestWeather:
    def bare(self):
        ground = see_ground(ROAD_TO_TEST, VIEW)
        whole = Canvas.blank(*SMALL)
        canvas = whole.below(ground.top)
        paint_surface(canvas, ground, ROAD_TO_TEST)
        return whole, canvas, ground

    def test_snow_lies_beside_the_road_first_and_hides_paint_from_the_label(self):
        _, canvas, ground = self.bare()
        canvas.label[canvas.label == ROAD] = LANE_MARKING
        before = canvas.rgb.copy()
        weather.cover_with_snow(canvas, ground, ROAD_TO_TEST, Weather(snow_cover=0.4))
        brighter = (canvas.rgb - before).mean(axis=2)
        near = ground.depth_m < 15
        on_road = np.abs(ground.t_m) < 3.5
        assert brighter[near & ~on_road].mean() > 2 * brighter[near & on_road].mean()
        hidden = (canvas.label == ROAD) & near
        assert hidden.any()
        assert (canvas.rgb[hidden].mean(axis=1) > 0.45).all()

    def test_a_wet_road_is_dark_mirrors_and_loses_depth_far_away(self):
        _, canvas, ground = self.bare()
        before = canvas.rgb.mean()
        weather.wet_the_ground(canvas, ground, ROAD_TO_TEST, Weather(wet=1.0))
        assert canvas.rgb.mean() < 0.9 * before
        assert canvas.gloss.mean() > 0.3
        far, near = ground.depth_m > 10, ground.depth_m < 2
        assert canvas.hole_chance[far].mean() > 3 * canvas.hole_chance[near].mean()

    def test_at_night_headlights_show_what_is_near_and_ahead(self):
        whole, _, ground = self.bare()
        whole.rgb[:] = 1
        weather.darken(whole, VIEW, ROAD_TO_TEST, Weather(night=1.0))
        bottom, top = whole.rgb[-1, :, 1], whole.rgb[ground.top + 3, :, 1]
        assert bottom[128] > 5 * top[128]
        assert bottom[128] > 1.5 * bottom[0]

    def test_street_lamps_add_warm_light(self):
        lit = []
        for lamps in (False, True):
            whole, *_ = self.bare()
            whole.rgb[:] = 1
            weather.darken(whole, VIEW, ROAD_TO_TEST, Weather(night=1.0, street_lamps=lamps))
            lit.append(whole.rgb.mean(axis=(0, 1)))
        gain = lit[1] - lit[0]
        assert gain[0] > gain[2] > 0

    @pytest.mark.parametrize("fallen", [Weather(rain=1.0), Weather(snowfall=1.0)])
    def test_what_falls_is_seen_and_a_dry_day_is_left_alone(self, fallen):
        rgb = np.full((*SMALL, 3), 0.2, np.float32)
        weather.precipitate(rgb, Weather(), np.random.default_rng(0))
        assert (rgb == np.float32(0.2)).all()
        weather.precipitate(rgb, fallen, np.random.default_rng(0))
        assert 0.005 < (np.abs(rgb - 0.2) > 0.01).mean() < 0.8


class TestTraffic:
    def solids(self, **rates):
        surroundings = Surroundings(**{"cars": 0.0, "people": 0.0, "houses": 0.0, "parapet": False, **rates})
        return [s for index in range(40) for s in draw_traffic(ROAD_TO_TEST, surroundings, index)]

    def test_cars_stand_on_four_wheels_on_the_road_and_are_obstacles(self):
        solids = self.solids(cars=1.0)
        bodies = [s for s in solids if s.kind == "car"]
        wheels = [s for s in solids if s.kind == "block" and s.base_m == 0]
        assert len(bodies) == 40
        assert len(wheels) == 4 * len(bodies)
        assert all(s.label == POSITIVE_OBSTACLE for s in solids)
        assert all(abs(s.t_m) < ROAD_TO_TEST.half_width_m + 1.0 for s in bodies)
        assert all(s.base_m > 0.2 for s in bodies)

    def test_people_are_as_tall_as_people(self):
        heads = [s for s in self.solids(people=1.0) if s.kind == "head"]
        tops = [s.base_m + s.size_m[2] for s in heads]
        assert len(heads) > 10
        assert min(tops) > 0.9
        assert max(tops) < 2.0

    def test_houses_and_parapets_are_background_beside_the_road(self):
        solids = self.solids(houses=1.0, parapet=True)
        assert all(s.label == BACKGROUND for s in solids)
        houses = [s for s in solids if s.kind == "house"]
        assert all(abs(s.t_m) - s.size_m[1] / 2 > ROAD_TO_TEST.half_width_m for s in houses)


SOUND = StereoFaults(0.0, 20.0, 0.0, 30.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def measure(faults, depth_m=None, seed=0):
    camera = d455_intrinsics(288, 512)
    look = replace(draw_sensor_look(np.random.default_rng(1)), hole_share=0.0, disparity_noise_px=0.05, faults=faults)
    depth_m = np.full((288, 512), 3.0, np.float32) if depth_m is None else depth_m
    return measure_depth(depth_m, np.zeros_like(depth_m), camera, look, np.random.default_rng(seed))


class TestStereoFaults:
    def test_a_camera_without_faults_measures_as_before(self):
        inner = (slice(20, -20), slice(30, -30))
        np.testing.assert_allclose(measure(SOUND)[inner], measure(None)[inner])

    def test_waves_are_shared_by_regions(self):
        waves = (measure(replace(SOUND, wave_px=0.5, wave_size_px=60)) - measure(SOUND))[40:-40, 60:-60]
        step = np.abs(np.diff(waves, axis=1)).mean()
        assert waves.std() > 0.02
        assert step < 0.35 * waves.std()

    def test_blobs_take_their_share_in_pieces_of_their_size(self):
        lost = measure(replace(SOUND, blob_share=0.1))[40:-40, 60:-60] == 0
        assert 0.04 < lost.mean() < 0.2
        assert (lost[1:] != lost[:-1]).mean() < 0.4 * lost.mean()  # scattered pixels: 1.8 times

    def test_what_is_too_near_and_the_borders_are_lost(self):
        depth_m = np.full((288, 512), 3.0, np.float32)
        depth_m[100:120, 200:220] = 0.3
        found = measure(replace(SOUND, near_limit_m=0.5, lost_left=0.1, lost_bottom=0.2), depth_m)
        assert (found[100:120, 202:218] == 0).all()
        assert (found[:, :51] == 0).all()
        assert (found[-57:] == 0).all()

    def test_pixels_fly_between_near_and_far_at_borders_only(self):
        depth_m = np.full((288, 512), 6.0, np.float32)
        depth_m[:, :256] = 2.0
        plain, flying = (measure(faults, depth_m) for faults in (SOUND, replace(SOUND, flying_share=1.0)))
        between = (flying > 2.3) & (flying < 5.2)
        assert between.sum() > 1.5 * ((plain > 2.3) & (plain < 5.2)).sum()
        assert set(np.flatnonzero(between.any(axis=0))) <= set(range(240, 272))

    def test_specks_are_near(self):
        found, plain = measure(replace(SOUND, specks=50)), measure(SOUND)
        changed = found != plain
        assert 0.001 < changed.mean() < 0.1
        assert (found[changed] <= 3.5).all()
