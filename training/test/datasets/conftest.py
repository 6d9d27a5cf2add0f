# SPDX-License-Identifier: Apache-2.0
"""Small trees of the street and general datasets in their documented layouts: what files hold and what comes out."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

SIZE = (4, 6)
RGB = (200, 30, 40)


@dataclass
class Tree:
    """A dataset on disk."""

    name: str
    root: Path
    image: Path
    """Of the sample named `id`."""
    label: Path
    """Of the same sample; for nuimages the table that holds its masks."""
    id: str
    expected: list[list[int]]
    """Class ids of that sample's label."""
    options: dict[str, Any] = field(default_factory=dict)
    depth: list[list[float]] | None = None
    """Meters of that sample's first row or more."""


def write_image(path: Path, color: tuple[int, int, int] = RGB, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((*size, 3), color[::-1], np.uint8))
    return path


def write_gray(path: Path, values: Any, dtype: Any = np.uint8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.asarray(values, dtype))
    return path


def write_colors(path: Path, rgb: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.asarray(rgb, np.uint8)[..., ::-1])
    return path


def grid(*values: Any) -> list[Any]:
    """Four equal rows of six values."""
    assert len(values) == SIZE[1]
    return [list(values) for _ in range(SIZE[0])]


def cityscapes(root: Path) -> Tree:
    for folder, city, number in (("train", "aachen", 19), ("train", "ulm", 7), ("val", "frankfurt", 1)):
        stem = f"{city}_000000_{number:06d}"
        write_image(root / "leftImg8bit" / folder / city / f"{stem}_leftImg8bit.png")
        write_gray(root / "gtFine" / folder / city / f"{stem}_gtFine_labelIds.png", grid(7, 24, 33, 0, 29, 255))
    image = root / "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png"
    label = root / "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png"
    return Tree("cityscapes", root, image, label, "aachen_000000_000019", grid(0, 11, 18, 255, 255, 255))


def camvid(root: Path) -> Tree:
    for folder, names in (("train", ("0001TP_006690", "0016E5_00390")), ("val", ("0016E5_07959",))):
        for name in names:
            write_image(root / folder / f"{name}.png")
            write_gray(root / f"{folder}annot" / f"{name}.png", grid(0, 3, 8, 9, 10, 11))
    image, label = (root / folder / "0001TP_006690.png" for folder in ("train", "trainannot"))
    return Tree("camvid", root, image, label, "0001TP_006690", grid(0, 3, 8, 9, 10, 255))


def camvid_original(root: Path) -> Tree:
    colors = grid((128, 128, 128), (128, 0, 192), (192, 128, 192), (64, 128, 64), (192, 0, 192), (0, 0, 0))
    for name in ("0001TP_006690", "0016E5_07959"):
        write_image(root / "701_StillsRaw_full" / f"{name}.png")
        write_colors(root / "LabeledApproved_full" / f"{name}_L.png", colors)
    image = root / "701_StillsRaw_full/0001TP_006690.png"
    label = root / "LabeledApproved_full/0001TP_006690_L.png"
    return Tree("camvid", root, image, label, "0001TP_006690", grid(0, 3, 8, 9, 10, 255))


def kitti_semantics(root: Path) -> Tree:
    for number in range(4):
        write_image(root / f"training/image_2/{number:06d}_10.png")
        write_gray(root / f"training/semantic/{number:06d}_10.png", grid(7, 24, 33, 0, 29, 255))
    image, label = (root / "training" / folder / "000001_10.png" for folder in ("image_2", "semantic"))
    return Tree("kitti_semantics", root, image, label, "000001_10", grid(0, 11, 18, 255, 255, 255))


def vkitti2(root: Path) -> Tree:
    colors = grid((100, 60, 100), (90, 200, 255), (255, 127, 80), (210, 0, 200), (0, 0, 0), (255, 130, 0))
    for number in range(7):
        frames = root / "Scene01/clone/frames"
        write_image(frames / f"rgb/Camera_0/rgb_{number:05d}.jpg")
        write_colors(frames / f"classSegmentation/Camera_0/classgt_{number:05d}.png", colors)
        write_gray(frames / f"depth/Camera_0/depth_{number:05d}.png", grid(250, 65535, 1, 65534, 0, 1000), np.uint16)
    return Tree(
        "vkitti2",
        root,
        root / "Scene01/clone/frames/rgb/Camera_0/rgb_00003.jpg",
        root / "Scene01/clone/frames/classSegmentation/Camera_0/classgt_00003.png",
        "Scene01/clone/Camera_0/00003",
        grid(5, 1, 12, 0, 14, 9),
        {"num_frames": 7},
        grid(2.5, 0, 0.01, 655.34, 0, 10),
    )


def rle(text: str, size: tuple[int, int] = SIZE) -> dict[str, Any]:
    return {"size": list(size), "counts": base64.b64encode(text.encode()).decode()}


CATEGORIES = {"c0": "vehicle.car", "c1": "human.pedestrian.adult", "c2": "flat.driveable_surface", "c3": "vehicle.ego"}


