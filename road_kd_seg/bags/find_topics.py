# SPDX-License-Identifier: Apache-2.0
"""Which topics of a recording are color, depth, camera_info and labels, by type and name.

Knows the names of the RealSense driver (both namespaces) and SDK, of ZED, Orbbec and Azure Kinect drivers, with and
without image_transport's suffixes. Where two topics could be meant, it asks instead of guessing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from road_kd_seg.bags.cdr import CAMERA_INFO_TYPE, IMAGE_TYPE, IMAGE_TYPES
from road_kd_seg.bags.topics import CAMERA_INFO_TOPIC, COLOR_TOPIC, DEPTH_TOPIC, TopicNames
from road_kd_seg.errors import BagError

_TRANSPORT = re.compile(r"/(compressed|compressedDepth|theora|zstd|ffmpeg)$")
_ALIGNED = re.compile(r"aligned_depth_to_color|depth_to_(rgb|color)|depth_registered|registered")
_DEPTH = re.compile(r"depth")
_NO_DEPTH = re.compile(r"confidence|disparity|infra|mask|overlay|color_?map")
_COLOR = re.compile(r"colou?r|rgb")
_LEFT = re.compile(r"(^|[/_])left")
_GENERIC = re.compile(r"image")
_NO_COLOR = re.compile(
    r"depth|infra|(^|[/_])ir([/_\d]|$)|confidence|disparity|mask|overlay|label|segment|ground_truth|debug"
)


def find_topics(path: Path, topics: Mapping[str, str], counts: Mapping[str, int], wanted: TopicNames) -> TopicNames:
    """The topics of a recording's frames.

    Args:
        path: the recording, for the errors.
        topics: message type by name.
        counts: messages by name; an empty topic is none.
        wanted: names that differ from the defaults are not looked for.

    Returns:
        What is not in the recording keeps the name that was asked for.

    Raises:
        BagError: no color images, a topic of another type, or several that could be meant.
    """
    images = {name for name, kind in topics.items() if kind in IMAGE_TYPES and counts.get(name)}

    def named(name: str, what: str) -> str | None:
        """That topic, as it is or with a suffix of image_transport."""
        if counts.get(name) and topics[name] not in IMAGE_TYPES:
            raise _wrong_type(path, name, topics[name], IMAGE_TYPE)
        return name if name in images else _one(path, (i for i in images if without_transport(i) == name), what)

    color = named(wanted.color, "color")
    if color is None and wanted.color == COLOR_TOPIC:
        color = _color(path, images)
    if color is None:
        raise BagError(
            f"bag {path}: no color images on {wanted.color}; it holds {_listing(topics, counts)}:"
            " name the topics it was recorded with (--color-topic, --depth-topic, --camera-info-topic)"
        )
    depth = named(wanted.depth, "depth")
    if depth is None and wanted.depth == DEPTH_TOPIC:
        depth = _depth(path, images - {color}, color)
    camera_info = wanted.camera_info
    if counts.get(camera_info) and topics[camera_info] != CAMERA_INFO_TYPE:
        raise _wrong_type(path, camera_info, topics[camera_info], CAMERA_INFO_TYPE)
    if camera_info == CAMERA_INFO_TOPIC:
        infos = {name for name, kind in topics.items() if kind == CAMERA_INFO_TYPE and counts.get(name)}
        camera_info = _camera_info(infos, color) or camera_info
    return TopicNames(color, depth or wanted.depth, camera_info, named(wanted.label, "label") or wanted.label)


def without_transport(topic: str) -> str:
    """The name that image_transport's suffix was added to."""
    return _TRANSPORT.sub("", topic)


def _color(path: Path, images: set[str]) -> str | None:
    possible = [i for i in images if not _NO_COLOR.search(i.lower()) and not _is_right_eye(i, images)]
    for rule in (_COLOR, _LEFT, _GENERIC):
        if candidates := [image for image in possible if rule.search(image.lower())]:
            return _one(path, _prefer_rectified(candidates), "color")
    return None


def _is_right_eye(image: str, images: set[str]) -> bool:
    """Whether it is the right image of a stereo pair, whose depth is of the left one; a camera has depth of its own."""
    before, right, _ = image.lower().partition("right")
    return bool(right) and not any(i.lower().startswith(before + right) and _DEPTH.search(i.lower()) for i in images)


def _depth(path: Path, images: set[str], color: str) -> str | None:
    possible = [image for image in images if _DEPTH.search(image.lower()) and not _NO_DEPTH.search(image.lower())]
    # Of several cameras, the one that color is of.
    shared = {image: _shared_parts(image, color) for image in possible}
    possible = [image for image in possible if shared[image] == max(shared.values())]
    for rule in (_ALIGNED, _DEPTH):
        if candidates := [image for image in possible if rule.search(image.lower())]:
            return _one(path, candidates, "depth")
    return None


def _prefer_rectified(names: list[str]) -> list[str]:
    """ZED publishes one image raw, rectified and gray, as rgb and as left; depth is registered to the rectified one."""
    for pattern, wanted in (("gray", False), ("rect", True), ("rgb", True)):
        names = [name for name in names if (pattern in name.lower()) == wanted] or names
    return names


def _one(path: Path, candidates: Iterable[str], what: str) -> str | None:
    """The only candidate; the raw one of a topic that was recorded with a transport as well.

    Raises:
        BagError: several.
    """
    # As recorded, then without loss: a depth image in `compressed` may be a JPEG.
    names = sorted(candidates, key=lambda name: (what == "depth" and name.endswith("/compressed"), name))
    streams: dict[str, str] = {}
    for name in names:  # the raw topic sorts before the same with a suffix
        streams.setdefault(without_transport(name), name)
    if len(streams) > 1:
        raise BagError(
            f"bag {path}: {len(streams)} topics could be the {what} images ({', '.join(streams.values())}):"
            f" name one with --{what}-topic"
        )
    return next(iter(streams.values()), None)


def _camera_info(infos: set[str], color: str) -> str | None:
    """The camera_info beside the color image or below it."""
    base = without_transport(color)
    beside = (f"{base.rsplit('/', levels)[0]}/camera_info" for levels in (1, 2))
    return next((name for name in (f"{base}/camera_info", *beside) if name in infos), None)


def _shared_parts(one: str, other: str) -> int:
    """How many leading parts of two names are equal."""
    shared = 0
    for left, right in zip(one.strip("/").split("/"), other.strip("/").split("/"), strict=False):
        if left != right:
            break
        shared += 1
    return shared


def _listing(topics: Mapping[str, str], counts: Mapping[str, int]) -> str:
    """The image topics; without any, the first of all others."""
    images = {name: kind for name, kind in topics.items() if kind in IMAGE_TYPES and counts.get(name)}
    shown = images or dict(sorted(topics.items())[:10])
    more = "" if images or len(topics) <= 10 else f" and {len(topics) - 10} more topics"
    return (", ".join(f"{name} ({kind})" for name, kind in sorted(shown.items())) or "no topic at all") + more


def _wrong_type(path: Path, topic: str, found: str, expected: str) -> BagError:
    return BagError(f"bag {path}: {topic} is of type {found}, expected {expected}: name another topic")
