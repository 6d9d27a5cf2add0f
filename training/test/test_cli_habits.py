# SPDX-License-Identifier: Apache-2.0
"""What a stranger may expect of every command: what is next, errors before the work, names as text, any locale."""

import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from road_kd_seg.bags.writer import write_bag
from road_kd_training.cli import main
from road_kd_training.commands import import_labels, pack
from road_kd_training.commands.arguments import COMMANDS
from road_kd_training.datasets.bag import Bag
from road_kd_training.datasets.stereo_pothole import StereoPothole


class TestWhatIsNext:
    """The last line of every command, so that nobody has to look for it."""

    def says(self, capsys, *arguments):
        assert main([str(argument) for argument in arguments]) == 0
        last = capsys.readouterr().out.splitlines()[-1]
        assert "next: " in last, arguments
        return last

    def test_from_a_recipe_to_a_robot(self, recipe, stereo_tree, tmp_path, capsys):
        bundle, dataset = tmp_path / "run" / "bundle", ["stereo_pothole", f"root={stereo_tree}"]
        assert "road-kd evaluate" in self.says(capsys, "train", "--config", recipe)
        assert "replay_eval" in self.says(capsys, "evaluate", *dataset, "--model", bundle)
        assert "seg_node" in self.says(capsys, "export", bundle, "--out", tmp_path / "mine")

    def test_from_photographs_to_a_bag_and_back(self, stereo_tree, tmp_path, capsys):
        dataset = ["stereo_pothole", f"root={stereo_tree}", "split=all"]
        assert "replay_eval" in self.says(capsys, "dataset-to-bag", *dataset, "--out", tmp_path / "bag")
        assert "label the others" in self.says(capsys, "bag-to-dataset", tmp_path / "bag", "--out", tmp_path / "back")
        measured = ["benchmark", "data", *dataset, "--workers", 0, "--seconds", 0.1, "--samples", 2]
        assert "num_workers" in self.says(capsys, *measured, "--height", 32, "--width", 64)

    def test_of_a_plan(self, tmp_path, capsys):
        self.says(capsys, "reproduce", "cwd/table2", "--scale", "smoke", "--out", tmp_path, "--dry-run")


NOWHERE = ["/proc/nowhere", "/dev/null/x"]
WRITE_A_FILE = [
    ["evaluate", "DATASET", "--model", "MODEL", "--json"],
    ["benchmark", "data", "DATASET", "--seconds", "0.1", "--json"],
]
WRITE_A_FOLDER = [
    ["pseudo-label", "DATASET", "--model", "MODEL", "--out"],
    ["synth", "--scenes", "1"],
    ["export", "MODEL", "--force", "--out"],
    ["reproduce", "cwd/table2", "--out"],
    ["dataset-to-bag", "DATASET", "--out"],
    ["bag-to-dataset", "BAG", "--out"],
    ["import-labels", "coco", "ROOT", "--out"],
    ["adapt", "BAG", "--model", "MODEL", "--teacher", "MODEL", "--out"],
    ["pack", "ROOT", "--out"],
    ["train", "--config", "RECIPE", "--output"],
    ["distill", "--config", "RECIPE", "--distillers", '[{"method": "dense_kd"}]', "--output"],
]


KEEP_WHAT_IS_THERE = [
    command
    for command in WRITE_A_FOLDER
    if command[0] in ("pseudo-label", "dataset-to-bag", "bag-to-dataset", "import-labels", "pack")
]


@pytest.fixture
def fails(capsys, stereo_tree, tiny_bundle, recipe, tmp_path, frames_of):
    """Runs a command, which must fail with one line; returns it."""
    write_bag(tmp_path / "drive", frames_of(range(2), height=48, width=80))
    words = {
        "DATASET": ["stereo_pothole", f"root={stereo_tree}", "split=all"],
        "ROOT": [str(stereo_tree)],
        "MODEL": [str(tiny_bundle)],
        "BAG": [str(tmp_path / "drive")],
        "RECIPE": [str(recipe)],
    }

    def run(*arguments):
        assert main([word for part in arguments for word in words.get(part, [str(part)])]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        return line

    return run


WRITE_THEMSELVES = ("evaluate", "pseudo-label", "synth", "export", "dataset-to-bag", "bag-to-dataset", "pack", "train")


class TestFullDisk:
    """As far as one can be had without root: no file may grow beyond so many bytes."""

    @pytest.mark.parametrize(
        "command",
        [command for command in (*WRITE_A_FILE, *WRITE_A_FOLDER) if command[0] in WRITE_THEMSELVES],
        ids=lambda words: words[0],
    )
    def test_it_costs_one_line_and_leaves_no_half_file(self, fails, command, tmp_path):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))  # Python ignores SIGXFSZ: the write fails
        try:
            fails(*command, tmp_path / "out")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        left = [path for path in tmp_path.glob("out*/**/*") if path.is_file()]
        assert not [path for path in left if path.suffix == ".part" or path.stat().st_size >= 64]


