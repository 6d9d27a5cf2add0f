# SPDX-License-Identifier: Apache-2.0
import json
import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from road_kd_training.datasets import build_dataset
from road_kd_training.datasets.common.sample import RgbdSample
from road_kd_training.datasets.llamas import FOLDERS, SIZE, Llamas, LlamasAp, average_precision, render_label
from road_kd_training.errors import DatasetError

FOCAL = 1000.0
PROJECTION = [[FOCAL, 0, 638], [0, FOCAL, 358], [0, 0, 1]]


def marker(x, z_near, z_far, y=1.5):
    """One dash on the road, 1.5 m below the camera; numbers are strings, as in the release."""

    def world(z):
        return {"x": str(x), "y": str(y), "z": str(z)}

    def pixel(z):
        return {"x": str(int(638 + FOCAL * x / z)), "y": str(int(358 + FOCAL * y / z))}

    return {
        "lane_marker_id": "marker",
        "world_start": world(z_near),
        "world_end": world(z_far),
        "pixel_start": pixel(z_near),
        "pixel_end": pixel(z_far),
    }


def lane(name, x):
    return {"lane_id": name, "markers": [marker(x, 8, 10), marker(x, 15, 18)]}


def write_label(path, lanes):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"image_name": path.stem, "projection_matrix": PROJECTION, "lanes": lanes}))
    return path


