# SPDX-License-Identifier: Apache-2.0
"""Every command that the documentation shows is accepted by the tool's own parser; the Python of the README runs."""

import ast
import contextlib
import importlib
import inspect
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from road_kd_seg.bags import player
from road_kd_seg.node_interface import CAMERA_INFO_NAME, COLOR_NAME, DEPTH_NAME
from road_kd_seg.replay import cli as replay_cli
from road_kd_seg.synthetic import __main__ as synthetic_drive
from road_kd_seg.tools import seg_benchmark, seg_view
from road_kd_training.commands.arguments import COMMANDS
from road_kd_training.commands.parser import tidy
from road_kd_training.datasets import DATASETS
from road_kd_training.experiments import EXPERIMENTS
from road_kd_training.recipes import check_recipe

ROOT = Path(__file__).parents[2]
PAGES = [
    path
    for pattern in ("*.md", "docs/*.md", "training/*.md", "training/docs/*.md", "models/*/*.md")
    for path in sorted(ROOT.glob(pattern))
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TOOLS: dict[str, Callable[[], object]] = {
    "replay_eval": replay_cli._parser,
    "bag_player": player._parser,
    "seg_benchmark": seg_benchmark._parser,
    "seg_view": seg_view._parser,
}
OTHERS = {"rosdep", "colcon", "openssl", "pre-commit", "export", "pytest", "ros2 security", "trtexec", "for", "done"}
"""Programs of other people: their own documentation says what they take."""


def blocks(language: str) -> Iterator[tuple[Path, str]]:
    """Fenced blocks of a language, on every page."""
    for page in PAGES:
        for found, text in FENCE.findall(page.read_text()):
            if found == language:
                yield page, text


def commands() -> Iterator[tuple[str, str]]:
    """Commands of ours in shell blocks, and in code spans, with the page they stand on."""
    for page, text in blocks("bash"):
        for line in text.replace("\\\n", " ").splitlines():
            command = re.search(rf"(?:^|\s|/)((?:road-kd|{'|'.join(TOOLS)}) [^#;|]*)", f" {line}")
            if command and "[--" not in command[1]:
                yield page.relative_to(ROOT).as_posix(), command[1].strip()


def mentions() -> Iterator[tuple[str, str]]:
    """Commands of road-kd in running text, which may leave arguments out."""
    for page in PAGES:
        for command in re.findall(r"`(road-kd [^`]*)`", FENCE.sub("", page.read_text())):
            yield page.relative_to(ROOT).as_posix(), command


def check_dataset_options(name: str, pairs: list[str]) -> None:
    parameters = inspect.signature(DATASETS[name]).parameters
    unknown = [pair for pair in pairs if "=" in pair and pair.partition("=")[0] not in parameters]
    assert not unknown, f"dataset {name} has no {unknown}, only {list(parameters)}"


def parse(command: str) -> None:
    """Parse as the tool does, without running anything."""
    program, *arguments = shlex.split(
        re.sub(r"\{([^,}]+),[^}]*\}", r"\1", command.replace("$seed", "0"))
    )  # {a,b}: one of these
    if program in TOOLS:
        TOOLS[program]().parse_args(arguments)
        return
    name, *others = arguments
    if name == "list":
        assert others[0] in {"networks", "distillers", "datasets", "experiments"}
        return
    parser = COMMANDS[name].build_parser()
    if "--config" in others:
        recipe = Path(others[others.index("--config") + 1])
        assert (ROOT / recipe).is_file() or recipe.parent == Path("."), f"{recipe} does not exist"
        cut = others.index("--config")
        del others[cut : cut + 2]
        if name in {"train", "distill"}:
            known = {option.replace("_", "-") for option in parser._option_string_actions}
            assert all(word.replace("_", "-") in known for word in others if word.startswith("--"))
            return
    options = parser.parse_args(tidy(others, parser))
    if getattr(options, "dataset", None):
        check_dataset_options(options.dataset, options.options)
    if name == "reproduce":
        assert options.experiment in EXPERIMENTS


@pytest.mark.parametrize(("page", "command"), list(dict.fromkeys(commands())))
def test_the_tool_accepts_it(page, command):
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parse(command)
    except SystemExit:
        pytest.fail(f"{page}: {command}\n{said.getvalue()}")


def other_commands() -> Iterator[tuple[str, str]]:
    """The remaining lines of shell blocks."""
    for page, text in blocks("bash"):
        for line in text.replace("\\\n", " ").splitlines():
            command = re.split(r"(?:^|\s)#|&&|;", line)[0].strip().removeprefix(".venv/bin/")
            if command and command.split()[0] not in {*TOOLS, "road-kd"}:
                yield page.relative_to(ROOT).as_posix(), command


def check_seg_node(words: list[str]) -> None:
    known = yaml.safe_load((ROOT / "config/seg.yaml").read_text())["/**"]["ros__parameters"]
    assert words.pop(0) == "--ros-args"
    for flag, value in zip(words[::2], words[1::2], strict=True):
        if flag == "-p":
            assert value.partition(":=")[0] in known
        elif flag == "-r":
            assert value.partition(":=")[0] in (COLOR_NAME, DEPTH_NAME, CAMERA_INFO_NAME)
        elif flag == "--params-file":
            assert (ROOT / value).is_file()
        else:
            assert flag == "--enclave"


def check_launch(words: list[str]) -> None:
    package, file, *arguments = words
    assert package == "road_kd_seg"
    declared = "".join((ROOT / "launch" / name).read_text() for name in (file, "seg.launch.py"))
    assert [a for a in arguments if f'"{a.partition(":=")[0]}"' not in declared] == []


def check_pip(words: list[str]) -> None:
    extras = re.findall(r"road_kd_seg\[(\w+)\]", " ".join(words))
    assert words[0] == "install"
    assert all(f'"{extra}":' in (ROOT / "setup.py").read_text() for extra in extras)


def check_python(words: list[str]) -> None:
    flag, module, *arguments = words
    assert flag == "-m"
    if module == "road_kd_seg.synthetic":
        synthetic_drive._parser().parse_args(arguments)
    else:
        assert module == "pytest"
        assert all((ROOT / word).exists() for word in arguments if "/" in word)


CHECKS: dict[str, Callable[[list[str]], None]] = {"seg_node": check_seg_node, "pip": check_pip, "python": check_python}


@pytest.mark.parametrize(("page", "command"), list(dict.fromkeys(other_commands())))
def test_every_other_line_is_known(page, command):
    program, *words = shlex.split(command.replace("…", "x"))
    if program == "make":
        assert f"\n{words[0]}:" in (ROOT / "Makefile").read_text(), page
    elif program == "ros2" and words[0] == "launch":
        check_launch(words[1:])
    elif program in CHECKS:
        CHECKS[program](words)
    else:
        assert {program, f"{program} {words[0]}"} & OTHERS if words else program in OTHERS, page


@pytest.mark.parametrize(("page", "text"), [(str(page.relative_to(ROOT)), text) for page, text in blocks("python")])
def test_what_pieces_of_python_import_exists(page, text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("road_kd"):
            module = importlib.import_module(node.module)
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == [], page


@pytest.mark.parametrize(("page", "command"), list(dict.fromkeys(mentions())))
def test_a_mentioned_command_and_its_options_exist(page, command):
    name = command.split()[1]
    assert name in COMMANDS, page
    known = {option.replace("_", "-") for option in COMMANDS[name].build_parser()._option_string_actions}
    assert {option.replace("_", "-") for option in re.findall(r"--[a-z][a-z0-9_-]*", command)} <= known, page


def test_make_has_every_target_that_the_pages_name():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(), re.MULTILINE)}
    assert named <= targets


