# SPDX-License-Identifier: Apache-2.0
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from road_kd_training.datasets import build_dataset
from road_kd_training.datasets.common.lane_lines import (
    ROW_STEP_PX,
    assign,
    draw,
    lane_ious,
    lanes_from_probabilities,
    match_lanes,
    natural_spline,
)
from road_kd_training.datasets.common.sample import RgbdSample
from road_kd_training.datasets.culane import CATEGORIES, SIZE, CuLane, CuLaneF1, culane_f1
from road_kd_training.errors import DatasetError

VIDEO = "driver_37_30frame/05181432_0203.MP4"
PHOTOGRAPH = cv2.imencode(".jpg", np.full((*SIZE, 3), 90, np.uint8))[1].tobytes()


def vertical(x, top=250, bottom=589):
    return np.array([[x, y] for y in range(bottom, top - 1, -10)], np.float32)


def write_frame(root, name, lanes, label_folder=None):
    path = root / VIDEO / f"{name}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PHOTOGRAPH)
    lines = [" ".join(f"{value:g}" for value in lane.ravel()) for lane in lanes]
    path.with_suffix(".lines.txt").write_text("".join(f"{line} \n" for line in lines))
    if label_folder:
        label = np.zeros(SIZE, np.uint8)
        for index, lane in enumerate(lanes, 1):
            cv2.polylines(label, [lane.astype(np.int32)], False, index, 16)
        path = root / label_folder / VIDEO / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), label)
    return f"/{VIDEO}/{name}.jpg"


@pytest.fixture
def root(tmp_path):
    """One frame to train, one to validate, two to test: one of them `normal`, the other a crossroad without lanes."""
    lists = tmp_path / "list"
    (lists / "test_split").mkdir(parents=True)
    for name, file in (("00000", "train_gt.txt"), ("00030", "val_gt.txt")):
        image = write_frame(tmp_path, name, [vertical(400), vertical(800)], "laneseg_label_w16")
        (lists / file).write_text(f"{image} /laneseg_label_w16/{VIDEO}/{name}.png 1 1 0 0\n")
    tests = [write_frame(tmp_path, "00060", [vertical(400), vertical(800)]), write_frame(tmp_path, "00090", [])]
    (lists / "test.txt").write_text("\n".join(tests) + "\n")
    for number, category in enumerate(CATEGORIES):
        listed = {"normal": tests[0], "cross": tests[1]}.get(category, f"/{VIDEO}/99999.jpg")
        (lists / "test_split" / f"test{number}_{category}.txt").write_text(listed[1:] + "\n")  # here without the slash
    return tmp_path


class TestSamples:
    @pytest.mark.parametrize("split", ["train", "validation"])
    def test_labels_lanes_and_existence(self, split, root):
        dataset = CuLane(root, split)
        assert len(dataset) == 1
        sample = dataset[0]
        assert sample.rgb.shape == (*SIZE, 3)
        assert sample.depth_m is None
        assert sample.label[400, [400, 800, 1200]].tolist() == [1, 2, 0]
        assert sample.meta["existence"] == (True, True, False, False)
        np.testing.assert_array_equal(sample.meta["lanes"][1], vertical(800))

    def test_test_frames_know_their_category_and_may_lack_labels(self, root):
        dataset = CuLane(root, "test")
        samples = [dataset[index] for index in range(len(dataset))]
        assert [sample.meta["category"] for sample in samples] == ["normal", "cross"]
        assert [len(sample.meta["lanes"]) for sample in samples] == [2, 0]
        assert all(sample.label is None for sample in samples)

    def test_labels_of_the_test_split_are_read_where_they_are(self, root):
        write_frame(root, "00060", [vertical(400)], "laneseg_label_w16_test")
        assert CuLane(root, "test")[0].label[400, 400] == 1


