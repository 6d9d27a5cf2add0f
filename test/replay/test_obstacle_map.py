# SPDX-License-Identifier: Apache-2.0
import csv
import json
import math

import numpy as np
import pytest

from road_kd_seg.bags.reader import BagReader
from road_kd_seg.replay.gps import GpsTrack, read_gps
from road_kd_seg.replay.labels import LabelStore
from road_kd_seg.replay.obstacle_map import write_obstacle_map
from road_kd_seg.synthetic.drive import DriveConfig, render_drive
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY

SECOND_NS = 1_000_000_000
METER = 1 / 111_320  # in degrees of latitude


def northward(speed_m_s=5.0):
    """Ten seconds at 1 Hz on the equator."""
    seconds = np.arange(10)
    return GpsTrack(seconds * SECOND_NS, np.stack([seconds * speed_m_s * METER, np.zeros(10)], -1))


class TestGpsTrack:
    def test_between_fixes_it_interpolates(self):
        assert northward().at(2_500_000_000) == pytest.approx((12.5 * METER, 0.0))

    def test_what_lies_ahead_is_ahead_on_the_way_and_right_is_east_of_north(self):
        latitude, longitude = northward().at(4 * SECOND_NS, right_m=2.0, ahead_m=3.0)
        assert (latitude, longitude) == pytest.approx((23 * METER, 2 * METER))

    def test_on_the_way_east_right_is_south(self):
        eastward = GpsTrack(northward().stamps_ns, northward().degrees[:, ::-1].copy())
        latitude, longitude = eastward.at(4 * SECOND_NS, right_m=2.0, ahead_m=3.0)
        assert (latitude, longitude) == pytest.approx((-2 * METER, 23 * METER), abs=1e-12)

    def test_far_north_a_degree_of_longitude_is_shorter(self):
        track = GpsTrack(northward().stamps_ns, northward().degrees + np.array([60.0, 0.0]))
        _, longitude = track.at(4 * SECOND_NS, right_m=2.0)
        assert longitude == pytest.approx(2 * METER / math.cos(math.radians(60)), rel=1e-3)

    def test_standing_still_it_gives_the_vehicles_own_place(self):
        assert northward(0.0).at(4 * SECOND_NS, ahead_m=3.0) == pytest.approx((0, 0))

    def test_where_no_fix_is_near_it_knows_nothing(self):
        track = northward()
        assert track.at(-5 * SECOND_NS) is None
        assert track.at(20 * SECOND_NS) is None
        gap = GpsTrack(track.stamps_ns[::5], track.degrees[::5])
        assert gap.at(2 * SECOND_NS) is None


def fix(bag, stamp_ns, latitude, status=0):
    types = bag._store.types
    message = types["sensor_msgs/msg/NavSatFix"](
        header=bag._header(stamp_ns),
        status=types["sensor_msgs/msg/NavSatStatus"](status=status, service=1),
        latitude=latitude,
        longitude=8.0,
        altitude=0.0,
        position_covariance=np.zeros(9),
        position_covariance_type=0,
    )
    bag._write("/gps/fix", message)


class TestReadGps:
    def test_valid_fixes_in_order_of_their_stamps(self, raw_bag):
        bag = raw_bag()
        fix(bag, 2 * SECOND_NS, 49.2)
        fix(bag, SECOND_NS, 49.1)
        fix(bag, 3 * SECOND_NS, 0.0, status=-1)
        fix(bag, 4 * SECOND_NS, math.nan)
        with BagReader(bag.close()) as reader:
            track = read_gps(reader)
        assert track.stamps_ns.tolist() == [SECOND_NS, 2 * SECOND_NS]
        np.testing.assert_array_equal(track.degrees, [[49.1, 8.0], [49.2, 8.0]])

    def test_a_bag_without_any_has_no_track(self, raw_bag):
        bag = raw_bag()
        bag.text("/note", "no gps")
        with BagReader(bag.close()) as reader:
            assert read_gps(reader) is None


@pytest.fixture(scope="module")
def drive():
    """Frames of a drive with their labels as predictions."""
    frames = list(render_drive(DriveConfig(seed=3, num_frames=12, height=180, width=320)))
    return [each.frame for each in frames], LabelStore.of((each.frame.stamp_ns, each.label) for each in frames)


class TestWriteObstacleMap:
    @pytest.fixture(scope="class")
    def written(self, drive, tmp_path_factory):
        frames, labels = drive
        folder = tmp_path_factory.mktemp("map")
        start_ns = frames[0].stamp_ns
        gps = GpsTrack(start_ns + np.arange(3) * SECOND_NS, np.array([[49.0, 8.0], [49.00005, 8.0], [49.0001, 8.0]]))
        count = write_obstacle_map(folder, frames, labels, DEFAULT_TAXONOMY, gps)
        rows = list(csv.DictReader((folder / "obstacles.csv").read_text().splitlines()))
        assert count == len(rows) > 0
        return folder, rows

    def test_an_obstacle_that_is_seen_often_is_one_row(self, written):
        folder, rows = written
        by_frame = json.loads((folder / "obstacles.json").read_text())["frames"]
        assert len(by_frame) == 12
        num_sightings = sum(len(frame["obstacles"]) for frame in by_frame)
        assert len(rows) < num_sightings / 3
        assert {int(row["id"]) for row in rows} == {each["id"] for frame in by_frame for each in frame["obstacles"]}

    def test_potholes_have_a_depth_within_its_interval_and_the_others_none(self, written):
        _, rows = written
        for row in rows:
            if row["class"] == "negative_obstacle":
                assert float(row["depth_cm_low"]) <= float(row["depth_cm"]) <= float(row["depth_cm_high"])
            else:
                assert row["depth_cm"] == row["volume_l"] == ""
        assert any(row["class"] == "negative_obstacle" for row in rows)

    def test_geojson_has_a_point_ahead_of_the_vehicle_for_each(self, written):
        folder, rows = written
        features = json.loads((folder / "obstacles.geojson").read_text())["features"]
        assert len(features) == len(rows)
        for feature, row in zip(features, rows, strict=True):
            longitude, latitude = feature["geometry"]["coordinates"]
            assert 0 < latitude - 49.0 < 20 * METER
            assert abs(longitude - 8.0) < 20 * METER
            assert feature["properties"]["class"] == row["class"]

    def test_without_gps_features_have_no_place(self, drive, tmp_path):
        frames, labels = drive
        write_obstacle_map(tmp_path, frames[:2], labels, DEFAULT_TAXONOMY, None)
        features = json.loads((tmp_path / "obstacles.geojson").read_text())["features"]
        assert features
        assert all(feature["geometry"] is None for feature in features)
