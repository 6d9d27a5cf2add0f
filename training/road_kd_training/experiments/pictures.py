# SPDX-License-Identifier: Apache-2.0
"""Predictions side by side, as the papers' figures have them: image, ground truth, and each row's student."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Patch
from numpy.typing import NDArray

from road_kd_seg.backends.torch_backend import TorchBackend, pick_device
from road_kd_seg.bundle import load_bundle
from road_kd_seg.frame import RgbdFrame
from road_kd_seg.segmenter import Segmenter
from road_kd_seg.taxonomy import Taxonomy
from road_kd_training.contact_sheet import paint_confidence
from road_kd_training.datasets import build_dataset
from road_kd_training.datasets.common.sample import RgbdSample
from road_kd_training.experiments.plan import Plan, Run, bundle_of
from road_kd_training.experiments.records import Record
from road_kd_training.experiments.report import Report
from road_kd_training.experiments.runs import Key
from road_kd_training.experiments.scales import meaning_of

CELL_WIDTH = 400
"""Pixels of one picture."""
DPI = 100
LEGEND_HEIGHT, CAPTION_WIDTH = 0.45, 2.2
"""Inches."""

Picture = NDArray[np.uint8]
"""(H, W, 3) RGB."""


def draw_pictures(report: Report, records: Mapping[Key, Record], count: int) -> list[Path]:
    """Write two PNGs, of predictions and of their confidence.

    One column for each of `count` test samples, one line for each row that has run (its first seed). The samples are
    spread evenly over the table's own test set; nothing is chosen by how it looks. Rows whose weights were deleted are
    left out. Empty if there is nothing to show.
    """
    plan = report.plan
    samples = _samples(plan, count)
    lines: list[tuple[str, list[Picture]]] = []
    confidence: list[tuple[str, list[Picture]]] = []
    taxonomy: Taxonomy | None = None
    for run, record in _first_runs(plan, records):
        bundle = load_bundle(bundle_of(run, record.trained))
        segmenter = Segmenter(bundle, TorchBackend(bundle.build_network(), str(pick_device("auto"))))
        taxonomy = segmenter.taxonomy
        predictions = [segmenter(RgbdFrame(sample.rgb, sample.depth_m)) for sample in samples]
        caption = f"{run.row.label}\n({run.row.group})" if run.row.group else run.row.label
        lines.append((caption, [paint(one.label, taxonomy) for one in predictions]))
        painted = [paint_confidence(np.rint(one.confidence * 255).astype(np.uint8)) for one in predictions]
        confidence.append((caption, painted))
    if taxonomy is None or not samples:
        return []
    truth = [paint(np.full(s.rgb.shape[:2], 255, np.uint8) if s.label is None else s.label, taxonomy) for s in samples]
    shown = [("image", [sample.rgb for sample in samples]), ("ground truth", truth)]
    title = f"{plan.experiment.title}\n{meaning_of(plan.scale)}"
    found = []
    for name, drawn, about in (
        ("pictures", lines, title),
        ("confidence", confidence, f"{title}\nblack: sure of its class, bright: unsure"),
    ):
        path = report.path("png").with_stem(f"{report.path('png').stem}_{name}")
        _draw([*shown, *drawn], taxonomy, about).savefig(path, dpi=DPI)
        found.append(path)
    return found


def paint(label: NDArray[np.uint8], taxonomy: Taxonomy) -> Picture:
    """Class ids (H, W) in the taxonomy's colors; what is ignored is black."""
    painted: Picture = taxonomy.palette[label]
    return painted


def _first_runs(plan: Plan, records: Mapping[Key, Record]) -> Iterator[tuple[Run, Record]]:
    for row in plan.experiment.rows:
        done = [(run, records[row.key, run.seed]) for run in plan.runs_of(row) if (row.key, run.seed) in records]
        if done and bundle_of(done[0][0], done[0][1].trained).is_dir():
            yield done[0]


def _samples(plan: Plan, count: int) -> list[RgbdSample]:
    source = next(iter(plan.tests.values()))
    dataset = build_dataset(source.dataset, **source.options)
    indices = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int)
    return [dataset[int(index)] for index in indices]


def _draw(lines: list[tuple[str, list[Picture]]], taxonomy: Taxonomy, title: str) -> Canvas:
    columns, first = len(lines[0][1]), lines[0][1][0]
    cell = (CELL_WIDTH / DPI, CELL_WIDTH / DPI * first.shape[0] / first.shape[1])
    size = (CAPTION_WIDTH + columns * cell[0], 2 * LEGEND_HEIGHT + len(lines) * cell[1])
    canvas = Canvas(figsize=size, layout="constrained")
    canvas.get_layout_engine().set(w_pad=0.02, h_pad=0.02)  # type: ignore[union-attr, call-arg]
    grid: Any = canvas.subplots(len(lines), columns, squeeze=False)
    for axes, (caption, pictures) in zip(grid, lines, strict=True):
        for axis, picture in zip(axes, pictures, strict=True):
            axis.imshow(_shrunk(picture))
            axis.set(xticks=[], yticks=[])
        axes[0].set_ylabel(caption, rotation=0, ha="right", va="center", fontsize=9, wrap=True)
    canvas.suptitle(title, fontsize=9)
    canvas.legend(handles=list(_legend(taxonomy)), loc="outside lower center", ncols=8, frameon=False, fontsize=8)
    return canvas


def _shrunk(picture: Picture) -> Picture:
    height = max(1, round(picture.shape[0] * CELL_WIDTH / picture.shape[1]))
    small: Any = cv2.resize(picture, (CELL_WIDTH, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _legend(taxonomy: Taxonomy) -> Iterator[Patch]:
    named = [(one.name, one.color) for one in taxonomy.classes]
    for name, (red, green, blue) in [*named, ("ignored", (0, 0, 0))]:
        yield Patch(facecolor=(red / 255, green / 255, blue / 255), edgecolor="gray", label=name)
