# SPDX-License-Identifier: Apache-2.0
import json
import time

import numpy as np
import pytest
import yaml

from road_kd_seg.taxonomy import DEFAULT_TAXONOMY
from road_kd_training.augment import Augment
from road_kd_training.cli import main
from road_kd_training.config import AugmentConfig, DataConfig, InputConfig, NetworkConfig, TrainConfig
from road_kd_training.data import DrawnExamples, Draws, Pool
from road_kd_training.datasets.common.sample import RgbdSample
from road_kd_training.loader_speed import (
    LoaderSpeed,
    enough_workers,
    measure_loader,
    time_samples,
    worker_counts,
)

SIZE = (16, 24)
FILE_BYTES = 100_000
SLOW_S = 0.02


class Slow:
    """Reads a file, then takes its time as a decoder would."""

    taxonomy = DEFAULT_TAXONOMY

    def __init__(self, path):
        self.path = path

    def __len__(self):
        return 3

    def __getitem__(self, index):
        self.path.read_bytes()
        time.sleep(SLOW_S)
        return RgbdSample(np.zeros((*SIZE, 3), np.uint8), None, np.zeros(SIZE, np.uint8), str(index))


@pytest.fixture
def pools(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(FILE_BYTES))
    return [Pool([Slow(path)], [1.0], 2, True)]


CONFIG = TrainConfig("x", NetworkConfig("x"), [DataConfig("x")], [DataConfig("x")], "x", input=InputConfig(*SIZE))


class TestTimeSamples:
    def test_time_goes_where_it_is_spent(self, pools):
        examples = DrawnExamples(pools, Augment(AugmentConfig(), CONFIG.input, DEFAULT_TAXONOMY), 0)
        times = time_samples(examples, Draws(pools, 0, 0, 10), 10)
        assert times.decode_ms >= SLOW_S * 1e3
        assert 0 < times.read_ms < times.decode_ms
        assert 0 < times.augment_ms < times.decode_ms
        assert times.total_ms == pytest.approx(times.read_ms + times.decode_ms + times.augment_ms)

    def test_bytes_are_those_of_the_file_and_of_the_example(self, pools):
        examples = DrawnExamples(pools, Augment(AugmentConfig(), CONFIG.input, DEFAULT_TAXONOMY), 0)
        times = time_samples(examples, Draws(pools, 0, 0, 5), 5)
        assert times.file_bytes is None or FILE_BYTES <= times.file_bytes <= 1.1 * FILE_BYTES
        assert times.sample_bytes == 16 * 24 * (3 + 4 + 8) + 12  # uint8, float32 depth, int64 label; the road plane


class TestMeasureLoader:
    def test_one_process_is_as_slow_as_its_samples(self, pools):
        speed = measure_loader(CONFIG, pools, workers=0, seconds=0.3)
        assert speed.samples_per_s <= 1 / SLOW_S
        assert speed.batch_ms >= 2 * SLOW_S * 1e3
        assert speed.starves is None

    def test_a_short_step_starves_and_waits_for_what_is_left_of_the_batch(self, pools):
        speed = measure_loader(CONFIG, pools, workers=1, seconds=0.5, step_ms=5.0)
        assert speed.starves
        assert speed.wait_ms >= 2 * SLOW_S * 1e3 - 5.0 - 10.0

    def test_a_long_step_is_fed_by_a_worker_and_never_by_the_process_that_steps(self, pools):
        step_ms = 10 * SLOW_S * 1e3
        alone, helped = (measure_loader(CONFIG, pools, n, seconds=1.0, step_ms=step_ms).wait_ms for n in (0, 1))
        assert helped < SLOW_S * 1e3 < 2 * SLOW_S * 1e3 <= alone  # a batch takes twice SLOW_S, a busy machine some ms

    def test_a_wait_of_more_than_a_twentieth_of_the_step_is_starving(self):
        assert LoaderSpeed(1, 8, 10.0, wait_ms=6.0, step_ms=100.0).starves is True
        assert LoaderSpeed(1, 8, 10.0, wait_ms=4.0, step_ms=100.0).starves is False


