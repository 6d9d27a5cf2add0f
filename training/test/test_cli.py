# SPDX-License-Identifier: Apache-2.0
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from road_kd_seg.bags.reader import BagReader
from road_kd_seg.networks import NETWORKS
from road_kd_seg.networks.common import summary
from road_kd_training.cli import main
from road_kd_training.commands.arguments import COMMANDS
from road_kd_training.datasets.stereo_pothole import StereoPothole


@pytest.mark.parametrize("arguments", [[], *([name] for name in COMMANDS)], ids=lambda words: " ".join(words) or "none")
def test_help_is_printed_without_importing_pytorch(arguments):
    program = (
        "import sys; from road_kd_training.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", program, *arguments, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage:")
    assert done.stderr == "False\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_options_are_shown_with_hyphens(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert re.findall(r"--\w+_\w*", capsys.readouterr().out) == []


def test_help_of_train_explains_every_key(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "Weight of the cross entropy against the labels" in text
    assert "Steps of linear warm-up" in text


def test_a_recipe_trains_and_its_bundle_is_scored_beside_the_baseline(recipe, stereo_tree, tmp_path, capsys):
    assert main(["train", "--config", str(recipe), "--seed", "3"]) == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["seed"] == 3
    dataset = ["stereo_pothole", f"root={stereo_tree}", "split=validation"]
    score = tmp_path / "score.json"
    assert main(["evaluate", *dataset, "--model", str(tmp_path / "run" / "bundle"), "--json", str(score)]) == 0
    report = json.loads(score.read_text())
    assert report["frames"] == 2
    assert set(report["iou"]) == {"road", "negative_obstacle"}
    assert report["baseline"]["validation"]["iou"] > 0.99
    assert "no learning" in capsys.readouterr().out


def test_unknown_keys_of_a_recipe_are_refused(recipe, capsys):
    recipe.write_text(recipe.read_text() + "stepz: 5\n")
    with pytest.raises(SystemExit) as exit_:
        main(["train", "--config", str(recipe)])
    assert exit_.value.code == 2
    assert "does not accept option 'stepz' (did you mean 'steps'?)" in capsys.readouterr().err


def test_unknown_keys_inside_a_recipe_are_refused(recipe, capsys):
    settings = yaml.safe_load(recipe.read_text())
    settings["network"]["optons"] = {}
    recipe.write_text(yaml.safe_dump(settings))
    assert main(["train", "--config", str(recipe)]) == 1
    assert f"{recipe}: network: 'optons' is unknown: did you mean 'options'?" in capsys.readouterr().err


def test_an_unknown_flag_is_refused_in_one_line(recipe, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["train", "--config", str(recipe), "--batch_sise", "3"])
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert "unrecognized arguments: --batch_sise 3 (did you mean 'batch_size'?)" in error.lower()  # 4.47: Unrecognized
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "order",
    [
        ["stereo_pothole", "root={root}", "split=all", "--out", "{out}", "--rate-hz", "2"],
        ["--out", "{out}", "stereo_pothole", "--rate-hz=2", "root={root}", "split=all"],
        ["stereo_pothole", "--rate_hz", "2", "root={root}", "--out", "{out}", "split=all"],
    ],
)
def test_key_value_stands_before_or_after_options_and_options_have_hyphens_or_underscores(order, stereo_tree, tmp_path):
    arguments = [part.format(root=stereo_tree, out=tmp_path / "bag") for part in order]
    assert main(["dataset-to-bag", *arguments]) == 0
    with BagReader(tmp_path / "bag") as reader:
        assert len(reader.index) == 4


def test_a_recipe_may_write_its_depth_as_model_yaml_does(recipe, tmp_path):
    settings = yaml.safe_load(recipe.read_text())
    settings["input"]["depth"] = None
    settings["network"] = {"name": "mfnet_rgb"}
    recipe.write_text(yaml.safe_dump(settings))
    assert main(["train", "--config", str(recipe)]) == 0


def test_distil_wants_a_distiller(recipe, capsys):
    assert main(["distill", "--config", str(recipe)]) == 1
    assert "the recipe has no distillers: add one" in capsys.readouterr().err


def test_photographs_become_a_bag_with_depth_and_labels(stereo_tree, tmp_path):
    bag = tmp_path / "bag"
    assert main(["dataset-to-bag", "stereo_pothole", f"root={stereo_tree}", "split=all", "--out", str(bag)]) == 0
    source = StereoPothole(stereo_tree, "all")
    with BagReader(bag) as reader:
        frames = list(reader.frames())
    assert len(frames) == 4
    for index, (frame, label) in enumerate(frames):
        sample = source[index]
        assert (frame.rgb == sample.rgb).all()
        assert (label == sample.label).all()
        np.testing.assert_allclose(frame.depth_m, sample.depth_m, atol=0.0006)  # 16UC1 rounds to a millimeter
        assert frame.intrinsics is not None


def test_an_existing_bag_is_replaced_only_when_told(stereo_tree, tmp_path, capsys):
    command = ["dataset-to-bag", "stereo_pothole", f"root={stereo_tree}", "--out", str(tmp_path / "bag")]
    assert main(command) == 0
    assert main(command) == 1
    assert "exists" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "potholes"], "dataset 'potholes' is unknown"),
        (["evaluate", "stereo_pothole", "here"], "write key=value"),
        (["evaluate", "stereo_pothole", "root=/nowhere"], "no rgb/*.jpg below /nowhere"),
        (["dataset-to-bag", "stereo_pothole", "--out", "x", "--rate_hz", "0"], "expected a positive number"),
    ],
)
def test_bad_arguments_say_what_to_do_and_exit_with_1(arguments, message, tiny_bundle, capsys):
    model = ["--model", str(tiny_bundle)] if arguments[0] == "evaluate" else []
    assert main([*arguments, *model]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error


@pytest.mark.parametrize(
    ("what", "expected"), [("networks", "erfnet"), ("distillers", "cwd"), ("datasets", "stereo_pothole")]
)
def test_lists_what_there_is(what, expected, monkeypatch, capsys):
    monkeypatch.setattr(summary, "NETWORKS", {"erfnet": NETWORKS["erfnet"]})  # all of them take a while
    assert main(["list", what]) == 0
    assert expected in capsys.readouterr().out


@pytest.mark.slow
def test_the_quickstart_recipe_runs_where_nothing_was_rendered_before(tmp_path, monkeypatch, capsys):
    recipe = Path(__file__).parents[1] / "recipes" / "quickstart.yaml"
    monkeypatch.chdir(tmp_path)
    assert (
        main(["distill", "--config", str(recipe), "--steps", "2", "--warmup-steps", "1", "--validate-every", "2"]) == 0
    )
    assert main(["export", "runs/quickstart", "--out", "out/quickstart/bundle"]) == 0, capsys.readouterr().err
    assert (tmp_path / "out/quickstart/bundle/model.yaml").is_file()
