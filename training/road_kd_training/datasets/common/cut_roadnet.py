# SPDX-License-Identifier: Apache-2.0
"""Cuts RoadNet's release (one folder per region) into the patches that `roadnet` reads."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from road_kd_seg.errors import run_tool
from road_kd_training.datasets.common.output import write_png
from road_kd_training.datasets.common.sample import read_image
from road_kd_training.errors import DatasetError

REGIONS = {"train": tuple(range(2, 16)), "test": (1, *range(16, 21))}
"""As the release assigns them."""
PATCH = 512
"""Pixels, as SSLKD."""


def cut_patches(release: Path, root: Path) -> dict[str, int]:
    """Cut the release's regions into patches of 512x512, in a grid whose last row and column are moved inward.

    Args:
        release: holds N/Ottawa-N.tif and N/segmentation.png.
        root: where the patches go; it must not hold any.

    Returns:
        Number of patches by prefix, train and test.

    Raises:
        DatasetError: a region's files are missing or do not fit, patches are there already, or the disk is full.
    """
    for prefix in REGIONS:
        if (root / f"{prefix}_image").exists():
            raise DatasetError(f"roadnet: {root / f'{prefix}_image'} exists already: remove it to cut again")
    counts = dict.fromkeys(REGIONS, 0)
    for prefix, regions in REGIONS.items():
        for number in track(regions, description=f"cutting {prefix}", transient=True):
            image, segment = _read_region(release / str(number), number)
            for top in grid(image.shape[0]):
                for left in grid(image.shape[1]):
                    name = f"{number:02d}_{top:05d}_{left:05d}.png"
                    window = np.s_[top : top + PATCH, left : left + PATCH]
                    write_png(root / f"{prefix}_image" / name, image[window])
                    write_png(root / f"{prefix}_segment" / name, segment[window])
                    counts[prefix] += 1
    return counts


def _read_region(folder: Path, number: int) -> tuple[NDArray[Any], NDArray[Any]]:
    path = folder / f"Ottawa-{number}.tif"
    try:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None  # the only TIFF that is read
    except cv2.error:
        image = None
    if image is None:
        raise DatasetError(f"{path}: no such file, or one that was cut short: fetch it again")
    segment = read_image(folder / "segmentation.png")
    if image.shape[:2] != segment.shape[:2] or min(image.shape[:2]) < PATCH:
        raise DatasetError(
            f"{folder}: image is {image.shape[:2]} (H, W), segmentation {segment.shape[:2]}:"
            f" expected equal sizes of at least {PATCH}"
        )
    return image, segment


def grid(side: int) -> list[int]:
    """Where patches begin along a side of so many pixels: they cover it, and only the last two may overlap."""
    return sorted({min(start, side - PATCH) for start in range(0, side, PATCH)})


def main() -> None:
    """`python -m road_kd_training.datasets.common.cut_roadnet RELEASE ROOT`."""
    parser = argparse.ArgumentParser(
        "python -m road_kd_training.datasets.common.cut_roadnet", description="Cut RoadNet's patches."
    )
    parser.add_argument("release", type=Path, help="folder with the regions 1 to 20")
    parser.add_argument("root", type=Path, help="folder of the patches")
    options = parser.parse_args()
    sys.exit(run_tool(lambda: print(cut_patches(options.release, options.root))))


if __name__ == "__main__":
    main()