def write_frame(root, recording, name, lanes):
    image = root / "color_images" / recording / f"{name}_color_rect.png"
    image.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(image), np.zeros((*SIZE, 3), np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if lanes is not None:
        write_label(root / "labels" / recording / f"{name}.json", lanes)


FOUR = [lane("l1", -5), lane("l0", -2), lane("r0", 2), lane("r1", 5)]


@pytest.fixture
def root(tmp_path):
    write_frame(tmp_path, "train/images-a", "1419280683_0123105000", FOUR)
    write_frame(tmp_path, FOLDERS["validation"], "1419280684_0123105000", FOUR[1:3])
    write_frame(tmp_path, FOLDERS["test"], "1419280685_0123105000", FOUR[2:])
    write_frame(tmp_path, "test/images-b", "1419280686_0123105000", None)
    return tmp_path


class TestSamples:
    def test_classes_run_from_the_far_left_to_the_far_right_lane(self, root):
        sample = Llamas(root)[0]
        assert sample.label.shape == SIZE
        columns = [np.nonzero(sample.label == index)[1].mean() for index in range(1, 5)]
        assert columns == sorted(columns)
        assert columns[0] < columns[1] < 638 < columns[2] < columns[3]
        assert sample.id == "train/images-a/1419280683_0123105000"

    @pytest.mark.parametrize(("split", "classes"), [("validation", {0, 2, 3}), ("test", {0, 3, 4})])
    def test_the_original_validation_set_is_halved_by_recording(self, split, classes, root):
        dataset = Llamas(root, split)
        assert len(dataset) == 1
        assert set(np.unique(dataset[0].label)) == classes

    def test_the_original_test_set_has_no_labels(self, root):
        assert Llamas(root, "unlabeled")[0].label is None


class TestRendering:
    def test_a_marker_covers_its_projection(self, tmp_path):
        # At 8 m: 5 px = 0.05 m * 1000 / 8 on each side, rounded; rows 358 + 1500/8 = 545.5 to 358 + 150 = 508.
        label = render_label(write_label(tmp_path / "a.json", [lane("r0", 0)]))
        rows = np.nonzero((label == 3).any(1))[0]
        assert set(rows[rows > 480]) <= set(range(507, 548))
        assert {510, 530, 544} <= set(rows)
        assert 9 <= (label[544] == 3).sum() <= 14
        assert label[530, 638] == 3

    def test_lanes_are_numbered_from_the_car_outwards(self, tmp_path):
        label = render_label(write_label(tmp_path / "a.json", [lane("l3", -5), lane("l2", -2)]))
        assert set(np.unique(label)) == {0, 1, 2}
        assert np.nonzero(label == 1)[1].mean() < np.nonzero(label == 2)[1].mean()

    def test_lanes_farther_out_are_background(self, tmp_path):
        inner = [lane("r0", 1), lane("r1", 2)]
        with_outer = render_label(write_label(tmp_path / "a.json", [*inner, lane("r2", 4)]))
        assert (with_outer == render_label(write_label(tmp_path / "b.json", inner))).all()

    def test_one_marker_and_flat_lanes_are_left_out(self, tmp_path):
        single = {"lane_id": "l0", "markers": [marker(-2, 8, 10)]}
        flat = {"lane_id": "r0", "markers": [marker(2, 60, 70), marker(2, 80, 90)]}
        assert not render_label(write_label(tmp_path / "a.json", [single, flat])).any()

    def test_markers_behind_the_camera_are_not_drawn(self, tmp_path):
        behind = {"lane_id": "l0", "markers": [marker(-2, 8, 10), {**marker(-2, 15, 18)}, marker(-2, -4, 10)]}
        ahead = {"lane_id": "l0", "markers": behind["markers"][:2]}
        labels = [render_label(write_label(tmp_path / "a.json", [lanes])) for lanes in (behind, ahead)]
        assert (labels[0] == labels[1]).all()

    @pytest.mark.parametrize("x", [1e30, -1e12, 1e200])
    def test_markers_at_the_camera_itself_take_no_time_to_draw(self, tmp_path, x):
        far = lane("l0", -2)
        far["markers"] += [marker(x, 1e-6, 10)] * 100
        labels = [render_label(write_label(tmp_path / "a.json", [lanes])) for lanes in (far, lane("l0", -2))]
        assert (labels[0] == labels[1]).all()

    def test_a_frame_without_lanes_is_background(self, tmp_path):
        assert not render_label(write_label(tmp_path / "a.json", [])).any()


class TestBadTrees:
    def test_an_empty_folder_prints_the_expected_tree(self, tmp_path):
        with pytest.raises(DatasetError, match=r"llamas: no train/\*/\*_color_rect\.png below .*\n\n    ROOT/color_im"):
            build_dataset("llamas", root=tmp_path)

    def test_an_unknown_split_lists_the_known_ones(self, root):
        with pytest.raises(DatasetError, match="split 'valid' is unknown: use one of train, validation, test, unlab"):
            Llamas(root, "valid")

    def test_a_missing_label_is_named(self, root):
        next((root / "labels" / "train").rglob("*.json")).unlink()
        with pytest.raises(DatasetError, match=r"1419280683_0123105000\.json is missing"):
            Llamas(root)[0]

    @pytest.mark.parametrize(
        "content", ['{"lanes": [', '{"lanes": []}', '{"projection_matrix": [1], "lanes": []}', "[]"]
    )
    def test_a_damaged_label_is_named_with_its_form(self, content, root):
        next((root / "labels" / "train").rglob("*.json")).write_text(content)
        with pytest.raises(DatasetError, match=r"\.json(: not a label file \(truncated\?\), expected| is no JSON)"):
            Llamas(root)[0]

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("pixel_start", {"y": math.inf}),
            ("pixel_start", []),
            ("world_start", {"x": 10**400, "y": 1, "z": 9}),
            ("world_start", "xyz"),
        ],
    )
    def test_a_marker_made_to_hurt_is_named(self, key, value, root):
        path = next((root / "labels" / "train").rglob("*.json"))
        content = json.loads(path.read_text())
        content["lanes"] = [lane("l0", -2)]
        content["lanes"][0]["markers"][0][key] = value
        path.write_text(json.dumps(content))
        with pytest.raises(DatasetError, match=r"\.json: not a label file"):
            Llamas(root)[0]

    def test_a_truncated_image_is_named(self, root):
        path = Llamas(root).images[0]
        path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(DatasetError, match=r"_color_rect\.png: not a readable image"):
            Llamas(root)[0]

    def test_an_image_of_another_size_is_refused(self, root):
        cv2.imwrite(str(Llamas(root).images[0]), np.zeros((10, 20, 3), np.uint8))
        with pytest.raises(DatasetError, match=r"is \(10, 20\) \(H, W\), expected \(717, 1276\)"):
            Llamas(root)[0]


