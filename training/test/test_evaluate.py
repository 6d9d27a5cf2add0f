# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from road_kd_seg.bundle import Bundle, save_bundle
from road_kd_seg.networks import SegmentationNetwork, SegOutput, build_network
from road_kd_seg.preprocess.input_spec import InputSpec
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY
from road_kd_training.cli import main
from road_kd_training.datasets import DATASET_METRICS, DATASETS
from road_kd_training.datasets.common.sample import RgbdSample
from road_kd_training.datasets.culane import EGO_LANES
from road_kd_training.errors import DatasetError
from road_kd_training.evaluate import Score, check_classes, counts_by_band, score_dataset, wrap_network

SIZE = (8, 16)


class ReadsRed(SegmentationNetwork):
    """Predicts the class whose id is the red value of a pixel, so that a picture says what comes out."""

    def forward(self, rgb, depth=None):
        ids = torch.arange(self.num_classes, device=rgb.device).view(1, -1, 1, 1)
        return SegOutput(-1000.0 * (rgb[:, :1] * 255 - ids).abs(), {})


@pytest.fixture
def segmenter():
    spec = InputSpec(SIZE, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    bundle = Bundle(Path(), "reads_red", "none", {}, DEFAULT_TAXONOMY, spec, "")
    return wrap_network(ReadsRed(len(DEFAULT_TAXONOMY)), bundle, torch.device("cpu"))


class Pictures:
    """Targets and predictions as label images; a target may be None."""

    taxonomy = DEFAULT_TAXONOMY

    def __init__(self, *pairs):
        self.pairs = pairs

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        target, prediction = self.pairs[index]
        return RgbdSample(np.repeat(prediction[..., None], 3, axis=2), None, target, str(index))


class Recorder:
    """A benchmark that keeps what it was given."""

    def __init__(self):
        self.seen = []

    def add(self, sample, probabilities):
        self.seen.append((sample.id, probabilities))

    def result(self):
        return {"images": float(len(self.seen)), "nothing": float("nan")}


def halves(left, right, column=8):
    image = np.full(SIZE, left, np.uint8)
    image[:, column:] = right
    return image


class TestScoreDataset:
    def test_counts_are_summed_over_frames_before_ratios_are_taken(self, segmenter):
        score = score_dataset(segmenter, Pictures((halves(1, 3), halves(1, 3)), (halves(1, 3), halves(1, 1))))
        assert score.frames == 2
        report = score.to_dict(DEFAULT_TAXONOMY)
        assert report["iou"] == {"road": round(128 / 192, 4), "negative_obstacle": 0.5}
        assert report["miou"] == round((128 / 192 + 0.5) / 2, 4)
        assert report["precision"] == {"road": round(128 / 192, 4), "negative_obstacle": 1.0}
        assert report["recall"] == {"road": 1.0, "negative_obstacle": 0.5}
        assert report["f1"] == {"road": 0.8, "negative_obstacle": round(2 / 3, 4)}
        assert report["fw_iou"] == report["miou"]  # half of the true pixels each
        assert "dataset_metrics" not in report
        assert "boundary_f1" not in report

    def test_ignored_and_unlabeled_pixels_are_inert(self, segmenter):
        target = halves(1, 255)
        pairs = [(target, halves(1, fill)) for fill in (0, 3, 4)] + [(None, halves(2, 2))]
        score = score_dataset(segmenter, Pictures(*pairs), boundary_px=3)
        assert score.counts.tolist() == np.diag([0, 3 * 64, 0, 0, 0]).tolist()
        assert not score.boundary_counts.any()

    def test_boundaries_are_scored_with_the_given_tolerance(self, segmenter):
        pictures = Pictures((halves(1, 3, 8), halves(1, 3, 10)))
        for boundary_px, expected in ((1, 0.0), (2, 1.0)):
            report = score_dataset(segmenter, pictures, boundary_px=boundary_px).to_dict(DEFAULT_TAXONOMY)
            assert report["boundary_f1"] == {"road": expected, "negative_obstacle": expected}
            assert (report["boundary_px"], report["mean_boundary_f1"]) == (boundary_px, expected)

    def test_a_benchmark_sees_every_sample_with_all_probabilities(self, segmenter):
        recorder = Recorder()
        pictures = Pictures((halves(1, 3), halves(1, 3)), (None, halves(0, 4)))
        score = score_dataset(segmenter, pictures, dataset_metric=recorder)
        assert [name for name, _ in recorder.seen] == ["0", "1"]
        for (_, probabilities), (_, prediction) in zip(recorder.seen, pictures.pairs, strict=True):
            assert probabilities.shape == (5, *SIZE)
            assert (probabilities.argmax(0) == prediction).all()
        assert score.to_dict(DEFAULT_TAXONOMY)["dataset_metrics"] == {"images": 2.0, "nothing": None}
        assert (score.counts == score_dataset(segmenter, pictures).counts).all()

    def test_nothing_scored_is_none_and_not_nan(self, segmenter):
        report = score_dataset(segmenter, Pictures((None, halves(1, 1))), boundary_px=3).to_dict(DEFAULT_TAXONOMY)
        assert report["miou"] is None
        assert report["mean_boundary_f1"] is None
        assert json.loads(json.dumps(report, allow_nan=False)) == report


class TestClasses:
    def test_other_classes_are_refused_with_both_lists(self, segmenter):
        with pytest.raises(DatasetError) as error:
            check_classes(segmenter, DATASETS["culane"], "culane")
        assert str(error.value) == (
            "model 'reads_red' and dataset 'culane' have different classes, so a score would mean nothing: the model's"
            " are background, road, lane_marking, negative_obstacle, positive_obstacle; the dataset's are background,"
            " far_left_lane, left_lane, right_lane, far_right_lane: use a model that was trained on this dataset"
        )

    def test_equal_names_are_enough(self, segmenter):
        check_classes(segmenter, Pictures(), "pictures")

    def test_every_benchmark_belongs_to_a_dataset(self):
        assert DATASET_METRICS.keys() <= DATASETS.keys()


@pytest.fixture
def lane_bundle(tmp_path):
    torch.manual_seed(0)
    return save_bundle(
        tmp_path / "lanes",
        build_network("erfnet", len(EGO_LANES)),
        name="lanes",
        network_name="erfnet",
        network_kwargs={},
        taxonomy=EGO_LANES,
        input_spec=InputSpec((32, 64)),
    )


@pytest.fixture
def llamas_tree(tmp_path):
    recording = "train/images-a"
    image = tmp_path / "llamas" / "color_images" / recording / "1_color_rect.png"
    label = tmp_path / "llamas" / "labels" / recording / "1.json"
    for path in (image, label):
        path.parent.mkdir(parents=True)
    cv2.imwrite(str(image), np.zeros((717, 1276, 3), np.uint8))
    label.write_text(json.dumps({"projection_matrix": np.eye(3).tolist(), "lanes": []}))
    return tmp_path / "llamas"


class TestCommand:
    def test_prints_and_writes_every_score(self, lane_bundle, llamas_tree, tmp_path, capsys):
        out = tmp_path / "score.json"
        command = ["evaluate", "llamas", f"root={llamas_tree}", "--model", str(lane_bundle), "--device", "cpu"]
        assert main([*command, "--boundary_px", "2", "--json", str(out)]) == 0
        report = json.loads(out.read_text())
        assert (report["model"], report["frames"], report["boundary_px"]) == ("lanes", 1, 2)
        assert set(report["iou"]) == {"background"}
        assert report["fw_iou"] == report["miou"] == report["iou"]["background"]
        assert report["dataset_metrics"]["map"] == 0.0  # the frame holds no lane
        printed = capsys.readouterr().out
        for expected in (
            "boundary F1",
            "mean over these",
            "weighted by pixels",
            "as the llamas benchmark scores",
            "map",
        ):
            assert expected in printed

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--boundary_px", "-1"], "--boundary-px is -1, expected 0 or more"),
            (["--json", f"{__file__}/score.json"], "test_evaluate.py: cannot be"),
        ],
    )
    def test_bad_arguments_say_what_to_do(self, arguments, message, lane_bundle, llamas_tree, capsys):
        command = ["evaluate", "llamas", f"root={llamas_tree}", "--model", str(lane_bundle), "--device", "cpu"]
        assert main([*command, *arguments]) == 1
        assert message in capsys.readouterr().err

    def test_a_model_of_other_classes_is_refused(self, tiny_bundle, llamas_tree, capsys):
        assert main(["evaluate", "llamas", f"root={llamas_tree}", "--model", str(tiny_bundle), "--device", "cpu"]) == 1
        assert "model 'tiny' and dataset 'llamas' have different classes" in capsys.readouterr().err


