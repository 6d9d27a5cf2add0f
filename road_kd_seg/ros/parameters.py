# SPDX-License-Identifier: Apache-2.0
"""The node's parameters: what they are called, what they may be, and a consistent reading of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from itertools import pairwise
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from road_kd_seg.backends import BACKENDS
from road_kd_seg.errors import RoadKdError, shown
from road_kd_seg.rotation import ROTATIONS

IMAGE_TRANSPORTS = ("raw", "compressed")

_TYPED_LIKENESS, _FILE_LIKENESS = 0.6, 0.75
"""From where on difflib's ratio makes one name the other misspelt; a file's device_type or model_path is another's."""


def _parameter(default: Any, description: str, *, low: float | None = None, high: float | None = None) -> Any:
    return field(default=default, metadata={"description": description, "range": None if low is None else (low, high)})


@dataclass(frozen=True)
class Settings:
    """One reading of the parameters; the defaults here are the node's."""

    model: str = _parameter("road_student", "Model bundle: a folder, or the name of one that ships with road_kd_seg.")
    rgb_only_model: str = _parameter(
        "", "RGB bundle with the same classes that takes over while depth is missing; empty: none."
    )
    trusted_key: str = _parameter(
        "", "Public key (PEM file): only bundles that its holder signed are loaded (SECURITY.md); empty: any."
    )
    device: str = _parameter("auto", "auto (CUDA if there is one), cpu, cuda or cuda:N.")
    precision: str = _parameter(
        "auto", "auto (fp16 on CUDA; on a CPU int8 if the model has it, else fp32), fp32, fp16, bf16 or int8."
    )
    backend: str = _parameter("auto", f"Inference engine: auto, {', '.join(BACKENDS)}; see below.")
    num_threads: int = _parameter(
        0, "CPU threads of the inference engine; 0: half of the CPUs, at most four.", low=0, high=64
    )
    sync_slop_s: float = _parameter(
        0.0,
        "Largest stamp difference of color and depth, seconds; 0: equal stamps only, as RealSense's aligned depth has;"
        " else about half a frame period.",
        low=0.0,
        high=1.0,
    )
    sync_queue_size: int = _parameter(5, "Images of each kind that may wait for their partner.", low=1, high=100)
    depth_timeout_s: float = _parameter(
        1.0,
        "Depth counts as missing once color is this much newer, by their stamps, seconds; until the first depth image,"
        " than the first color image.",
        low=0.05,
        high=60.0,
    )
    require_same_frame: bool = _parameter(
        True,
        "Drop pairs whose frame ids differ; false for drivers that register depth to color and stamp it with its own"
        " frame.",
    )
    rotate: int = _parameter(
        0, "0, 90, 180 or 270 degrees clockwise that make the camera's image upright; outputs are as it sees."
    )
    temporal_smoothing: float = _parameter(
        0.0, "Share of past frames in the class probabilities where nothing moves; 0: none.", low=0.0, high=0.95
    )
    min_confidence: float = _parameter(
        0.0, "Pixels less sure than this are left out of the masks and the points.", low=0.0, high=1.0
    )
    max_range_m: float = _parameter(
        10.0, "Obstacle points further along the optical axis are left out, meters.", low=0.1, high=100.0
    )
    negative_obstacle_height_m: float = _parameter(
        0.15, "Height above the road to which ~/costmap_points lifts negative obstacles, meters.", low=0.0, high=5.0
    )
    ground_points_stride: int = _parameter(8, "~/ground_points holds every N-th pixel of both axes.", low=1, high=100)
    points_stride: int = _parameter(
        1,
        "~/points alike; costmap layers that compare it with the masks need 1.",
        low=1,
        high=100,
    )
    target_frame: str = _parameter(
        "", "Frame of all points, by tf2 at the moment of the image; empty: the camera's optical frame."
    )
    min_valid_depth: float = _parameter(
        0.1,
        "Share of pixels with depth below which depth is warned of, and rgb_only_model takes over.",
        low=0.0,
        high=1.0,
    )
    overlay_alpha: float = _parameter(
        0.5, "Overlay: 0 shows the image only, 1 the class colors only.", low=0.0, high=1.0
    )
    max_latency_ms: float = _parameter(
        300.0,
        "Diagnostics warn when the 95th percentile of the latency is above this, milliseconds.",
        low=1.0,
        high=1e5,
    )
    max_superseded_share: float = _parameter(
        0.5,
        "Diagnostics warn when more of the color images of the last ten seconds were superseded.",
        low=0.0,
        high=1.0,
    )
    image_transport: str = _parameter("raw", "raw, or compressed (topics .../compressed and .../compressedDepth).")
    depth_image_transport: str = _parameter("", "The same for depth alone; empty: as image_transport.")
    autostart: bool = _parameter(True, "Configure and activate without being asked.")