def nuimages(root: Path) -> Tree:
    for version, first, second in (("train", "one", "two"), ("val", "three", "four"), ("mini", "five", "six")):
        files = (f"samples/CAM_FRONT/{first}.jpg", f"samples/CAM_BACK/{second}.jpg")
        write_nuimages(
            root / f"v1.0-{version}",
            [("k1", files[0]), ("k2", files[1])],
            surfaces=[
                ("k1", "c2", rle("888")),  # 8 outside, 8 inside, 8 outside: columns 2 and 3
                ("k1", "c3", rle("d04")),  # 20 outside (two characters), 4 inside: column 5
                ("k2", "c2", None),
            ],
            # The pedestrian in column 3 comes first in the table, the car of columns 3 and 4 first by token.
            objects=[("k1", "c1", "b", rle("<48")), ("k1", "c0", "a", rle("<84"))],
        )
        for file in files:
            write_image(root / file)
    image, masks = root / "samples/CAM_FRONT/one.jpg", root / "v1.0-train/object_ann.json"
    return Tree("nuimages", root, image, masks, "one", grid(0, 0, 24, 2, 17, 25))


def write_nuimages(
    folder: Path, frames: list[tuple[str, str]], surfaces: list[tuple[Any, ...]], objects: list[tuple[Any, ...]]
) -> None:
    tables: dict[str, list[dict[str, Any]]] = {
        "category": [{"token": token, "name": name, "description": ""} for token, name in CATEGORIES.items()],
        "sample": [{"token": f"s_{key}", "key_camera_token": key, "key_lidar_token": ""} for key, _ in frames],
        "sample_data": [
            *({"token": key, "filename": file, "is_key_frame": True} for key, file in frames),
            {"token": "sweep", "filename": "sweeps/CAM_FRONT/between.jpg", "is_key_frame": False},
        ],
        "surface_ann": [
            {"token": f"u{i}", "sample_data_token": key, "category_token": category, "mask": mask}
            for i, (key, category, mask) in enumerate(surfaces)
        ],
        "object_ann": [
            {"token": token, "sample_data_token": key, "category_token": category, "mask": mask}
            for key, category, token, mask in objects
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        (folder / f"{name}.json").write_text(json.dumps(rows))


def voc(root: Path) -> Tree:
    lists = {"train": ["2007_000032", "2007_000039"], "val": ["2007_000033"]}
    lists["trainval"] = [*lists["train"], *lists["val"]]
    for name, members in lists.items():
        path = root / "ImageSets/Segmentation" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{member}\n" for member in members))
    for name in lists["trainval"]:
        write_image(root / f"JPEGImages/{name}.jpg")
        write_palette(root / f"SegmentationClass/{name}.png", grid(0, 6, 7, 15, 20, 255))
    image, label = root / "JPEGImages/2007_000032.jpg", root / "SegmentationClass/2007_000032.png"
    return Tree("voc", root, image, label, "2007_000032", grid(0, 6, 7, 15, 20, 255))


def write_palette(path: Path, values: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(values, np.uint8))
    image.putpalette([channel for i in range(256) for channel in (i, 255 - i, (i * 7) % 256)])
    image.save(path)
    return path


def ade20k(root: Path) -> Tree:
    for folder, names in (("training", ("ADE_train_00000001", "ADE_train_00000002")), ("validation", ("ADE_val_1",))):
        for name in names:
            write_image(root / f"images/{folder}/{name}.jpg")
            write_gray(root / f"annotations/{folder}/{name}.png", grid(0, 1, 7, 13, 21, 150))
    image = root / "images/training/ADE_train_00000001.jpg"
    label = root / "annotations/training/ADE_train_00000001.png"
    return Tree("ade20k", root, image, label, "ADE_train_00000001", grid(255, 0, 6, 12, 20, 149))


BUILDERS: dict[str, Callable[[Path], Tree]] = {
    "cityscapes": cityscapes,
    "camvid": camvid,
    "camvid_original": camvid_original,
    "kitti_semantics": kitti_semantics,
    "vkitti2": vkitti2,
    "nuimages": nuimages,
    "voc": voc,
    "ade20k": ade20k,
}


@pytest.fixture(params=BUILDERS)
def tree(request, tmp_path):
    """Each of the trees."""
    return BUILDERS[request.param](tmp_path / request.param)


@pytest.fixture(params=[name for name in BUILDERS if name != "nuimages"])
def label_tree(request, tmp_path):
    """Each of the trees whose labels are images."""
    return BUILDERS[request.param](tmp_path / request.param)


@pytest.fixture
def build(tmp_path):
    """One tree by name."""
    return lambda name: BUILDERS[name](tmp_path / name)


@pytest.fixture
def write():
    """What writes single files."""
    return SimpleNamespace(
        image=write_image, gray=write_gray, colors=write_colors, palette=write_palette, nuimages=write_nuimages,
        rle=rle, grid=grid,
    )  # fmt: skip
