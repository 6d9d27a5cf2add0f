# SPDX-License-Identifier: Apache-2.0
"""`road-kd pack`: a dataset's folder with smaller images, to travel to the machine that trains on it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace
from PIL import Image
from rich.progress import track

from road_kd_seg.image_file import MAX_PIXELS
from road_kd_seg.label_files import visible_files
from road_kd_training.datasets.common.output import new_folder
from road_kd_training.errors import DatasetError
from road_kd_training.terminal import plain_console

QUALITY = 92
"""Of JPEG."""


def run(options: Namespace) -> None:
    """Write the smaller copy.

    Raises:
        DatasetError: no folder, a width below 1, a folder that holds something, or an image that cannot be read.
    """
    source, out = Path(options.source).expanduser(), Path(options.out).expanduser()
    if not source.is_dir():
        raise DatasetError(f"pack: {source} is no folder: name a dataset's root")
    if options.width < 1:
        raise DatasetError(f"pack: width is {options.width}: expected pixels, e.g. 640")
    files = [path for path in visible_files(source) if path.is_file()]
    _refuse_outside(files, source)
    new_folder(out)
    for path in track(files, description="packing", transient=True):
        target = out / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shrink(path, target, options.width)
    megabytes = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
    plain_console().print(
        f"wrote {len(files)} files, {megabytes:.1f} MB, to {out}: the same tree, images at most {options.width} pixels"
        f" wide; next: put it where the recipe's root says",
        soft_wrap=True,
    )


def _refuse_outside(files: Sequence[Path], source: Path) -> None:
    """The copy travels: a symlink in somebody's dataset must not put a file of this machine into it."""
    for path in files:
        if path.is_symlink() and not path.resolve().is_relative_to(source.resolve()):
            raise DatasetError(f"pack: {path} is a link that leads out of {source}: remove it, or put the file there")


def shrink(path: Path, target: Path, width: int) -> None:
    """Copy a file; an image wider than `width` becomes as wide.

    JPEGs hold color and are averaged over areas. PNGs may hold class ids, palettes or depth in 16 bits, which no
    average may touch: they take the nearest pixel.

    Raises:
        DatasetError: an image that cannot be read, or a file that cannot be written.
    """
    lossy = path.suffix.lower() in (".jpg", ".jpeg")
    try:
        if not lossy and path.suffix.lower() != ".png":
            shutil.copyfile(path, target)
            return
        # Of these formats alone: Pillow knows others by their content, and one of them starts Ghostscript.
        with Image.open(path, formats=("JPEG", "PNG")) as image:
            if image.width <= width:
                shutil.copyfile(path, target)
                return
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width}x{image.height} pixels, expected at most {MAX_PIXELS}")
            size = (width, max(1, round(image.height * width / image.width)))
            smaller = image.resize(size, Image.Resampling.BOX if lossy else Image.Resampling.NEAREST)
            smaller.save(target, **({"quality": QUALITY} if lossy else {"optimize": True}))
    except Exception as error:  # whatever Pillow stumbles over in a damaged image
        target.unlink(missing_ok=True)
        raise DatasetError(f"pack: {path} cannot be copied: {error}: repair or remove it") from error
