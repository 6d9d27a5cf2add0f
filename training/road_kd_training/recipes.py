# SPDX-License-Identifier: Apache-2.0
"""Recipes: YAML files of `TrainConfig`'s fields."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from road_kd_training.config import TrainConfig
from road_kd_training.errors import TrainingError, suggest


def field_names(kind: Any = TrainConfig) -> Iterator[str]:
    """Every key that a recipe may hold, at any depth."""
    for name, hint in typing.get_type_hints(kind).items():
        yield name
        nested = _dataclass_in(hint)
        if nested is not None:
            yield from field_names(nested)


def check_recipe(path: Path) -> None:
    """Refuse keys that no field has: jsonargparse drops some of them silently.

    Raises:
        TrainingError: an unknown key, with the nearest known one.
    """
    _refuse_unknown(yaml.safe_load(path.read_text(encoding="utf-8")), TrainConfig, f"{path}: ")


def _refuse_unknown(data: Any, kind: Any, where: str) -> None:
    hints = typing.get_type_hints(kind)
    for key, value in data.items() if isinstance(data, dict) else ():
        if key not in hints:
            raise TrainingError(f"{where}'{key}' is unknown: {suggest(str(key), hints)}")
        nested = _dataclass_in(hints[key])
        if nested is not None:
            for item in value if isinstance(value, list) else [value]:
                _refuse_unknown(item, nested, f"{where}{key}: ")


def _dataclass_in(hint: Any) -> Any:
    """The dataclass of a field, a list of it or an optional one; None if there is none."""
    candidates = (hint, *typing.get_args(hint))
    return next((candidate for candidate in candidates if dataclasses.is_dataclass(candidate)), None)
