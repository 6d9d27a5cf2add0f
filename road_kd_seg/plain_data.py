# SPDX-License-Identifier: Apache-2.0
"""YAML and JSON that other people wrote: parsed within bounds, then read field by field, each typed and ranged."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from typing import Any

import yaml

from road_kd_seg.errors import RoadKdError, printable, shown

MAX_BYTES = 256_000
_BYTES_PER_NODE = 12
"""A file may hold a value for so many of the bytes that it may have, each alias counted as often as it is used."""
_MAX_DEPTH = 32
_MAX_SCALAR = 4_000
"""Characters of one value: YAML takes 1:2:3 for a number of base 60, and time that grows with its length squared."""
_MAX_NAME = 200

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C loader is there wherever libyaml is


class _Loader(_Base):
    """Maps, lists, text, numbers, booleans and null: dates stay text, and tags, sets and merge keys are refused."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [
            (tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] in ("null", "bool", "int", "float")
        ]
        for first, resolvers in _Base.yaml_implicit_resolvers.items()
    }
    yaml_constructors = {  # noqa: RUF012
        tag: constructor
        for tag, constructor in _Base.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in ("null", "bool", "int", "float", "str", "seq", "map")
    }


def parse_yaml(content: bytes, what: str, limit: int = MAX_BYTES) -> Any:
    """Plain data of a YAML document.

    Raises:
        RoadKdError: no YAML, more than `limit` bytes, too deep, or too large once its aliases are written out.
    """
    _check_size(content, what, limit)
    try:
        problem = _yaml_problem(content, limit // _BYTES_PER_NODE)
        if not problem:
            return yaml.load(content, _Loader)
    except Exception as error:  # whatever the parser stumbles over
        problem = printable(" ".join(str(error).split()), 200) or type(error).__name__
    raise RoadKdError(f"{what} cannot be read: {problem}")


def parse_json(content: bytes, what: str, limit: int = MAX_BYTES) -> Any:
    """Plain data of a JSON document.

    Raises:
        RoadKdError: no JSON, or more than `limit` bytes.
    """
    _check_size(content, what, limit)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RoadKdError(f"{what} cannot be read: {printable(error, 200)}") from error


class Field:
    """A value out of parsed data, with the name by which errors call it."""

    def __init__(self, value: Any, name: str) -> None:
        self.value = value
        self.name = name

    def __getitem__(self, key: str) -> Field:
        """An entry of a map."""
        if not isinstance(self.value, Mapping):
            raise self._error("a map")
        if key not in self.value:
            raise RoadKdError(f"{self._join(key)} is missing")
        return Field(self.value[key], self._join(key))

    def get(self, key: str) -> Field | None:
        """An entry of a map; None if it is missing or null."""
        if isinstance(self.value, Mapping) and self.value.get(key) is None:
            return None
        return self[key]

    def items(self, low: int, high: int) -> list[Field]:
        """The entries of a list that has from `low` to `high` of them."""
        if not isinstance(self.value, list | tuple) or not low <= len(self.value) <= high:
            count = f"{low}" if low == high else f"{low} to {high}"
            raise self._error(f"a list of {count} values")
        return [Field(value, f"{self.name}[{i}]") for i, value in enumerate(self.value)]

    def map(self) -> dict[str, Any]:
        """A map whose keys are text; its values are for whoever reads them next."""
        if not isinstance(self.value, Mapping) or not all(isinstance(key, str) for key in self.value):
            raise self._error("a map with text as keys")
        return dict(self.value)

    def text(self) -> str:
        """A name: 1 to 200 characters that can be printed."""
        if (
            not isinstance(self.value, str)
            or not self.value.isprintable()
            or not 0 < len(self.value.strip()) <= _MAX_NAME
        ):
            raise self._error(f"text of 1 to {_MAX_NAME} printable characters")
        return self.value

    def choice(self, choices: Collection[str]) -> str:
        """One of several names."""
        if not isinstance(self.value, str) or self.value not in choices:
            raise self._error(f"one of {', '.join(choices)}")
        return self.value

    def flag(self) -> bool:
        """true or false."""
        if not isinstance(self.value, bool):
            raise self._error("true or false")
        return self.value

    def integer(self, low: int, high: int) -> int:
        """A whole number in a range."""
        if not isinstance(self.value, int) or isinstance(self.value, bool) or not low <= self.value <= high:
            raise self._error(f"a whole number from {low} to {high}")
        return self.value

    def number(self, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number in a range."""
        number = self.value if isinstance(self.value, int | float) and not isinstance(self.value, bool) else math.nan
        if not low <= number <= high or not abs(number) < 1e308:
            limits = "" if math.isinf(low) and math.isinf(high) else f" from {low:g} to {high:g}"
            raise self._error(f"a finite number{limits}")
        return float(number)

    def _join(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key

    def _error(self, expected: str) -> RoadKdError:
        return RoadKdError(f"{self.name or 'it'} is {shown(self.value)}, expected {expected}")


def _check_size(content: bytes, what: str, limit: int = MAX_BYTES) -> None:
    if len(content) > limit:
        raise RoadKdError(f"{what} has {len(content)} bytes, expected at most {limit}")


def _yaml_problem(content: bytes, max_nodes: int) -> str:
    """Why a document must not be constructed; empty if it may. Walks the parser's events, so it builds nothing."""
    anchors: dict[str, int] = {}
    open_: list[tuple[str | None, int]] = []
    nodes = 0
    for event in yaml.parse(content, _Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            open_.append((event.anchor, nodes))
            nodes += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_.pop()
            if anchor is not None:
                anchors[anchor] = nodes - before
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in anchors:
                return f"alias {shown(event.anchor)} stands before, or within, what it is for"
            nodes += anchors[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            nodes += 1
            if event.anchor is not None:
                anchors[event.anchor] = 1
            if len(event.value) > _MAX_SCALAR:
                return f"a value of {len(event.value)} characters, expected at most {_MAX_SCALAR}"
        if nodes > max_nodes or len(open_) > _MAX_DEPTH:
            return f"more than {max_nodes} values, aliases written out, or more than {_MAX_DEPTH} levels"
    return ""