class TestOutputIsCheckedBeforeTheWork:
    @pytest.fixture
    def refused(self, monkeypatch, fails):
        """Runs a command, which must fail with one line before it reads a sample."""

        def read(*_, **__):
            raise AssertionError("the work has begun")

        for owner, name in (
            (StereoPothole, "__getitem__"),
            (Bag, "__init__"),
            (import_labels, "read_export"),
            (pack, "shrink"),
        ):
            monkeypatch.setattr(owner, name, read)
        return fails

    @pytest.mark.parametrize("out", NOWHERE)
    @pytest.mark.parametrize("command", [*WRITE_A_FILE, *WRITE_A_FOLDER], ids=lambda words: words[0])
    def test_a_place_that_cannot_be_written(self, refused, command, out):
        line = refused(*command, out)
        assert re.search("cannot be (written|made|used)|exists already", line)
        assert str(Path(out).parent) in line

    @pytest.mark.parametrize("command", WRITE_A_FOLDER, ids=lambda words: words[0])
    def test_a_file_where_a_folder_is_written(self, refused, command, tmp_path):
        (tmp_path / "file").write_text("somebody's work")
        assert str(tmp_path / "file") in refused(*command, tmp_path / "file")
        assert (tmp_path / "file").read_text() == "somebody's work"

    @pytest.mark.parametrize("command", KEEP_WHAT_IS_THERE, ids=lambda words: words[0])
    def test_a_folder_that_holds_somebodys_work(self, refused, command, tmp_path):
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "notes.txt").write_text("somebody's work")
        assert str(tmp_path / "full") in refused(*command, tmp_path / "full")
        assert os.listdir(tmp_path / "full") == ["notes.txt"]

    @pytest.mark.parametrize("command", WRITE_A_FILE, ids=lambda words: words[0])
    def test_a_folder_where_a_file_is_written(self, refused, command, tmp_path):
        assert "it is a folder" in refused(*command, tmp_path)

    def test_a_key_that_is_missing(self, refused, tmp_path):
        line = refused("export", "MODEL", "--out", tmp_path / "new", "--sign", tmp_path / "none.pem")
        assert "none.pem is missing" in line

    @pytest.mark.parametrize("command", ["evaluate", "pseudo-label"])
    def test_a_root_that_is_not_there(self, command, tiny_bundle, tmp_path, capsys):
        out = tmp_path / "out"
        ending = ["--out", str(out)] if command == "pseudo-label" else []
        assert main([command, "stereo_pothole", "root=/nowhere", "--model", str(tiny_bundle), *ending]) == 1
        assert "below /nowhere" in capsys.readouterr().err
        assert not out.exists()


class TestNamesAreText:
    def test_brackets_of_a_bundle_and_its_classes_are_no_markup(self, tiny_bundle, stereo_tree, tmp_path, capsys):
        bundle = shutil.copytree(tiny_bundle, tmp_path / "o[/x]")
        manifest = yaml.safe_load((bundle / "model.yaml").read_text())
        manifest["name"] = "[/bold]"
        (bundle / "model.yaml").write_text(yaml.safe_dump(manifest))
        dataset = ["stereo_pothole", f"root={stereo_tree}", "split=all"]
        assert main(["evaluate", *dataset, "--model", str(bundle)]) == 0
        assert "[/bold] on stereo_pothole" in capsys.readouterr().out
        assert main(["export", str(bundle), "--out", str(tmp_path / "e[/x]")]) == 0
        assert "e[/x]" in capsys.readouterr().out


class TestAsciiLocale:
    """As in a container or a cron job without a locale."""

    ENVIRONMENT = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    def run(self, *arguments):
        program = "import sys; from road_kd_training.cli import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", program, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, check=False, env=self.ENVIRONMENT)

    def test_a_recipe_and_its_name_may_hold_any_letter(self, recipe, tmp_path):
        path = tmp_path / "stra\u00dfe.yaml"
        path.write_text("# Gr\u00f6\u00dfe\n" + recipe.read_text().replace("name: tiny", "name: t\u00fcr"), "utf-8")
        done = self.run("train", "--config", path)
        assert done.returncode == 0, done.stderr.decode()
        assert "t\u00fcr" in (tmp_path / "run" / "config.json").read_text("utf-8").encode().decode("unicode_escape")
        assert "t\u00fcr" in (tmp_path / "run" / "bundle" / "model.yaml").read_text("utf-8")

    def test_a_folder_that_it_cannot_name_is_one_line_with_the_fix(self, recipe, tmp_path):
        path = tmp_path / "recipe2.yaml"
        settings = yaml.safe_load(recipe.read_text()) | {"output": str(tmp_path / "t\u00fcr")}
        path.write_text(yaml.safe_dump(settings, allow_unicode=True), "utf-8")
        done = self.run("train", "--config", path)
        assert done.returncode == 1
        assert b"export PYTHONUTF8=1" in done.stderr
        assert b"Traceback" not in done.stderr

    def test_what_is_no_utf8_is_one_line(self, tmp_path):
        (tmp_path / "latin.yaml").write_bytes("name: t\u00fcr".encode("latin-1"))
        done = self.run("train", "--config", tmp_path / "latin.yaml")
        assert done.returncode == 2
        assert b"can't decode" in done.stderr
        assert b"Traceback" not in done.stderr

    @pytest.mark.parametrize("command", COMMANDS)
    def test_help_of_every_command_is_printed(self, command):
        done = self.run(command, "--help")
        assert done.returncode == 0, done.stderr.decode()
