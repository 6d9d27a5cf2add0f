# SPDX-License-Identifier: Apache-2.0
"""What a network wants to be fed: size, crop, color statistics and depth encoding. Plain data, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from road_kd_seg.errors import FrameError, RoadKdError
from road_kd_seg.frame import Intrinsics
from road_kd_seg.plain_data import Field

_MIN_SIDE, _MAX_SIDE = 8, 4096
"""Pixels of a side of the input, and of what is cropped for it."""
_MIN_STD = 1e-3

DepthKind = Literal["metric", "inverse", "plane_residual", "relative_height", "jet", "jet_depth", "normals"]


@dataclass(frozen=True, slots=True)
class DepthEncoding:
    """How meters become network input.

    `metric` is z and `inverse` is 1/z, each scaled linearly so that [low, high] becomes [0, 1]; `plane_residual` is
    1/z minus the road plane's, scaled so that ±high becomes ±1 (negative lies below the road); `relative_height` is the
    height above the road in camera heights, squashed to h / (|h| + high), so that ±high becomes ±0.5; `jet` paints the
    plane residual in the jet colors, as Pothole-600 does with transformed disparity; `jet_depth` paints z so, from blue
    at low to red at high, as NO-4K and CPKD do; `normals` are unit surface normals
    (x right, y down, z forward), as SNE-RoadSeg takes them. Invalid pixels become 0.

    Normals need a focal length. It is part of the encoding, not read from the camera: so training and the node agree by
    construction, whatever a data set knows of its cameras, and the node's prediction neither waits for camera_info nor
    changes when it comes. The price: with another true focal length (another camera, an enlarged training crop), the
    tangent of every normal's angle to the optical axis is off by the quotient of the two. Set `focal` to that of the
    cameras which the model is for.
    """

    kind: DepthKind
    low: float = 0.0
    """Meters for `metric` and `jet_depth`, 1/m for `inverse`; unused otherwise."""
    high: float = 0.05
    """Meters for `metric` and `jet_depth`, camera heights for `relative_height`, else 1/m; unused for `normals`."""
    focal: float = 0.5
    """For `normals`: fx over the width of the camera's image, whose pixels count as square and whose principal point as
    its middle. 0.5 is 90 degrees wide, as a RealSense D455's color image; unused otherwise."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(DepthKind):
            raise RoadKdError(
                f"depth encoding '{self.kind}' is unknown: choose one of {', '.join(get_args(DepthKind))}"
            )
        if not self.low < self.high:
            raise RoadKdError(f"depth encoding '{self.kind}': low {self.low} must be below high {self.high}")
        if self.focal <= 0:
            raise RoadKdError(f"depth encoding '{self.kind}': focal {self.focal} must be positive")

    @property
    def channels(self) -> int:
        """Channels of the encoded depth."""
        return 3 if self.kind in ("jet", "jet_depth", "normals") else 1

    def camera(self, height: int, width: int) -> Intrinsics:
        """The camera that `normals` assumes behind a `height` x `width` image."""
        focal_px = self.focal * width
        return Intrinsics(focal_px, focal_px, (width - 1) / 2, (height - 1) / 2, width, height)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for model.yaml."""
        scale = {"focal": self.focal} if self.kind == "normals" else {"low": self.low, "high": self.high}
        return {"kind": self.kind, **scale}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> DepthEncoding:
        """Inverse of `to_dict`.

        Raises:
            RoadKdError: a missing key, or a value of another type or range.
        """
        item = Field(data, "depth")
        kind: Any = item["kind"].choice(get_args(DepthKind))
        if kind == "normals":
            return DepthEncoding("normals", focal=item["focal"].number(0.05, 20))
        return DepthEncoding(kind, item["low"].number(-1e4, 1e4), item["high"].number(1e-6, 1e4))


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What a network wants to be fed."""

    size: tuple[int, int]
    """(h, w) in pixels."""
    depth: DepthEncoding | None = None
    """None: the network takes RGB only."""
    crop: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    """(top, left, bottom, right) of the region that is used, as fractions of the camera image."""
    mean: tuple[float, float, float] = field(default=(0.485, 0.456, 0.406))
    std: tuple[float, float, float] = field(default=(0.229, 0.224, 0.225))

    def __post_init__(self) -> None:
        top, left, bottom, right = self.crop
        if not (0 <= top < bottom <= 1 and 0 <= left < right <= 1):
            raise RoadKdError(
                f"input crop {self.crop}: expected (top, left, bottom, right) fractions with 0 <= top < bottom <= 1"
            )
        if min(self.size) < 1 or min(self.std) <= 0:
            raise RoadKdError(f"input size {self.size} and std {self.std} must be positive")

    def crop_box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """(top, left, bottom, right) of the crop in pixels of a `height` x `width` image.

        Raises:
            FrameError: so small an image that the crop holds no pixel.
        """
        top, left, bottom, right = self.crop
        box = round(top * height), round(left * width), round(bottom * height), round(right * width)
        if box[0] >= box[2] or box[1] >= box[3]:
            raise FrameError(f"image of {width}x{height} pixels: the model's crop {self.crop} leaves none of them")
        return box

    def camera(self, height: int, width: int) -> Intrinsics | None:
        """The depth encoding's camera after a `height` x `width` image was cropped and resized; None without depth."""
        if self.depth is None:
            return None
        whole = self.depth.camera(height, width)
        top, left, bottom, right = self.crop_box(height, width)
        cropped = Intrinsics(whole.fx, whole.fy, whole.cx - left, whole.cy - top, right - left, bottom - top)
        return cropped.scaled(self.size[1], self.size[0])

    def to_dict(self) -> dict[str, Any]:
        """Plain data for model.yaml."""
        return {
            "size": list(self.size),
            "crop": list(self.crop),
            "mean": list(self.mean),
            "std": list(self.std),
            "depth": None if self.depth is None else self.depth.to_dict(),
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> InputSpec:
        """Inverse of `to_dict`.

        Raises:
            RoadKdError: a missing key, or a value of another type or range; sizes and crops that no camera image has.
        """
        item = Field(data, "input")
        height, width = (side.integer(_MIN_SIDE, _MAX_SIDE) for side in item["size"].items(2, 2))
        top, left, bottom, right = (edge.number(0, 1) for edge in item["crop"].items(4, 4))
        (r, g, b), std = ([v.number(-1e3, 1e3) for v in item[key].items(3, 3)] for key in ("mean", "std"))
        if (bottom - top) * height < _MIN_SIDE or (right - left) * width < _MIN_SIDE or min(std) < _MIN_STD:
            raise RoadKdError(
                f"input: crop {[top, left, bottom, right]} of {height}x{width}, expected top, left, bottom, right with"
                f" {_MIN_SIDE} pixels or more between them; std {std}, expected {_MIN_STD} or more"
            )
        depth = item.get("depth")
        return InputSpec(
            size=(height, width),
            depth=None if depth is None else DepthEncoding.from_dict(depth.value),
            crop=(top, left, bottom, right),
            mean=(r, g, b),
            std=(std[0], std[1], std[2]),
        )
