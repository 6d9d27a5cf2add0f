# SPDX-License-Identifier: Apache-2.0
"""What the classes are, what a robot does with them, and how they are painted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.errors import RoadKdError
from road_kd_seg.frame import IGNORE_INDEX
from road_kd_seg.plain_data import Field

_NEGATIVE = ("negative", "pothole", "crack")


class Role(str, Enum):
    """What a class means to the robot; masks are unions of classes of one role."""

    BACKGROUND = "background"
    DRIVABLE = "drivable"
    LANE = "lane"
    OBSTACLE = "obstacle"


@dataclass(frozen=True, slots=True)
class SemanticClass:
    """One class: its id in label images, its name, role and RGB color."""

    id: int
    name: str
    role: Role
    color: tuple[int, int, int]


@dataclass(frozen=True)
class Taxonomy:
    """An ordered set of classes with ids 0..K-1.

    Raises:
        RoadKdError: ids are not 0..K-1 in order, there are none or more than 255, or a name is used twice.
    """

    classes: tuple[SemanticClass, ...]
    mirrored: Mapping[str, str | None] = field(default_factory=dict, compare=False)
    """Classes that are others in a mirror image, by name; None: its mirror image is no class. For training."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.classes) <= IGNORE_INDEX:
            raise RoadKdError(f"taxonomy: {len(self.classes)} classes, expected 1 to {IGNORE_INDEX}")
        if [c.id for c in self.classes] != list(range(len(self.classes))):
            raise RoadKdError(f"taxonomy: ids are {[c.id for c in self.classes]}, expected 0, 1, 2, … in order")
        if len(set(self.names)) != len(self.classes):
            raise RoadKdError(f"taxonomy: class names {self.names} are not unique")

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> list[str]:
        """Class names by id."""
        return [c.name for c in self.classes]

    @cached_property
    def palette(self) -> NDArray[np.uint8]:
        """(256, 3) RGB by label value; ids that are no class are black."""
        palette = np.zeros((256, 3), np.uint8)
        for c in self.classes:
            palette[c.id] = c.color
        return palette

    @cached_property
    def mirror_table(self) -> NDArray[np.uint8]:
        """(256,) table from a label value to that of its mirror image.

        Raises:
            RoadKdError: a class is named left or right and `mirrored` does not say what it becomes.
        """
        unknown = [
            name for name in self.names if {"left", "right"} & set(name.split("_")) and name not in self.mirrored
        ]
        if unknown:
            raise RoadKdError(f"taxonomy: {', '.join(unknown)} change in a mirror image, and nothing says into what")
        table = np.arange(256, dtype=np.uint8)
        for name, other in self.mirrored.items():
            table[self.names.index(name)] = IGNORE_INDEX if other is None else self.names.index(other)
        return table

    def role_table(self, role: Role) -> NDArray[np.uint8]:
        """(256,) table that maps a label value to 255 if its class has `role`, else to 0."""
        table = np.zeros(256, np.uint8)
        table[[c.id for c in self.classes if c.role is role]] = 255
        return table

    @cached_property
    def negative_ids(self) -> list[int]:
        """Ids of the obstacles that lie below the road; told by their names."""
        return [c.id for c in self.classes if c.role is Role.OBSTACLE and any(word in c.name for word in _NEGATIVE)]

    @cached_property
    def drivable_id(self) -> int:
        """Id of the first drivable class; of the first class where none is drivable."""
        return next((c.id for c in self.classes if c.role is Role.DRIVABLE), 0)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Plain data, as model.yaml and the legend topic hold it."""
        return [{"id": c.id, "name": c.name, "role": c.role.value, "color": list(c.color)} for c in self.classes]

    def to_json(self) -> str:
        """The legend as one line of JSON."""
        return json.dumps({"classes": self.to_dicts()})

    @staticmethod
    def from_dicts(classes: Any) -> Taxonomy:
        """Inverse of `to_dicts`.

        Raises:
            RoadKdError: a class lacks a key, has a value of another type or range, or names an unknown role.
        """
        return Taxonomy(tuple(_class_from_field(item) for item in Field(classes, "classes").items(1, IGNORE_INDEX)))


def _class_from_field(item: Field) -> SemanticClass:
    red, green, blue = (value.integer(0, 255) for value in item["color"].items(3, 3))
    role = Role(item["role"].choice([role.value for role in Role]))
    return SemanticClass(item["id"].integer(0, IGNORE_INDEX - 1), item["name"].text(), role, (red, green, blue))


BACKGROUND, ROAD, LANE_MARKING, NEGATIVE_OBSTACLE, POSITIVE_OBSTACLE = range(5)
"""Class ids of the default taxonomy."""

DEFAULT_TAXONOMY = Taxonomy(
    (
        SemanticClass(BACKGROUND, "background", Role.BACKGROUND, (70, 70, 70)),
        SemanticClass(ROAD, "road", Role.DRIVABLE, (30, 60, 170)),
        SemanticClass(LANE_MARKING, "lane_marking", Role.LANE, (255, 255, 255)),
        SemanticClass(NEGATIVE_OBSTACLE, "negative_obstacle", Role.OBSTACLE, (200, 60, 0)),
        SemanticClass(POSITIVE_OBSTACLE, "positive_obstacle", Role.OBSTACLE, (255, 220, 0)),
    )
)
"""Negative obstacles lie below the road (potholes, cracks). Wet patches look like potholes and are road.
The colors stay apart for people without red or green receptors too."""