class TestBadTrees:
    def test_an_empty_folder_prints_the_expected_tree(self, tmp_path):
        with pytest.raises(DatasetError, match=r"list/train_gt\.txt is missing\.\n\n    ROOT/driver"):
            build_dataset("culane", root=tmp_path)

    def test_an_unknown_split_lists_the_known_ones(self, root):
        with pytest.raises(DatasetError, match="split 'val' is unknown: use one of train, validation, test"):
            CuLane(root, "val")

    def test_an_empty_list_is_refused(self, root):
        (root / "list" / "train_gt.txt").write_text("\n")
        with pytest.raises(DatasetError, match=r"train_gt\.txt lists nothing"):
            CuLane(root)

    @pytest.mark.parametrize("line", ["/a.jpg", "/a.jpg /a.png 1 1 1", "/a.jpg /a.png 1 1 1 2"])
    def test_a_malformed_entry_is_named_with_its_form(self, line, root):
        (root / "list" / "train_gt.txt").write_text(line)
        with pytest.raises(
            DatasetError, match=r"train_gt\.txt, entry 1: '/a.jpg.*', expected IMAGE LABEL and four flag"
        ):
            CuLane(root)

    def test_a_missing_category_list_is_named(self, root):
        (root / "list" / "test_split" / "test8_night.txt").unlink()
        with pytest.raises(DatasetError, match=r"test8_night\.txt is missing"):
            CuLane(root, "test")

    def test_a_label_value_beyond_the_four_lanes_is_refused(self, root):
        cv2.imwrite(str(root / "laneseg_label_w16" / VIDEO / "00000.png"), np.full(SIZE, 5, np.uint8))
        with pytest.raises(DatasetError, match=r"00000\.png: holds label values 5, expected 0\.\.4"):
            CuLane(root)[0]

    def test_a_truncated_photograph_is_named(self, root):
        (root / VIDEO / "00000.jpg").write_bytes(PHOTOGRAPH[:-100])
        with pytest.raises(DatasetError, match=r"00000\.jpg: not a readable image"):
            CuLane(root)[0]

    def test_a_photograph_of_another_size_is_refused(self, root):
        cv2.imwrite(str(root / VIDEO / "00000.jpg"), np.zeros((72, 128, 3), np.uint8))
        with pytest.raises(DatasetError, match=r"is \(72, 128\) \(H, W\), expected \(590, 1640\)"):
            CuLane(root)[0]

    @pytest.mark.parametrize("listed", ["/../secret.jpg", f"/{VIDEO}/../../../secret.jpg", "out/secret.jpg"])
    @pytest.mark.parametrize("split", ["train", "test"])
    def test_a_list_never_leads_outside(self, listed, split, root, tmp_path_factory):
        outside = tmp_path_factory.mktemp("outside")
        (outside / "secret.jpg").write_bytes(PHOTOGRAPH)
        (root / "out").symlink_to(outside)
        (root / "list/test.txt").write_text(f"{listed}\n")
        (root / "list/train_gt.txt").write_text(f"/{VIDEO}/00000.jpg {listed} 1 1 0 0\n")
        with pytest.raises(DatasetError, match=r"secret\.jpg' is listed, which is no file below"):
            CuLane(root, split)[0]

    @pytest.mark.parametrize(
        ("lines", "reason"),
        [
            ("1 2 3 4\n" * 200, "200 lanes, expected at most 16"),
            ("1 2 " * 5000, "5000 points, expected at most 1000"),
            ("1 nan 3 4", "a finite number"),
            ("1 1e30 3 4", "below 1e"),
        ],
        ids=["lanes", "points", "nan", "far"],
    )
    def test_lanes_that_no_road_has_are_refused(self, lines, reason, root):
        (root / VIDEO / "00000.lines.txt").write_text(lines)
        with pytest.raises(DatasetError, match=rf"00000\.lines\.txt.*{reason}"):
            CuLane(root)[0]

    @pytest.mark.parametrize("line", ["1 2 3", "1 two"])
    def test_a_malformed_lane_is_named(self, line, root):
        (root / VIDEO / "00000.lines.txt").write_text(f"1 2 3 4\n{line}\n")
        with pytest.raises(
            DatasetError, match=rf"00000\.lines\.txt, line 2: expected pairs of numbers .* got '{line}'"
        ):
            CuLane(root)[0]

    def test_missing_lanes_are_named(self, root):
        (root / VIDEO / "00000.lines.txt").unlink()
        with pytest.raises(DatasetError, match=r"00000\.lines\.txt is missing"):
            CuLane(root)[0]


