# SPDX-License-Identifier: Apache-2.0
"""Contact sheets of pseudo-labels: least certain frames first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2

from road_kd_seg.segmenter import Segmenter
from road_kd_training.contact_sheet import ROWS, Entry, draw_pages
from road_kd_training.datasets import RgbdDataset
from road_kd_training.datasets.common.label_folder import image_path
from road_kd_training.datasets.common.output import write_png
from road_kd_training.datasets.common.sample import read_image
from road_kd_training.pseudo_label import PseudoFrame, PseudoLabels, least_sure


def write_sheets(out: Path, dataset: RgbdDataset, segmenter: Segmenter, result: PseudoLabels, most: int) -> int:
    """Draw the least confident frames of a folder of pseudo-labels, for a person to look at; the number of pages.

    Args:
        out: the folder, with `label` and `confidence`.
        dataset: the frames.
        segmenter: what labeled them.
        result: what was written.
        most: pages.
    """
    shown = least_sure(result.frames, most * ROWS)
    title = f"pseudo-labels of {segmenter.bundle.name}, {len(shown)} of {len(result.frames)} frames, least sure first"
    pages = draw_pages(_entries(out, dataset, segmenter.taxonomy.names, shown), len(shown), segmenter.taxonomy, title)
    count = 0
    for page in pages:
        name = "contact_sheet.png" if count == 0 else f"contact_sheet_{count + 1}.png"
        write_png(out / name, cv2.cvtColor(page, cv2.COLOR_RGB2BGR))
        count += 1
    return count


def _entries(out: Path, dataset: RgbdDataset, names: Sequence[str], frames: Sequence[PseudoFrame]) -> Iterator[Entry]:
    """The frames as they lie on the disk now, one at a time."""
    for rank, frame in enumerate(frames, start=1):
        label, confidence = (read_image(image_path(out / kind, frame.id)) for kind in ("label", "confidence"))
        shares = "   ".join(
            f"{name} {share:.0%}" for name, share in zip(names, frame.shares, strict=True) if share >= 0.005
        )
        caption = (
            f"{rank}   {frame.id}     confidence {frame.confidence:.3f}     {shares}     ignored {frame.ignored:.0%}"
        )
        yield Entry(caption, dataset[frame.index].rgb, label, confidence)
