# SPDX-License-Identifier: Apache-2.0
"""Exports of annotation tools → annotations: LabelMe, COCO, CVAT, Roboflow and Label Studio. H W image size."""

from __future__ import annotations

import base64
import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import cv2
import numpy as np

from road_kd_seg.files import read_text
from road_kd_seg.image_file import decode_image
from road_kd_seg.label_files import read_raw_label, visible_files
from road_kd_training.datasets.common.rle import check_counts, decode_counts, fill_columns, fill_rows
from road_kd_training.datasets.common.sample import read_json
from road_kd_training.errors import DatasetError
from road_kd_training.label_import.annotation import (
    IMAGE_SUFFIXES,
    MAX_EXPORT_BYTES,
    Annotation,
    Images,
    Paint,
    Shape,
    box,
    ellipse,
    image_named,
    images_by_name,
    mask,
    polygon,
)

_BRUSH = re.compile(r"task-(\d+)-annotation-\d+(?:-by-\d+)?(?:-tag-)?(.+?)-(\d+)\.png", re.IGNORECASE)


def labelme(source: Path, images: Images) -> Iterator[Annotation]:
    """LabelMe, AnyLabeling, X-AnyLabeling: one JSON file for each image."""
    for path in _files(source, ".json"):
        content = read_json(path, limit=MAX_EXPORT_BYTES)
        with _as_dataset_error(path):
            shapes = [Shape(shape["label"], _labelme_shape(shape)) for shape in content["shapes"]]
            size = (int(content["imageHeight"]), int(content["imageWidth"])) if content.get("imageHeight") else None
            yield Annotation(image_named(content["imagePath"], images, path), size, shapes)


