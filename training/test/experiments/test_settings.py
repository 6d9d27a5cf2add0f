# SPDX-License-Identifier: Apache-2.0
import pytest

from road_kd_training.experiments import EXPERIMENTS, find_experiment
from road_kd_training.experiments.plan import make_plan
from road_kd_training.experiments.settings import describe_settings


def settings_of(name, scale="full"):
    plan = make_plan(find_experiment(name), scale, out="out", data_root="data")
    return dict(line.split(": ", 1) for line in describe_settings(plan))


@pytest.mark.parametrize("name", [name for name, experiment in EXPERIMENTS.items() if experiment.full])
def test_every_full_report_says_precision_colors_scales_and_averaging(name):
    settings = settings_of(name)
    assert set(settings) >= {"precision", "augmentation", "images", "averaged weights"}
    assert "times the size" in settings["images"]


def test_cwds_settings_read_as_they_are():
    settings = settings_of("cwd/table2")
    assert settings["images"] == "1024x2048, depth none; windows of 512x512, 0.7 to 2.1 times the size"
    assert settings["augmentation"] == "flip 0.5"
    assert settings["supervised loss"] == "cross entropy x 1, auxiliary head x 0.4"
    assert settings["averaged weights"] == "none"


def test_rows_that_differ_are_named():
    assert settings_of("intra_kd/table2")["optimizer"].endswith(
        "but teacher: sgd, learning rate 0.005 (poly, 0 steps of warm-up), weight decay 0.0001, gradients clipped to"
        " norm 1e+06"
    )