def two_classes(foreground):
    foreground = np.asarray(foreground, np.float32)
    return np.stack([1 - foreground, foreground])


class TestAveragePrecision:
    def test_by_hand(self):
        # Descending scores 1.0 (hit), 0.8 (miss), 0.5 (hit), 0.2 (miss): recall 1/2 at precision 1, then recall 1;
        # the precision before that step is 1/2.
        label = np.array([[1, 0, 1, 0]], np.uint8)
        area = average_precision(two_classes([[1.0, 0.8, 0.5, 0.2]]), label)
        assert area[1] == pytest.approx(0.5 * 1 + 0.5 * 0.5)

    def test_a_perfect_prediction_has_1(self):
        label = np.array([[1, 0, 1], [0, 0, 1]], np.uint8)
        assert average_precision(two_classes(label), label) == pytest.approx([1, 1])

    def test_almost_certain_counts_as_certain_in_8_bits(self):
        label = np.array([[1, 0]], np.uint8)
        assert average_precision(two_classes([[0.9985, 0.0]]), label)[1] == pytest.approx(1)

    def test_uncertain_scores_lose_the_first_step(self):
        # Nothing reaches 1.00, where precision is then 0: as the benchmark's script has it.
        label = np.array([[1, 0]], np.uint8)
        assert average_precision(two_classes([[0.995, 0.0]]), label)[1] == 0

    def test_a_class_that_is_absent_has_0(self):
        assert average_precision(two_classes(np.zeros((2, 2))), np.zeros((2, 2), np.uint8))[1] == 0

    @given(seed=st.integers(0, 10_000))
    @settings(max_examples=25, deadline=None)
    def test_equals_thresholding_101_times(self, seed):
        generator = np.random.default_rng(seed)
        score = generator.integers(0, 256, (5, 7)) / 255
        label = generator.integers(0, 2, (5, 7)).astype(np.uint8)
        area, recall, precision = 0.0, 0.0, 1.0
        for step in range(101):
            positive = score >= (100 - step) / 100
            hits = (positive & (label == 1)).sum()
            previous, recall = recall, hits / max((label == 1).sum(), 1)
            area += (recall - previous) * precision
            precision = hits / positive.sum() if positive.any() else 0.0
        assert average_precision(two_classes(score), label)[1] == pytest.approx(area)

    def test_ignored_pixels_are_inert(self):
        label = np.array([[1, 0, 255, 255]], np.uint8)
        scores = [two_classes([[0.9, 0.3, *rest]]) for rest in ((1, 1), (0, 0.5))]
        assert (average_precision(scores[0], label) == average_precision(scores[1], label)).all()


class TestLlamasAp:
    def test_means_over_images_then_lanes_without_background(self):
        label = np.array([[0, 1, 2, 3, 4]], np.uint8)
        perfect = np.float32(label == np.arange(5)[:, None, None])
        benchmark = LlamasAp()
        benchmark.add(RgbdSample(np.zeros((1, 5, 3), np.uint8), None, label, "a"), perfect)
        benchmark.add(RgbdSample(np.zeros((1, 5, 3), np.uint8), None, np.uint8([[0, 1, 0, 0, 0]]), "b"), perfect)
        result = benchmark.result()
        assert result["ap_far_left_lane"] == pytest.approx(1)
        assert result["ap_left_lane"] == pytest.approx(0.5)
        assert result["map"] == pytest.approx((1 + 3 * 0.5) / 4)

    def test_images_without_labels_are_left_out(self):
        benchmark = LlamasAp()
        benchmark.add(RgbdSample(np.zeros((1, 5, 3), np.uint8), None, None, "a"), np.zeros((5, 1, 5), np.float32))
        assert np.isnan(benchmark.result()["map"])
