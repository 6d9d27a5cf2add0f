# SPDX-License-Identifier: Apache-2.0
"""nuImages (Caesar et al., nuScenes, CVPR 2020): 93,476 driving photographs of six cameras, 900x1600.

The masks of objects and surfaces become one label per pixel as in the devkit: background 0, the 23 object categories in
alphabetical order, the drivable surface 24; surfaces are painted first, then objects in the order of their tokens. The
devkit's id 31, the ego vehicle, is 25 here, so that ids have no gap.

LIX draws 800 annotated images at random and splits them 7:3; from which set is not said. `lix_train` (560) and
`lix_validation` (240) are drawn from v1.0-train by `splits.drawn` with seed 0. nuImages has no depth images; LIX makes
them with Depth Anything.

Expected tree:

    ROOT/v1.0-{train,val,mini}/{category,sample,sample_data,object_ann,surface_ann}.json  tables
    ROOT/samples/CAMERA/NAME.jpg                                                          color, key frames
    ROOT/depth/CAMERA/NAME.png                   optional, of your own: uint16, 256 x meters, 0 = invalid
"""

from __future__ import annotations

import base64
import binascii
from collections import defaultdict
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from road_kd_training.datasets.common.classes import taxonomy_of
from road_kd_training.datasets.common.depth import read_uint16
from road_kd_training.datasets.common.folder import Layout, check_size
from road_kd_training.datasets.common.rle import decode_mask
from road_kd_training.datasets.common.sample import RgbdSample, read_json, read_rgb
from road_kd_training.datasets.common.splits import drawn
from road_kd_training.errors import DatasetError

Split = Literal["train", "validation", "mini", "lix_train", "lix_validation"]

LAYOUT = Layout.from_doc("nuimages", __doc__)
MAX_TABLE_BYTES = 4 << 30
VERSIONS = {
    "train": "v1.0-train",
    "validation": "v1.0-val",
    "mini": "v1.0-mini",
    "lix_train": "v1.0-train",
    "lix_validation": "v1.0-train",
}
LIX_FRAMES, LIX_TRAIN = 800, 560
SEED = 0

TAXONOMY = taxonomy_of(
    {
        "background": (0, 0, 0), "animal": (70, 130, 180), "human.pedestrian.adult": (0, 0, 230),
        "human.pedestrian.child": (135, 206, 235), "human.pedestrian.construction_worker": (100, 149, 237),
        "human.pedestrian.personal_mobility": (219, 112, 147), "human.pedestrian.police_officer": (0, 0, 128),
        "human.pedestrian.stroller": (240, 128, 128), "human.pedestrian.wheelchair": (138, 43, 226),
        "movable_object.barrier": (112, 128, 144), "movable_object.debris": (210, 105, 30),
        "movable_object.pushable_pullable": (105, 105, 105), "movable_object.trafficcone": (47, 79, 79),
        "static_object.bicycle_rack": (188, 143, 143), "vehicle.bicycle": (220, 20, 60),
        "vehicle.bus.bendy": (255, 127, 80), "vehicle.bus.rigid": (255, 69, 0), "vehicle.car": (255, 158, 0),
        "vehicle.construction": (233, 150, 70), "vehicle.emergency.ambulance": (255, 83, 0),
        "vehicle.emergency.police": (255, 215, 0), "vehicle.motorcycle": (255, 61, 99),
        "vehicle.trailer": (255, 140, 0), "vehicle.truck": (255, 99, 71), "flat.driveable_surface": (0, 207, 191),
        "vehicle.ego": (255, 240, 245),
    },
    drivable=["flat.driveable_surface"],
    obstacle=["animal", "human.pedestrian.adult", "human.pedestrian.child", "human.pedestrian.construction_worker",
              "human.pedestrian.personal_mobility", "human.pedestrian.police_officer", "human.pedestrian.stroller",
              "human.pedestrian.wheelchair", "movable_object.barrier", "movable_object.debris",
              "movable_object.pushable_pullable", "movable_object.trafficcone", "static_object.bicycle_rack",
              "vehicle.bicycle", "vehicle.bus.bendy", "vehicle.bus.rigid", "vehicle.car", "vehicle.construction",
              "vehicle.emergency.ambulance", "vehicle.emergency.police", "vehicle.motorcycle", "vehicle.trailer",
              "vehicle.truck"],
)  # fmt: skip


class _Mask(NamedTuple):
    source: str  # table and token, for errors
    class_id: int
    height: int
    width: int
    counts: str