class TestNaturalSpline:
    def test_three_points_by_hand(self):
        # h = sqrt(2), second derivative of y at the middle = 6 (-sqrt(2)) / (4 sqrt(2)) = -1.5, so y(h/2) = 0.6875.
        curve = natural_spline([[0, 0], [1, 1], [2, 0]])
        assert len(curve) == 101
        assert curve[25] == pytest.approx([0.5, 0.6875])
        assert curve[75] == pytest.approx([1.5, 0.6875])

    @given(seed=st.integers(0, 1000), count=st.integers(3, 20))
    @settings(max_examples=25, deadline=None)
    def test_goes_through_its_points(self, seed, count):
        points = np.random.default_rng(seed).uniform(0, 500, (count, 2))
        np.testing.assert_allclose(natural_spline(points)[::50], points, atol=1e-9)

    def test_slope_and_bend_do_not_jump_at_the_points(self):
        points = np.array([[0, 0], [30, 40], [60, 40], [100, 10], [130, 50]], np.float64)
        curve = natural_spline(points)
        length = np.hypot(*np.diff(points, axis=0).T)
        for knot in (1, 2, 3):
            step = length[knot - 1 : knot + 1] / 50
            left = np.diff(curve[50 * knot - 2 : 50 * knot + 1], axis=0) / step[0]
            right = np.diff(curve[50 * knot : 50 * knot + 3], axis=0) / step[1]
            bends = (left[1] - left[0]) / step[0], (right[1] - right[0]) / step[1]
            np.testing.assert_allclose(left[1] + bends[0] * step[0] / 2, right[0] - bends[1] * step[1] / 2, atol=1e-3)
            np.testing.assert_allclose(*bends, atol=3e-3)  # finite differences of a cubic

    def test_two_points_stay_and_repeated_ones_do_not_divide_by_zero(self):
        assert natural_spline([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
        assert np.isfinite(natural_spline([[0, 0], [0, 0], [1, 1], [1, 1], [2, 0]])).all()
        assert natural_spline([[0, 0], [0, 0]]).shape == (0, 2)
        assert natural_spline(np.zeros((0, 2))).shape == (0, 2)


class TestMatching:
    def test_a_lane_is_30_px_wide(self):
        widths = draw(vertical(800), SIZE)[300:560].sum(1)
        assert set(np.unique(widths)) <= {30, 31}

    def test_repeated_pixels_are_left_out_of_the_drawing_only(self):
        slanted = np.array([[300, 589], [420, 480], [500, 400], [533.3, 333.3]], np.float32)
        expected = np.zeros(SIZE, np.uint8)
        points = np.rint(natural_spline(slanted)).astype(int).tolist()
        for start, end in pairwise(points):
            cv2.line(expected, start, end, 1, 30)
        assert (draw(slanted, SIZE) == expected).all()

    @pytest.mark.parametrize(("shift", "hit"), [(0, True), (9, True), (11, False), (40, False)])
    def test_a_third_of_the_width_is_the_limit(self, shift, hit):
        # IoU of two strips of width w shifted by s is (w - s) / (w + s): 1/2 at s = w/3.
        assert match_lanes([vertical(800)], [vertical(800 + shift)], SIZE) == (int(hit), int(not hit), int(not hit))

    def test_ious_by_geometry(self):
        overlap = lane_ious([vertical(400), vertical(800)], [vertical(806)], SIZE)
        assert overlap.shape == (2, 1)
        assert overlap[:, 0] == pytest.approx([0, 25 / 37], abs=0.02)  # 31 px wide, 6 px apart

    def test_no_lanes_on_one_side(self):
        assert match_lanes([], [vertical(400)], SIZE) == (0, 1, 0)
        assert match_lanes([vertical(400)], [], SIZE) == (0, 0, 1)
        assert match_lanes([], [], SIZE) == (0, 0, 0)

    def test_lanes_outside_the_image_or_of_one_point_match_nothing(self):
        assert match_lanes([vertical(5000)], [vertical(5000)], SIZE) == (0, 1, 1)
        assert match_lanes([vertical(400)[:1]], [vertical(400)], SIZE) == (0, 1, 1)

    def test_one_prediction_is_matched_once(self):
        assert match_lanes([vertical(800), vertical(804)], [vertical(802)], SIZE) == (1, 0, 1)

    def test_the_greatest_sum_wins_over_the_greatest_single_one(self):
        rows, columns = assign(np.array([[0.9, 0.8], [0.8, 0.0]]))
        assert (rows.tolist(), columns.tolist()) == ([0, 1], [1, 0])

    @given(seed=st.integers(0, 1000), shape=st.tuples(st.integers(0, 4), st.integers(0, 5)))
    @settings(max_examples=40, deadline=None)
    def test_transposing_changes_no_pair(self, seed, shape):
        weights = np.random.default_rng(seed).random(shape)
        rows, columns = assign(weights)
        assert len(rows) == min(shape)
        assert sorted(zip(rows, columns, strict=True)) == sorted(zip(*assign(weights.T)[::-1], strict=True))


def probabilities(*lanes):
    """Soft maps of straight lanes x(y) = x0 + slope (589 - y): 1 on the line, falling to 0 within 60 px."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    maps = np.zeros((5, *SIZE), np.float32)
    for index, lane in enumerate(lanes, 1):
        if lane is not None:
            x0, slope, peak = lane
            maps[index] = peak * np.clip(1 - np.abs(x - x0 - slope * (589 - y)) / 60, 0, 1)
    maps[0] = 1 - maps[1:].sum(0)
    return maps


class TestLanesFromProbabilities:
    def test_the_peak_is_found_every_20_rows_from_the_bottom(self):
        lanes = lanes_from_probabilities(probabilities(None, (600, 0.5, 1.0)))
        assert len(lanes) == 1
        assert lanes[0][:, 1].tolist() == list(range(589, 589 - 18 * ROW_STEP_PX, -ROW_STEP_PX))
        # The border is mirrored for smoothing, which bends the peak of the lowest row a little.
        np.testing.assert_allclose(lanes[0][:, 0], 600 + 0.5 * (589 - lanes[0][:, 1]), atol=2.5)
        np.testing.assert_allclose(lanes[0][1:, 0], 600 + 0.5 * (589 - lanes[0][1:, 1]), atol=1)

    def test_a_faint_map_is_no_lane(self):
        assert len(lanes_from_probabilities(probabilities((600, 0, 0.7)))) == 1
        assert lanes_from_probabilities(probabilities((600, 0, 0.5))) == []

    def test_rows_below_the_threshold_are_left_out(self):
        maps = probabilities((600, 0, 1.0))
        maps[1, :400] *= 0.2
        assert lanes_from_probabilities(maps)[0][:, 1].min() == 409

    def test_one_row_is_no_lane(self):
        maps = probabilities((600, 0, 1.0))
        maps[1, :578] = 0
        assert lanes_from_probabilities(maps) == []

    def test_a_single_pixel_is_smoothed_away(self):
        maps = np.zeros((5, *SIZE), np.float32)
        maps[1, 589::-20, 700] = 1
        assert lanes_from_probabilities(maps) == []


class TestCuLaneF1:
    def test_counts_add_up_over_categories(self, root):
        dataset, benchmark = CuLane(root, "test"), CuLaneF1()
        # One right, one wrong, one missed; then a lane where there is none.
        benchmark.add(dataset[0], probabilities((400, 0, 1.0), None, (1200, 0, 1.0)))
        benchmark.add(dataset[1], probabilities(None, (800, 0, 1.0)))
        assert benchmark.result() == {
            "f1": pytest.approx(2 / 5),
            "precision": pytest.approx(1 / 3),
            "recall": pytest.approx(1 / 2),
            "f1_normal": pytest.approx(1 / 2),
            "cross_false_positives": 1.0,
        }

    def test_frames_without_category_count_in_the_total(self):
        sample = RgbdSample(np.zeros((*SIZE, 3), np.uint8), None, None, "a", {"lanes": [vertical(400)]})
        benchmark = CuLaneF1()
        benchmark.add(sample, probabilities((402, 0, 1.0)))
        assert benchmark.result() == {"f1": 1.0, "precision": 1.0, "recall": 1.0}

    def test_f1_by_hand_and_without_any_lane(self):
        assert culane_f1(6, 2, 4) == pytest.approx(2 * 0.75 * 0.6 / 1.35)
        assert culane_f1(0, 3, 0) == 0
        assert np.isnan(culane_f1(0, 0, 0))
