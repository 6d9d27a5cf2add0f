# SPDX-License-Identifier: Apache-2.0
"""`road-kd import-labels`: an annotation tool's export as a dataset `frames`, by class name."""

from __future__ import annotations

from pathlib import Path

import cv2
from jsonargparse import Namespace

from road_kd_seg.frame import IGNORE_INDEX
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY
from road_kd_training.commands.options import key_values
from road_kd_training.datasets.common.label_folder import write_label, write_legend
from road_kd_training.datasets.common.output import new_folder, write_png
from road_kd_training.datasets.common.sample import read_rgb
from road_kd_training.errors import DatasetError
from road_kd_training.label_import.annotation import ClassNames, paint_label
from road_kd_training.label_import.formats import read_export
from road_kd_training.terminal import plain_console


def run(options: Namespace) -> None:
    """Write OUT/rgb/ID.png, OUT/label/ID.png and the legend.

    Raises:
        DatasetError: no such export, a class that is none, or a folder that holds something or cannot be written.
    """
    images = None if options.images is None else Path(options.images).expanduser()
    names = ClassNames(DEFAULT_TAXONOMY, {name: str(value) for name, value in key_values(options.names).items()})
    unlabeled = IGNORE_INDEX if options.unlabeled == "ignore" else names.id_of(options.unlabeled, Path("--unlabeled"))
    source, out = Path(options.source).expanduser(), new_folder(Path(options.out).expanduser())
    written: dict[str, Path] = {}
    for annotation in read_export(options.kind, source, images):
        rgb = read_rgb(annotation.image)
        id_ = annotation.image.stem
        if id_ in written:
            raise DatasetError(f"{annotation.image} and {written[id_]} have one name: rename one of them")
        label = paint_label(annotation, (rgb.shape[0], rgb.shape[1]), names, unlabeled)
        write_png(out / "rgb" / f"{id_}.png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
        write_label(out / "label", id_, label)
        written[id_] = annotation.image
    write_legend(out / "label", DEFAULT_TAXONOMY)
    plain_console().print(
        f"wrote {len(written)} labeled frames to {out}; the dataset is: frames root={out}\n"
        f"next: train on it, or, for a bag whose frames these are, replay_eval BAG --labels {out / 'label'}",
        soft_wrap=True,
    )