class NuImages:
    """The key frames of one split; depth where a folder of it exists.

    The tables of the version are read once (v1.0-train: about half a minute and 2 GB); what stays are the masks of the
    split.

    Raises:
        DatasetError: a missing or damaged table, or an unknown category; the message prints the expected tree.
    """

    taxonomy = TAXONOMY

    def __init__(self, root: str | Path, split: Split = "train") -> None:
        self.root = Path(root).expanduser()
        self.tables = self.root / LAYOUT.choose(split, VERSIONS)
        files = self._key_frames()
        masks = self._masks(files.keys())
        tokens = sorted(files)
        if split in ("lix_train", "lix_validation"):
            tokens = drawn(masks, SEED)[:LIX_FRAMES]
            if len(tokens) < LIX_FRAMES:
                found = f"{self.tables} has {len(tokens)} annotated images, expected at least {LIX_FRAMES}"
                raise LAYOUT.error(f"{found} for split '{split}'")
            tokens = sorted(tokens[:LIX_TRAIN] if split == "lix_train" else tokens[LIX_TRAIN:])
        self.frames = LAYOUT.not_empty(((files[token], masks.get(token, [])) for token in tokens), split, self.root)
        self.has_depth = (self.root / "depth").is_dir()

    def _key_frames(self) -> dict[str, str]:
        """File of the camera key frame of every sample, by sample_data token."""
        tokens = {row["key_camera_token"] for row in self._table("sample", "key_camera_token")}
        rows = self._table("sample_data", "token", "filename")
        files = {row["token"]: row["filename"] for row in rows if row["token"] in tokens}
        if len(files) < len(tokens):
            raise LAYOUT.error(f"{self.tables}/sample_data.json lacks {len(tokens - files.keys())} camera key frames")
        return files

    def _masks(self, wanted: Any) -> dict[str, list[_Mask]]:
        """Masks by sample_data token, in the order in which they are painted."""
        names = {row["token"]: row["name"] for row in self._table("category", "token", "name")}
        ids = {name: c for c, name in enumerate(TAXONOMY.names)}
        masks: dict[str, list[_Mask]] = defaultdict(list)
        for table in ("surface_ann", "object_ann"):
            rows = self._table(table, "token", "sample_data_token", "category_token", "mask")
            if table == "object_ann":
                rows.sort(key=lambda row: str(row["token"]))
            for row in rows:
                if row["mask"] is None or row["sample_data_token"] not in wanted:
                    continue
                source = f"{self.tables}/{table}.json, token {row['token']}"
                name = names.get(row["category_token"])
                if name not in ids:
                    raise LAYOUT.error(f"{source}: category '{name}' is unknown, expected one of the {len(ids) - 1}")
                masks[row["sample_data_token"]].append(_mask(source, ids[name], row["mask"]))
        return dict(masks)

    def _table(self, name: str, *columns: str) -> list[dict[str, Any]]:
        path = self.tables / f"{name}.json"
        kept = {*columns, "size", "counts"}  # the last two are of masks; the other columns would fill the memory
        try:
            rows = read_json(path, lambda row: {key: row[key] for key in row.keys() & kept}, MAX_TABLE_BYTES)
        except DatasetError as error:
            raise LAYOUT.error(str(error)) from error
        texts = [column for column in columns if column != "mask"]
        if not isinstance(rows, list) or not all(
            isinstance(row, dict) and row.keys() >= {*columns} and all(isinstance(row[text], str) for text in texts)
            for row in rows
        ):
            raise LAYOUT.error(f"{path}: expected a list of records with {', '.join(columns)}")
        return rows

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> RgbdSample:
        file, masks = self.frames[index]
        path = LAYOUT.below(self.root, file)
        rgb = read_rgb(path)
        camera, name = path.parent.name, path.stem
        depth_m = None
        if self.has_depth:
            path = self.root / "depth" / camera / f"{name}.png"
            depth_m = read_uint16(path).astype(np.float32) / np.float32(256)
            check_size(depth_m, rgb, path, "depth")
        return RgbdSample(rgb, depth_m, paint(masks, rgb.shape[:2]), name, {"camera": camera})


def paint(masks: list[_Mask], size: tuple[int, ...]) -> NDArray[np.uint8]:
    """Label of an image, (H, W): later masks cover earlier ones, 0 where there is none.

    Raises:
        DatasetError: a mask that cannot be decoded, or of another size.
    """
    label = np.zeros(size, np.uint8)
    for mask in masks:
        if (mask.height, mask.width) != size:
            found = f"mask is {(mask.height, mask.width)} (H, W), expected {tuple(size)} as its image"
            raise LAYOUT.error(f"{mask.source}: {found}")
        try:
            label[decode_mask(base64.b64decode(mask.counts, validate=True), mask.height, mask.width)] = mask.class_id
        except (ValueError, binascii.Error) as error:
            raise LAYOUT.error(f"{mask.source}: mask cannot be decoded: {error}") from error
    return label


def _mask(source: str, class_id: int, mask: Any) -> _Mask:
    try:
        height, width = mask["size"]
        return _Mask(source, class_id, int(height), int(width), str(mask["counts"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise LAYOUT.error(f"{source}: mask lacks size [height, width] or counts: {error!r}") from error