def _labelme_shape(shape: Mapping[str, Any]) -> Paint:
    kind, points = shape.get("shape_type", "polygon"), shape["points"]
    if kind == "polygon":
        return polygon(points)
    if kind == "rectangle":
        (x0, y0), (x1, y1) = points[0], points[len(points) // 2]
        return box(x0, y0, x1, y1)
    if kind == "circle":
        (x, y), (edge_x, edge_y) = points
        radius = float(np.hypot(edge_x - x, edge_y - y))
        return ellipse(x, y, radius, radius)
    if kind == "mask":
        encoded = base64.b64decode(shape["mask"])
        left, top = (int(value) for value in points[0])
        return mask(lambda: decode_image(encoded, "a mask") > 0, left, top)
    raise ValueError(f"a shape of type '{kind}' has no area: annotate polygons")


def coco(source: Path, images: Images) -> Iterator[Annotation]:
    """COCO instances: polygons and run lengths, in the order of the file."""
    for path in _files(source, ".json"):
        content = read_json(path, limit=MAX_EXPORT_BYTES)
        with _as_dataset_error(path):
            names = {category["id"]: category["name"] for category in content["categories"]}
            shapes: dict[Any, list[Shape]] = {image["id"]: [] for image in content["images"]}
            sizes = {image["id"]: (int(image["height"]), int(image["width"])) for image in content["images"]}
            for annotation in content["annotations"]:
                name, id_ = names[annotation["category_id"]], annotation["image_id"]
                shapes[id_] += [Shape(name, p) for p in _coco_shapes(annotation["segmentation"], sizes[id_])]
            for image in content["images"]:
                file = image_named(image["file_name"], images, path)
                yield Annotation(file, sizes[image["id"]], shapes[image["id"]])


def _coco_shapes(segmentation: Any, size: tuple[int, int]) -> list[Paint]:
    if isinstance(segmentation, list):
        if not segmentation:
            raise ValueError("boxes without segmentation: annotate polygons or masks")
        return [polygon(np.array(ring, np.float64).reshape(-1, 2)) for ring in segmentation]
    counts = segmentation["counts"]
    runs = decode_counts(counts.encode()) if isinstance(counts, str) else np.array(counts, np.int64)
    check_counts(runs, *size)
    return [mask(lambda: fill_columns(runs, *size))]


def cvat(source: Path, images: Images) -> Iterator[Annotation]:
    """'CVAT for images': polygons, boxes, ellipses and masks, by z_order."""
    for path in _files(source, ".xml"):
        with _as_dataset_error(path):
            text = read_text(path, MAX_EXPORT_BYTES, error=DatasetError)  # no other encoding hides them:
            if "<!DOCTYPE" in text or "<!ENTITY" in text:
                raise ValueError("it defines entities, which no export of CVAT does")
            for image in ElementTree.fromstring(text).iter("image"):
                known = [shape for shape in image if shape.tag in _CVAT_SHAPES]
                areas = sorted(known, key=lambda shape: int(shape.get("z_order", "0")))
                for other in image:
                    if other.tag in ("polyline", "points", "skeleton", "cuboid"):
                        raise ValueError(f"a {other.tag} has no area: annotate polygons or masks")
                shapes = [Shape(area.attrib["label"], _CVAT_SHAPES[area.tag](area)) for area in areas]
                size = int(image.attrib["height"]), int(image.attrib["width"])
                yield Annotation(image_named(image.attrib["name"], images, path), size, shapes)


def _numbers(element: ElementTree.Element, *names: str) -> list[float]:
    return [float(element.attrib[name]) for name in names]


def _cvat_mask(element: ElementTree.Element) -> Paint:
    left, top, width, height = (int(value) for value in _numbers(element, "left", "top", "width", "height"))
    runs = np.array([int(run) for run in element.attrib["rle"].split(",")], np.int64)
    check_counts(runs, height, width)
    return mask(lambda: fill_rows(runs, height, width), left, top)


_CVAT_SHAPES: dict[str, Callable[[ElementTree.Element], Paint]] = {
    "polygon": lambda e: polygon([map(float, point.split(",")) for point in e.attrib["points"].split(";")]),
    "box": lambda e: box(*_numbers(e, "xtl", "ytl", "xbr", "ybr")),
    "ellipse": lambda e: ellipse(*_numbers(e, "cx", "cy", "rx", "ry")),
    "mask": _cvat_mask,
}


def roboflow(source: Path, images: Images) -> Iterator[Annotation]:
    """Roboflow's 'Semantic Segmentation Masks': NAME.jpg, NAME_mask.png and _classes.csv in each split's folder."""
    for table in [path for path in visible_files(source) if path.name == "_classes.csv" and path.is_file()]:
        with _as_dataset_error(table):
            text = read_text(table, MAX_EXPORT_BYTES, error=DatasetError)
            rows = [row for row in csv.reader(io.StringIO(text, newline=""), skipinitialspace=True) if row]
            names = {int(value): name.strip() for value, name, *_ in rows[1:]}
        for path in sorted(table.parent.glob("*_mask.png")):
            stem = path.name[: -len("_mask.png")]
            known = [image for suffix in IMAGE_SUFFIXES for image in images.get(stem + suffix, ())]
            file = next((image for image in known if image.parent == path.parent), None)
            if file is None:
                raise DatasetError(f"{path}: there is no image {stem}.jpg beside it: export the folder again")
            values = read_raw_label(path)
            unknown = set(np.unique(values).tolist()) - names.keys()
            if values.ndim != 2 or unknown:
                raise DatasetError(f"{path}: holds {sorted(unknown)[:5] or 'colors'}, which {table.name} does not name")
            shapes = [
                Shape(names[value], mask(partial(np.equal, values, value))) for value in np.unique(values).tolist()
            ]
            yield Annotation(file, (values.shape[0], values.shape[1]), shapes)


def label_studio(source: Path, images: Images) -> Iterator[Annotation]:
    """Label Studio's brush masks: task-N-annotation-N-by-N-tag-NAME-N.png, one for each image and class.

    Which task is which image is in the JSON export, if it lies beside them; otherwise tasks are the images in order.
    """
    masks: dict[int, list[tuple[str, Path]]] = {}
    for path in visible_files(source):
        match = _BRUSH.fullmatch(path.name)
        if match:
            masks.setdefault(int(match.group(1)), []).append((match.group(2), path))
    files = _task_images(source, images) or _in_order(sorted(masks), images)
    for task in sorted(masks):
        if task not in files:
            raise DatasetError(f"{source}: task {task} is not in the JSON export: export both again")
        inside = {path: read_raw_label(path) > 0 for _, path in masks[task]}
        # A mask of more pixels lies below one of fewer: obstacles on the road, not under it.
        ordered = sorted(masks[task], key=lambda item: -int(inside[item[1]].sum()))
        size = next(iter(inside.values())).shape
        shapes = [Shape(name, mask(partial(inside.__getitem__, path))) for name, path in ordered]
        yield Annotation(files[task], (size[0], size[1]), shapes)


def _task_images(source: Path, images: Images) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for path in visible_files(source):
        if path.suffix.lower() == ".json":
            with _as_dataset_error(path):
                for task in read_json(path, limit=MAX_EXPORT_BYTES):
                    names = [_uploaded(value) for value in task["data"].values() if isinstance(value, str)]
                    known = [name for name in names if name.rsplit("/", 1)[-1] in images]
                    found[int(task["id"])] = image_named((known or names)[0], images, path)
    return found


def _uploaded(value: str) -> str:
    """The file that a task's data name, by a URL or a path; uploads get eight digits and a dash before their name."""
    folder, slash, name = unquote(value).rpartition("?d=")[2].rpartition("/")
    return folder + slash + re.sub(r"^[0-9a-f]{8}-", "", name)


def _in_order(tasks: list[int], images: Images) -> dict[int, Path]:
    photographs = [image for name in sorted(images) if not _BRUSH.fullmatch(name) for image in images[name]]
    if len(photographs) != len(tasks):
        raise DatasetError(
            f"{len(tasks)} tasks and {len(photographs)} images: which is which is in Label Studio's JSON export:"
            " put it beside the masks"
        )
    return dict(zip(tasks, photographs, strict=True))


IMPORTERS: dict[str, Callable[[Path, Images], Iterator[Annotation]]] = {
    "labelme": labelme,
    "coco": coco,
    "cvat": cvat,
    "roboflow": roboflow,
    "label-studio": label_studio,
}


def read_export(kind: str, source: Path, image_folder: Path | None) -> Iterator[Annotation]:
    """The annotations of an export.

    Args:
        kind: of IMPORTERS.
        source: its folder or file.
        image_folder: where its images are; None: below the source.

    Raises:
        DatasetError: nothing of this kind is there, or it cannot be read.
    """
    if not source.exists():
        raise DatasetError(f"{source}: no such file or folder")
    images = images_by_name(image_folder or (source if source.is_dir() else source.parent))
    annotations = IMPORTERS[kind](source, images)
    first = next(annotations, None)
    if first is None:
        raise DatasetError(f"{source}: no {kind} export in it: {(IMPORTERS[kind].__doc__ or '').splitlines()[0]}")
    yield first
    yield from annotations


def _files(source: Path, suffix: str) -> list[Path]:
    return [source] if source.is_file() else [p for p in visible_files(source) if p.suffix.lower() == suffix]


_MALFORMED = (
    KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, csv.Error, cv2.error,
    ElementTree.ParseError
)  # fmt: skip


class _as_dataset_error:  # noqa: N801  # reads as a statement
    """Whatever a malformed export makes the parsing stumble over names its file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, _MALFORMED):
            raise DatasetError(f"{self.path}: {error if isinstance(error, ValueError) else repr(error)}") from error
