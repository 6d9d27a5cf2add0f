"""Every command that the documentation shows is accepted by the tool's own parser; the Python of the README runs."""

import contextlib
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
from road_kd_seg.replay import cli as replay_cli
from road_kd_seg.tools import seg_benchmark
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
}
WITHOUT_A_PARSER_HERE = {"seg_node", "ros2", "make"}


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
            command = re.search(r"(?:^|\s|/)((?:road-kd|replay_eval|bag_player|seg_benchmark) [^#;|]*)", f" {line}")
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
