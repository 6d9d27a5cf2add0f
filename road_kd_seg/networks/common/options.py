# SPDX-License-Identifier: Apache-2.0
"""What a bundle's manifest may ask of a network's builder: options of the right type, in a range that can be built."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, Union

from road_kd_seg.errors import RoadKdError, shown
from road_kd_seg.plain_data import Field

_RANGES = {"depth_channels": (0, 16), "lane_existence": (0, 64), "image_size": (8, 4096)}
_RANGE = (0, 1024)
"""Of numbers with another name."""


def check_options(name: str, builder: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Refuse what `builder(num_classes, **options)` should not be called with.

    Args:
        name: of the network, for the error.
        builder: its signature says which options there are, and their types.
        options: plain data that somebody else wrote.

    Raises:
        RoadKdError: an unknown option, another type, a number out of range, or `pretrained`: its weights are the
            bundle's, and none are to be downloaded.
    """
    parameters = dict(list(inspect.signature(builder, eval_str=True).parameters.items())[1:])
    known = {key: item.annotation for key, item in parameters.items() if item.kind is not item.VAR_KEYWORD}
    known.pop("pretrained", None)
    for key, value in options.items():
        if key not in known:
            allowed = ", ".join(known) or "none"
            raise RoadKdError(f"network '{name}' has no option {shown(key)} in a bundle, expected {allowed}")
        _check(Field(value, f"option {key} of network '{name}'"), known[key], _RANGES.get(key, _RANGE))


def _check(field: Field, kind: Any, limits: tuple[int, int]) -> None:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        if field.value is None and type(None) in arguments:
            return
        kind = next(argument for argument in arguments if argument is not type(None))
        _check(field, kind, limits)
    elif origin is Literal:
        field.choice(arguments)
    elif origin is tuple:
        for item, argument in zip(field.items(len(arguments), len(arguments)), arguments, strict=True):
            _check(item, argument, limits)
    elif kind is bool:
        field.flag()
    elif kind is int:
        field.integer(*limits)
    elif kind is float:
        field.number(*limits)
    elif kind is str:
        field.text()
    else:
        raise RoadKdError(f"{field.name} cannot be set in a bundle")