@pytest.mark.parametrize("page", [path.relative_to(ROOT).as_posix() for path in PAGES])
def test_links_to_files_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / page).read_text())
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


@pytest.mark.parametrize(
    "text", [text for page, text in blocks("python") if page.name == "README.md" and page.parent == ROOT]
)
def test_the_readmes_python_runs(text):
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=120, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(480, 640)")


@pytest.mark.parametrize("path", sorted((ROOT / "training/recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_has_known_keys_and_its_datasets_options_exist(path):
    check_recipe(path)
    recipe = yaml.safe_load(path.read_text())
    for source in [item for key in ("train", "validation", "unlabeled") for item in recipe.get(key, [])]:
        check_dataset_options(source["dataset"], [f"{name}=" for name in source.get("options", {})])


def test_pieces_of_recipes_have_known_keys(tmp_path):
    pieces = [text for page, text in blocks("yaml") if page.is_relative_to(ROOT / "training")]
    assert pieces
    for text in pieces:
        piece = yaml.safe_load(text)
        for source in [item for key in ("train", "validation", "unlabeled") for item in piece.get(key, [])]:
            check_dataset_options(source["dataset"], [f"{name}=" for name in source["options"]])
        (tmp_path / "piece.yaml").write_text(text)
        check_recipe(tmp_path / "piece.yaml")