class TestEnoughWorkers:
    def speeds(self, step_ms=None, waits=(None, None, None)):
        rates = zip((0, 1, 4), (10.0, 39.0, 40.0), waits, strict=True)
        return [LoaderSpeed(workers, 8, rate, wait, step_ms) for workers, rate, wait in rates]

    def test_without_a_step_it_is_the_smallest_near_the_fastest(self):
        assert enough_workers(self.speeds()).workers == 1

    def test_with_a_step_it_is_the_smallest_that_feed_it(self):
        assert enough_workers(self.speeds(100.0, (90.0, 6.0, 4.0))).workers == 4

    def test_if_all_starve_it_is_the_smallest_near_the_fastest(self):
        best = enough_workers(self.speeds(100.0, (90.0, 50.0, 40.0)))
        assert best.workers == 1
        assert best.starves

    @pytest.mark.parametrize(("cores", "expected"), [(1, [0, 1]), (2, [0, 1, 2]), (6, [0, 1, 2, 4, 6])])
    def test_counts_double_up_to_the_cores(self, cores, expected):
        assert worker_counts(cores) == expected


class TestCommand:
    def test_a_dataset_is_measured_at_the_default_size(self, stereo_tree, tmp_path, capsys):
        out = tmp_path / "results.json"
        command = ["benchmark", "data", "stereo_pothole", f"root={stereo_tree}", "split=all"]
        more = ["--workers", "0", "1", "--seconds", "0.2", "--samples", "3", "--batch_size", "2", "--json", str(out)]
        assert main([*command, *more]) == 0
        text = capsys.readouterr().out
        assert "one sample at 576x1024" in text
        assert "a training step that is shorter waits for it" in text
        report = json.loads(out.read_text())
        assert (report["height"], report["width"]) == (576, 1024)
        assert [speed["workers"] for speed in report["loader"]] == [0, 1]
        assert all(speed["samples_per_s"] > 0 and speed["starves"] is None for speed in report["loader"])
        assert report["sample"]["sample_bytes"] == 576 * 1024 * (3 + 4 + 8) + 12

    def test_a_recipe_is_measured_at_its_own_size_against_a_step(self, stereo_tree, tmp_path, capsys):
        data = [{"dataset": "stereo_pothole", "options": {"root": str(stereo_tree), "split": "all"}}]
        settings = {
            "name": "tiny",
            "output": str(tmp_path / "run"),
            "network": {"name": "erfnet"},
            "input": {"height": 32, "width": 64},
            "train": data,
            "validation": data,
            "batch_size": 2,
        }
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(yaml.safe_dump(settings))
        command = ["benchmark", "data", "--config", str(recipe), "--step_ms", "100", "--workers", "0"]
        assert main([*command, "--seconds", "0.2", "--samples", "3"]) == 0
        text = capsys.readouterr().out
        assert "one sample at 32x64" in text
        assert "batches of 2" in text
        assert "100 ms step" in text
        assert not (tmp_path / "run").exists()

    def test_frames_without_labels_are_measured_too(self, tmp_path, stereo_tree):
        frames = tmp_path / "frames"
        frames.mkdir()
        (stereo_tree / "rgb").rename(frames / "rgb")
        command = ["benchmark", "data", "frames", f"root={frames}", "--height", "32", "--width", "64"]
        assert main([*command, "--workers", "0", "--seconds", "0.1", "--samples", "2"]) == 0

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "give either --config RECIPE or a dataset"),
            (["stereo_pothole", "--config", "x.yaml"], "give either --config RECIPE or a dataset"),
            (["--config", "nowhere.yaml"], "recipe nowhere.yaml: no such file"),
            (["potholes"], "dataset 'potholes' is unknown"),
            (["stereo_pothole", "root=/nowhere"], "no rgb/*.jpg below /nowhere"),
            (["stereo_pothole", "--seconds", "0"], "expected durations and counts above 0"),
            (["stereo_pothole", "--workers", "-1"], "numbers of workers from 0"),
            (["stereo_pothole", "--batch_size", "0"], "expected numbers above 0"),
        ],
    )
    def test_bad_arguments_say_what_to_do(self, arguments, message, capsys):
        assert main(["benchmark", "data", *arguments]) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert message in error
