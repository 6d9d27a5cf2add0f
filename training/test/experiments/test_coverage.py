# SPDX-License-Identifier: Apache-2.0
import re
from pathlib import Path

import pytest

from road_kd_training.experiments import EXPERIMENTS

PAGE = Path(__file__).parents[2] / "docs/COVERAGE.md"
TABLES = {
    "CPKD": ("Table I", "Table II", "Table III"),
    "SSLKD": ("Table 1",),
    "IntRA-KD": ("Table 1", "Table 2", "Table 3", "Table 4"),
    "CWD": ("Table 1", "Table 2", "Table 3", "Table 4", "Table 5", "Table 6"),
    "LIX": ("Table I", "Table II", "Table III", "Table IV", "Table V"),
}
FIGURES = {"CPKD": 4, "SSLKD": 4, "IntRA-KD": 10, "CWD": 4, "LIX": 7}


@pytest.fixture
def rows():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")][2:]


def test_the_page_and_the_list_of_experiments_are_one(rows):
    named = [name for _, _, verdict in rows for name in re.findall(r"`([a-z_]+/[a-z0-9_]+)`", verdict)]
    assert sorted(set(named)) == sorted(EXPERIMENTS)


def test_an_experiment_stands_beside_its_own_table(rows):
    for paper, what, verdict in rows:
        if "--pictures" in verdict:  # a figure that shows what a table scores
            continue
        for name in re.findall(r"`[a-z_]+/(?:table|fig)([0-9]+)`", verdict):
            roman = ("", "I", "II", "III", "IV", "V")
            number = what.rpartition(" ")[2]
            assert number == name or (number in roman and roman.index(number) == int(name)), (paper, what)


def test_every_table_is_told(rows):
    for paper, tables in TABLES.items():
        assert {what for of, what, _ in rows if of == paper and what.startswith("Table")} == set(tables)


def test_every_figure_is_told(rows):
    for paper, count in FIGURES.items():
        told = set()
        for what in (what for of, what, _ in rows if of == paper and what.startswith("Fig")):
            numbers = [int(number) for number in re.findall(r"[0-9]+", what)]
            told |= set(range(numbers[0], numbers[-1] + 1)) if " to " in what else set(numbers)
        assert told == set(range(1, count + 1)), paper