LIVE = frozenset(
    {
        "model",
        "rgb_only_model",
        "temporal_smoothing",
        "min_confidence",
        "max_range_m",
        "negative_obstacle_height_m",
        "ground_points_stride",
        "points_stride",
        "min_valid_depth",
        "overlay_alpha",
        "max_latency_ms",
        "max_superseded_share",
    }
)
"""May change at any time; the others only while the node is unconfigured."""


def declare(node: Node) -> None:
    """Declare all parameters with their descriptions and ranges."""
    for item in fields(Settings):
        node.declare_parameter(item.name, item.default, _descriptor(item.default, **item.metadata))


def refuse_unknown(node: Node, argv: Sequence[str]) -> None:
    """Refuse names that ROS would ignore without a word: the node would run with defaults that nobody chose.

    What a parameter file holds may be for other nodes (`/**`), so of those only misspelt names are refused; others
    are logged.

    Args:
        node: after `declare`.
        argv: command line with `--ros-args`.

    Raises:
        RoadKdError: names the nearest parameter.
    """
    typed = {value.partition(":=")[0].rpartition(":")[2] for flag, value in pairwise(argv) if flag in ("-p", "--param")}
    known = [item.name for item in fields(Settings)]
    for name in node._parameter_overrides:
        if node.has_parameter(name) or name.startswith("qos_overrides."):
            continue
        nearest = get_close_matches(name, known, n=1, cutoff=_TYPED_LIKENESS if name in typed else _FILE_LIKENESS)
        if nearest or name in typed:
            meant = f"did you mean '{nearest[0]}'? " if nearest else ""
            raise RoadKdError(f"parameter '{name}' is unknown: {meant}seg_node --help lists them all")
        node.get_logger().warning(f"parameter {shown(name)} is not this node's and has no effect")


def raw(node: Node) -> Settings:
    """What the parameters say now, right or wrong."""
    return Settings(**{item.name: node.get_parameter(item.name).value for item in fields(Settings)})


def read(node: Node) -> Settings:
    """What the parameters say now.

    Raises:
        RoadKdError: a value is wrong in a way that no range can express.
    """
    return _checked(raw(node))


def merge(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """Settings after a change of live parameters; parameters of others are ignored.

    Raises:
        RoadKdError: a change has to wait until the node is unconfigured, or a value is wrong.
    """
    own = {item.name: getattr(settings, item.name) for item in fields(Settings)}
    changed = {name: value for name, value in changes.items() if name in own and value != own[name]}
    fixed = sorted(changed.keys() - LIVE)
    if fixed:
        raise RoadKdError(
            f"parameter {', '.join(fixed)}: cannot change while the node is configured: deactivate and clean up first"
        )
    return _checked(Settings(**{**own, **changed}))


def _checked(settings: Settings) -> Settings:
    expected = " or ".join(IMAGE_TRANSPORTS)
    if settings.image_transport not in IMAGE_TRANSPORTS:
        raise RoadKdError(f"parameter image_transport: got '{settings.image_transport}', expected {expected}")
    if settings.depth_image_transport not in ("", *IMAGE_TRANSPORTS):
        got = settings.depth_image_transport
        raise RoadKdError(f"parameter depth_image_transport: got '{got}', expected {expected}, or nothing")
    if settings.rotate not in ROTATIONS:
        expected = ", ".join(map(str, ROTATIONS))
        raise RoadKdError(f"parameter rotate: got {settings.rotate}, expected one of {expected}")
    if not settings.model:
        raise RoadKdError("parameter model: it is empty, expected the folder or the name of a model bundle")
    return settings


def _descriptor(default: Any, description: str, range: tuple[float, float] | None) -> ParameterDescriptor:  # noqa: A002
    descriptor = ParameterDescriptor(description=description)
    if range is None:
        return descriptor
    low, high = range
    if isinstance(default, int):
        descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=0)]
    else:
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
    return descriptor