class TestByDistance:
    def test_pixels_count_in_the_band_of_their_depth(self):
        label = np.array([[1, 1, 3, 3, 3, 255]], np.uint8)
        prediction = np.array([[1, 3, 3, 1, 3, 3]], np.uint8)
        depth_m = np.array([[1.0, 3.0, 6.9, 50.0, 0.0, 2.0]], np.float32)
        counts = counts_by_band(label, prediction, depth_m, 5)
        expected = np.zeros((4, 5, 5), np.int64)
        expected[0, 1, 1] = expected[1, 1, 3] = expected[2, 3, 3] = expected[3, 3, 1] = 1
        np.testing.assert_array_equal(counts, expected)

    def test_a_far_class_that_is_lost_costs_the_selection_what_miou_hides(self):
        lost, kept = np.zeros((2, 4, 5, 5), np.int64)
        for bands in (lost, kept):
            bands[0, 1, 1], bands[0, 3, 3] = 100_000, 9_000
        lost[2, 3, 1], kept[2, 3, 3] = 90, 90
        lost, kept = (Score(bands.sum(0), 1, band_counts=bands) for bands in (lost, kept))
        assert kept.miou - lost.miou < 0.01
        assert kept.selection - lost.selection > 0.2

    def test_without_depth_it_is_miou(self):
        score = Score(np.eye(5, dtype=np.int64), 1)
        assert score.selection == score.miou == 1
        assert "by_distance" not in score.to_dict(DEFAULT_TAXONOMY)
