# SPDX-License-Identifier: Apache-2.0
"""Frames in a folder: what `bag-to-dataset` writes, and the place for any other images of your own.

Frames without a label file are unlabeled. Depth may be missing, for single frames or altogether. An ID may hold
subfolders; for frames of a bag it is the header stamp in ns.

Expected tree:

    ROOT/rgb/ID.png              color (or .jpg)
    ROOT/depth/ID.png            uint16 mm, 0 = invalid
    ROOT/label/ID.png            class ids, 255 = ignore
    ROOT/label/classes.json      optional: id, name, role and color of each class; default: those of road_kd_seg
    ROOT/camera.json             optional: fx, fy, cx, cy, width, height in pixels
    ROOT/{train,validation}.txt  optional: one ID per line; without them, IDs that are stamps are split by time
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg.bags.writer import depth_to_millimeters
from road_kd_seg.errors import RoadKdError
from road_kd_seg.files import read_file, write_file
from road_kd_seg.frame import Intrinsics
from road_kd_seg.label_files import is_stamp, visible_files
from road_kd_seg.plain_data import MAX_BYTES, Field, parse_json
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY
from road_kd_training.datasets.common.depth import read_uint16
from road_kd_training.datasets.common.folder import Layout, check_size
from road_kd_training.datasets.common.label_folder import LabelFolder, frame_id, image_path, write_label
from road_kd_training.datasets.common.labeled import Part, choose_part
from road_kd_training.datasets.common.output import write_png
from road_kd_training.datasets.common.sample import RgbdSample, read_rgb
from road_kd_training.datasets.common.time_blocks import BLOCK_S, GAP_S, split_by_time
from road_kd_training.errors import DatasetError

LAYOUT = Layout.from_doc("frames", __doc__)
SUFFIXES = (".png", ".jpg", ".jpeg")


class Frames:
    """The frames of a folder, by ID.

    Args:
        root: the folder.
        split: `all`, or the name of a list; without that list `train` and `validation` are `split_by_time`'s.
        labels: another folder of labels than ROOT/label, e.g. that of `road-kd pseudo-label`.
        part: `labeled` and `unlabeled` yield these frames only.
        block_s: for the split by time, seconds per block; every fifth block is validation.
        gap_s: seconds left out on each side of a validation block.

    Raises:
        DatasetError: a missing folder or file, or an image that does not fit; the message prints the expected tree.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "all",
        labels: str | Path | None = None,
        part: Part = "all",
        block_s: float = BLOCK_S,
        gap_s: float = GAP_S,
    ) -> None:
        self.root = Path(root).expanduser()
        images = {
            frame_id(path, self.root / "rgb"): path
            for path in visible_files(self.root / "rgb")
            if path.suffix.lower() in SUFFIXES
        }
        if not images:
            raise LAYOUT.error(f"no image below {self.root / 'rgb'}")
        _check_depth_files(self.root / "depth")
        own = self.root / "label"
        self.labels = LabelFolder(labels or own) if labels or own.is_dir() else None
        self.taxonomy = DEFAULT_TAXONOMY if self.labels is None else self.labels.taxonomy
        if labels and self.labels is not None:
            self.labels.mask(images)  # a folder of another recording's labels must not pass for "all unlabeled"
        stamped = all(is_stamp(id_) for id_ in images)
        ordered = sorted(images, key=int) if stamped else sorted(images)
        if split != "all":
            ordered = self._split(ordered, split, stamped, (block_s, gap_s))
        ids = LAYOUT.not_empty(ordered, split, self.root)
        with_label = [self.labels is not None and id_ in self.labels.ids for id_ in ids]
        self.frames = [(ids[i], images[ids[i]]) for i in choose_part(LAYOUT, part, with_label, self.root)]
        self.meta = read_camera(self.root)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> RgbdSample:
        id_, image = self.frames[index]
        rgb = read_rgb(image)
        label = self.labels.read(id_, rgb) if self.labels is not None and id_ in self.labels.ids else None
        depth_path = image_path(self.root / "depth", id_)
        if not depth_path.is_file():
            return RgbdSample(rgb, None, label, id_, self.meta)
        depth = read_uint16(depth_path)
        check_size(depth, rgb, depth_path, "depth")
        return RgbdSample(rgb, depth.astype(np.float32) / np.float32(1000), label, id_, self.meta)

    def _split(self, ids: list[str], split: str, stamped: bool, block_and_gap_s: tuple[float, float]) -> list[str]:
        listed = self.root / f"{split}.txt"
        if listed.is_file():
            chosen = LAYOUT.lines(listed)
            unknown = sorted(set(chosen) - set(ids))
            if unknown:
                raise LAYOUT.error(f"{listed} lists '{unknown[0]}', which has no image ({len(unknown)} such lines)")
            return chosen
        if not stamped:
            raise LAYOUT.error(
                f"split '{split}' of {self.root} needs {listed.name}, because not every ID is a stamp in ns"
            )
        blocks = split_by_time(np.array(ids, np.int64), *block_and_gap_s)
        return [ids[i] for i in LAYOUT.choose(split, blocks)]


def _check_depth_files(folder: Path) -> None:
    """Refuse a folder whose files would all pass for missing depth."""
    files = [path for path in visible_files(folder) if path.is_file()]
    if files and not any(path.suffix == ".png" for path in files):
        raise LAYOUT.error(f"{folder} holds {files[0].name} and no ID.png ({len(files)} files): write uint16 PNG in mm")


def read_camera(root: Path) -> dict[str, Any]:
    """`intrinsics` of ROOT/camera.json, if it is there.

    Raises:
        DatasetError: the file is no camera.
    """
    path = root / "camera.json"
    if not path.is_file():
        return {}
    try:
        camera = Field(parse_json(read_file(path, MAX_BYTES), "it"), "")
        fx, fy, cx, cy = (camera[key].number() for key in ("fx", "fy", "cx", "cy"))
        width, height = (camera[key].integer(1, 65_535) for key in ("width", "height"))
        return {"intrinsics": Intrinsics(fx, fy, cx, cy, width, height)}
    except RoadKdError as error:
        raise LAYOUT.error(f"{path} is no camera ({error})") from error


def write_camera(root: Path, camera: Intrinsics) -> None:
    """Write ROOT/camera.json.

    Raises:
        DatasetError: the folder cannot be written.
    """
    write_file(
        root / "camera.json", (json.dumps(dataclasses.asdict(camera), indent=2) + "\n").encode(), error=DatasetError
    )


def write_frame(root: Path, sample: RgbdSample, label: NDArray[np.uint8] | None) -> None:
    """Write a frame as `Frames` reads it; the label comes last, depth beyond 65.535 m becomes invalid.

    Raises:
        DatasetError: the label exists already, or the folder cannot be written.
    """
    write_png(image_path(root / "rgb", sample.id), cv2.cvtColor(sample.rgb, cv2.COLOR_RGB2BGR))
    if sample.depth_m is not None:
        write_png(image_path(root / "depth", sample.id), depth_to_millimeters(sample.depth_m))
    if label is not None:
        write_label(root / "label", sample.id, label)
