# SPDX-License-Identifier: Apache-2.0
"""KITTI Semantics (Alhaija et al., IJCV 2018): 200 labeled street scenes, about 375x1242, Cityscapes classes.

The release has no validation split. LIX draws one at random, 3:1; here the draw is that of `splits.drawn` with seed 0:
150 frames to train with, 50 to validate. Depth is read from the first of these folders that exists:
depth/ (dense depth of your own), disparity/ (dense disparity of your own; LIX uses CreStereo's), disp_occ_0/ (sparse
LiDAR ground truth of the Stereo 2015 benchmark, whose 200 frames these are).

Expected tree:

    ROOT/training/image_2/NNNNNN_10.png           color
    ROOT/training/semantic/NNNNNN_10.png          Cityscapes label ids 0..33, 255 = license plate (-1)
    ROOT/training/depth/NNNNNN_10.png             optional: uint16, 256 x meters, 0 = invalid
    ROOT/training/disparity/NNNNNN_10.png         optional: uint16, 256 x pixels, 0 = invalid
    ROOT/training/disp_occ_0/NNNNNN_10.png        optional: the same
    ROOT/training/calib_cam_to_cam/NNNNNN.txt     calibration (P_rect_02, P_rect_03), needed where there is disparity
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.errors import FrameError
from road_kd_seg.frame import Intrinsics
from road_kd_training.datasets.cityscapes import LABEL_IDS, TAXONOMY
from road_kd_training.datasets.common.depth import disparity_to_depth, read_uint16
from road_kd_training.datasets.common.folder import Layout, check_size, read_label
from road_kd_training.datasets.common.sample import RgbdSample, read_rgb
from road_kd_training.datasets.common.splits import drawn

Split = Literal["train", "validation", "all"]

LAYOUT = Layout.from_doc("kitti_semantics", __doc__)
DEPTH_FOLDERS = ("depth", "disparity", "disp_occ_0")
SEED = 0


class KittiSemantics:
    """The labeled frames of one split; depth where a folder of it exists.

    Raises:
        DatasetError: a missing folder, or files that do not match; the message prints the expected tree.
    """

    taxonomy = TAXONOMY

    def __init__(self, root: str | Path, split: Split = "train") -> None:
        self.root = Path(root).expanduser()
        training = self.root / "training"
        images = LAYOUT.files(training / "image_2", "*_10.png")
        labels = LAYOUT.files(training / "semantic", "*_10.png")
        frames = LAYOUT.pairs(images, labels, lambda path: path.stem)
        names = drawn((name for name, _, _ in frames), SEED)
        held_out = len(names) // 4
        splits = {"train": names[held_out:], "validation": names[:held_out], "all": names}
        chosen = frozenset(LAYOUT.choose(split, splits))
        self.frames = LAYOUT.not_empty((frame for frame in frames if frame[0] in chosen), split, self.root)
        self.depth_folder = next((training / name for name in DEPTH_FOLDERS if (training / name).is_dir()), None)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> RgbdSample:
        name, image, annotation = self.frames[index]
        rgb, label = read_rgb(image), read_label(annotation, LABEL_IDS)
        check_size(label, rgb, annotation)
        depth_m, meta = self._depth(name, rgb)
        return RgbdSample(rgb, depth_m, label, name, meta)

    def _depth(self, name: str, rgb: NDArray[np.uint8]) -> tuple[NDArray[np.float32] | None, dict[str, Any]]:
        calibration = self.root / "training" / "calib_cam_to_cam" / f"{name.removesuffix('_10')}.txt"
        meta: dict[str, Any] = {}
        focal_baseline = None
        if calibration.is_file():
            focal_baseline, meta["intrinsics"] = read_calibration(calibration, rgb.shape[1], rgb.shape[0])
        if self.depth_folder is None:
            return None, meta
        path = self.depth_folder / f"{name}.png"
        stored = read_uint16(path).astype(np.float32) / np.float32(256)
        check_size(stored, rgb, path, self.depth_folder.name)
        meta["depth_source"] = self.depth_folder.name
        if self.depth_folder.name == "depth":
            return stored, meta
        if focal_baseline is None:
            hint = "fetch the calibration of the Stereo 2015 benchmark, or move the folder of disparities away"
            raise LAYOUT.error(f"{calibration}: no such file, and {path} needs it: {hint}")
        return disparity_to_depth(stored, focal_baseline), meta


def read_calibration(path: Path, width: int, height: int) -> tuple[float, Intrinsics]:
    """Focal length times baseline (px m) of the color pair, and the left camera's intrinsics.

    Raises:
        DatasetError: the file lacks one of the two projections, or a number.
    """
    rows = dict(line.split(":", 1) for line in LAYOUT.lines(path) if ":" in line)
    try:
        left, right = (np.array(rows[key].split(), np.float64).reshape(3, 4) for key in ("P_rect_02", "P_rect_03"))
        intrinsics = Intrinsics(left[0, 0], left[1, 1], left[0, 2], left[1, 2], width, height)
        # The fourth column holds -f times the camera's offset to the right of camera 0.
        focal_baseline = float(left[0, 3] - right[0, 3])
        if not math.isfinite(focal_baseline):
            raise ValueError(f"a baseline of {focal_baseline}")
    except (KeyError, ValueError, FrameError) as error:
        raise LAYOUT.error(f"{path}: {error!r}, expected lines 'P_rect_02:' and 'P_rect_03:' of 12 numbers") from error
    return focal_baseline, intrinsics
