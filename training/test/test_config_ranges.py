# SPDX-License-Identifier: Apache-2.0
"""Every number of a recipe, those of tomorrow included, is refused by name where it cannot be meant."""

import dataclasses
import math
import re
import typing

import pytest

from road_kd_training.cli import main
from road_kd_training.config import DistillerConfig, TrainConfig
from road_kd_training.config_ranges import RANGES, check_numbers
from road_kd_training.engine import Trainer
from road_kd_training.errors import TrainingError

REQUIRED = {
    "name": "tiny", "network": None, "train": [], "validation": [], "output": "run", "dataset": "bag", "method": "kd"
}  # fmt: skip
NONSENSE = [math.nan, math.inf, -math.inf, 1e300, -1e300, 10**4000, "12", True]


def holds_numbers(hint):
    return hint in (int, float) or any(holds_numbers(part) for part in typing.get_args(hint))


def numeric_fields():
    for kind in RANGES:
        for name, hint in typing.get_type_hints(kind).items():
            if holds_numbers(hint):
                yield kind, name


def config_with(kind, name, value):
    """A configuration of which one number is another; where the field holds several, the first."""
    given = {field.name: REQUIRED[field.name] for field in dataclasses.fields(kind) if field.name in REQUIRED}
    whole = kind(**given)
    hint = typing.get_type_hints(kind)[name]
    shapes = [typing.get_origin(part) for part in (hint, *typing.get_args(hint))]
    if dict in shapes:
        value = {"first": value}
    elif list in shapes or tuple in shapes:
        value = [value]
    return dataclasses.replace(whole, **{name: value})


@pytest.mark.parametrize(("kind", "name"), numeric_fields())
def test_every_number_has_a_range_and_is_refused_by_name_outside_of_it(kind, name):
    low, high = RANGES[kind][name]
    for value in (low, high):
        check_numbers(config_with(kind, name, value))
    for value in (*NONSENSE, math.nextafter(low, -math.inf), math.nextafter(high, math.inf)):
        with pytest.raises(TrainingError, match=re.escape(name)) as caught:
            check_numbers(config_with(kind, name, value))
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 200
        assert f"expected a number from {low:.10g} to {high:.10g}" in str(caught.value)


def test_every_part_of_a_recipe_is_looked_at():
    nested = {TrainConfig}
    for kind in list(RANGES):
        for hint in typing.get_type_hints(kind).values():
            nested |= {part for part in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(part)}
    assert nested == RANGES.keys()


def test_the_place_within_a_recipe_is_named(tmp_path):
    methods = [DistillerConfig("kd"), DistillerConfig("cwd", weights={"channel_kl": math.nan})]
    config = TrainConfig("tiny", None, [], [], str(tmp_path / "run"), distillers=methods)
    with pytest.raises(TrainingError, match=r"distillers\[1\]\.weights\.channel_kl is nan, expected a number from"):
        Trainer(config)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("value", [".nan", "-1", "1e300"])
def test_a_recipe_costs_one_line_and_no_folder(recipe, tmp_path, capsys, value):
    assert main(["train", "--config", str(recipe), "--learning-rate", value, "--output", str(tmp_path / "new")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"error: learning_rate is {float(value.lstrip('.'))}, expected a number from 0 to 1000"
    assert not (tmp_path / "new").exists()
