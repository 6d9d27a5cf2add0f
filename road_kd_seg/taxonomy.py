"""What the classes are, what a robot does with them, and how they are painted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.errors import RoadKdError


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
        RoadKdError: ids are not 0..K-1 in order, or a name is used twice.
    """

    classes: tuple[SemanticClass, ...]

    def __post_init__(self) -> None:
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

    def role_table(self, role: Role) -> NDArray[np.uint8]:
        """(256,) table that maps a label value to 255 if its class has `role`, else to 0."""
        table = np.zeros(256, np.uint8)
        table[[c.id for c in self.classes if c.role is role]] = 255
        return table

    def to_dicts(self) -> list[dict[str, Any]]:
        """Plain data, as model.yaml and the legend topic hold it."""
        return [{"id": c.id, "name": c.name, "role": c.role.value, "color": list(c.color)} for c in self.classes]

    def to_json(self) -> str:
        """The legend as one line of JSON."""
        return json.dumps({"classes": self.to_dicts()})

    @staticmethod
    def from_dicts(classes: Iterable[Mapping[str, Any]]) -> Taxonomy:
        """Inverse of `to_dicts`.

        Raises:
            RoadKdError: a class lacks a key or names an unknown role.
        """
        try:
            parsed = tuple(
                SemanticClass(
                    int(c["id"]),
                    str(c["name"]),
                    Role(c["role"]),
                    (int(c["color"][0]), int(c["color"][1]), int(c["color"][2])),
                )
                for c in classes
            )
        except (KeyError, ValueError, TypeError, IndexError) as error:
            roles = ", ".join(role.value for role in Role)
            raise RoadKdError(
                f"taxonomy: each class needs id, name, role ({roles}) and color [r, g, b]: {error}"
            ) from error
        return Taxonomy(parsed)


DEFAULT_TAXONOMY = Taxonomy(
    (
        SemanticClass(0, "background", Role.BACKGROUND, (70, 70, 70)),
        SemanticClass(1, "road", Role.DRIVABLE, (128, 64, 128)),
        SemanticClass(2, "lane_marking", Role.LANE, (255, 255, 255)),
        SemanticClass(3, "negative_obstacle", Role.OBSTACLE, (230, 25, 75)),
        SemanticClass(4, "positive_obstacle", Role.OBSTACLE, (255, 160, 0)),
    )
)
"""Negative obstacles lie below the road (potholes, cracks). Wet patches look like potholes and are road."""
