# SPDX-License-Identifier: Apache-2.0
"""What is on a road and where, as plain data.

Road coordinates: s meters along the road, t meters to the right of its middle. Everything here is frozen and hashable,
so that what is expensive to build from it can be cached.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.taxonomy import POSITIVE_OBSTACLE

Rgb = tuple[float, float, float]
StainKind = Literal["wet", "shadow", "foliage", "oil", "patch", "manhole"]
Filling = Literal["dark", "gravel", "sand"]
SolidKind = Literal["box", "cone", "barrel", "kerb", "rock", "car", "cabin", "block", "limb", "head", "house"]
BillboardKind = Literal["tree", "bush", "post", "lamp"]
Verge = Literal["gravel", "grass", "pavement"]

SEGMENT_M = 8.0
"""Length of the pieces in which a road's features are drawn."""


@dataclass(frozen=True, slots=True)
class Light:
    """Sun and sky of one drive; linear RGB, about 1 in sum."""

    to_sun: tuple[float, float, float]
    """Unit vector in world coordinates."""
    sun: Rgb
    """Irradiance of a surface that faces the sun."""
    sky: Rgb
    """Irradiance from the rest of the sky; all that a shadow gets."""
    zenith: Rgb
    horizon: Rgb

    @property
    def shadow_gain(self) -> float:
        """Brightness of a shadow on the ground relative to the lit ground."""
        return self.sky[1] / (self.sky[1] + self.sun[1] * self.to_sun[2])


@dataclass(frozen=True, slots=True)
class LaneLine:
    """A painted line along the road."""

    t_m: float
    width_m: float
    dash_m: float
    gap_m: float
    """0 for a solid line."""
    yellow: bool


class MarkKind(Enum):
    """Paint that is not a line along the road."""

    ZEBRA = "zebra"
    STOP_LINE = "stop line"
    ARROW_AHEAD = "arrow ahead"
    ARROW_RIGHT = "arrow right"
    ARROW_LEFT = "arrow left"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Mark:
    """A piece of paint centered at (s_m, t_m)."""

    kind: MarkKind
    s_m: float
    t_m: float
    length_m: float
    width_m: float
    text: str = ""


@dataclass(frozen=True, slots=True)
class Stain:
    """Something flat that changes the road's look and nothing else."""

    kind: StainKind
    shape: int
    """Which blob."""
    s_m: float
    t_m: float
    length_m: float
    width_m: float
    yaw_rad: float
    strength: float
    """0 to 1."""


@dataclass(frozen=True, slots=True)
class Defect:
    """A pothole or a crack, in a square of side 2 * reach_m around (s_m, t_m)."""

    kind: Literal["pothole", "crack"]
    seed: int
    s_m: float
    t_m: float
    reach_m: float
    size_m: float
    """Mean radius of a pothole, width of a crack."""
    depth_m: float
    filling: Filling
    resolution_m: float


@dataclass(frozen=True, slots=True)
class Solid:
    """An obstacle standing on the road."""

    kind: SolidKind
    s_m: float
    t_m: float
    yaw_rad: float
    size_m: tuple[float, float, float]
    """Length, width (or diameters), height."""
    rgb: Rgb
    base_m: float = 0.0
    """Of its foot above the ground: parts of cars and people stand on others."""
    sight_m: float = 25.0
    """Farther away it is not drawn."""
    label: int = POSITIVE_OBSTACLE


@dataclass(frozen=True, slots=True)
class Billboard:
    """A picture that stands upright beside the road."""

    kind: BillboardKind
    shape: int
    s_m: float
    t_m: float
    width_m: float
    height_m: float


@dataclass(frozen=True, slots=True)
class Terrain:
    """How a road differs from a plane."""

    curve_per_m: float
    """Its height rises by this times the square of the distance ahead; negative over a crest."""
    crown: float
    """Fall from the middle to the edges, meters per meter."""
    bumps_m: float
    """Deviation of the waves in it."""
    kerb_m: float
    """Height of what lies beside the asphalt; negative where the asphalt is the higher one, 0 without a step."""


@dataclass(frozen=True, slots=True)
class Weather:
    """What night, rain and snow do; 0 is a dry day, 1 the most of it."""

    night: float = 0.0
    street_lamps: bool = False
    wet: float = 0.0
    rain: float = 0.0
    snow_cover: float = 0.0
    snowfall: float = 0.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stands on and along a varied road; rates are numbers per segment."""

    cars: float
    people: float
    houses: float
    parapet: bool


@dataclass(frozen=True, slots=True)
class Road:
    """Everything that stays the same along one road."""

    seed: int
    style: Literal["rural", "urban", "close_up"]
    lane_width_m: float
    num_lanes: int
    ego_t_m: float
    """Where the camera drives."""
    margin_m: float
    """Asphalt beyond the outermost line."""
    bend_m: float
    """Amplitude of the road's sideways swing."""
    bend_length_m: float
    bend_phase: float
    lines: tuple[LaneLine, ...]
    paint_wear: float
    """0 fresh, 1 mostly gone."""
    asphalt_kind: int
    asphalt_rgb: Rgb
    asphalt_px_m: float
    """Size of a texture pixel on the road."""
    grain: float
    mottle: float
    texture_offset_m: tuple[float, float]
    verge: Verge
    verge_width_m: float
    ground_rgb: Rgb
    wall: bool
    defect_rate: float
    solid_rate: float
    clear_path: bool
    """Whether a strip around ego_t_m is kept free of obstacles, as a drive needs."""
    light: Light
    terrain: Terrain | None = None
    """None: a plane."""
    weather: Weather | None = None
    """None: a dry day."""
    surroundings: Surroundings | None = None
    """None: no traffic."""

    @property
    def half_width_m(self) -> float:
        """From the middle to the asphalt's mean edge."""
        return self.num_lanes * self.lane_width_m / 2 + self.margin_m

    def middle_x(self, y_m: NDArray[np.floating] | float) -> NDArray[np.floating]:
        """World x of the road's middle at world y (= s)."""
        rate = 2 * math.pi / self.bend_length_m
        return self.bend_m * np.sin(np.multiply(y_m, rate) + self.bend_phase)

    def heading_rad(self, s_m: float) -> float:
        """Direction of the road at s."""
        rate = 2 * math.pi / self.bend_length_m
        return math.atan(self.bend_m * rate * math.cos(s_m * rate + self.bend_phase))


@dataclass(frozen=True, slots=True)
class Segment:
    """The features of SEGMENT_M meters of road."""

    marks: tuple[Mark, ...]
    stains: tuple[Stain, ...]
    defects: tuple[Defect, ...]
    solids: tuple[Solid, ...]
    billboards: tuple[Billboard, ...]
