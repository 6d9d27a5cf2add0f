# SPDX-License-Identifier: Apache-2.0
"""The page: what report.json says, with pictures."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from road_kd_seg.metrics import Counts
from road_kd_seg.metrics.objects import MIN_AREA_PX
from road_kd_seg.replay.doctor import MAX_FRAMES
from road_kd_seg.replay.report.figures import (
    calibration_figure,
    difference_figure,
    latency_figure,
    stages_figure,
    timeline_figure,
)
from road_kd_seg.replay.report.gallery import Gallery
from road_kd_seg.replay.report.pictures import ERROR_COLORS
from road_kd_seg.replay.results import ReplayRun, Scores
from road_kd_seg.taxonomy import Taxonomy

DROP_MEANINGS = {
    "superseded": "a newer frame came before the model was free",
    "unsynchronized": "no depth image of the same moment came",
    "stale": "the node was stopped, or time jumped back, while the frame waited",
    "invalid": "size, encoding or content could not be used",
}


def render_html(
    report: dict[str, Any],
    run: ReplayRun,
    scores: Scores,
    taxonomy: Taxonomy,
    gallery: Gallery,
    depth_after_ms: NDArray[np.float64],
) -> str:
    """One HTML document; pictures, styles and its few lines of script are inside it.

    Args:
        report: what report.json holds.
        run: its latencies and labels.
        scores: frame by frame.
        taxonomy: of the model.
        gallery: the pictures.
        depth_after_ms: (N,) stamp of depth minus stamp of color.
    """
    template = _templates().get_template("report.html.j2")
    return template.render(
        report=report,
        taxonomy=taxonomy,
        gallery=gallery,
        confusion=_confusion_rows(scores.counts),
        latency_plot=_latency_plot(report, run),
        stages_plot=stages_figure(report["stages_ms"]) if report["stages_ms"] else None,
        difference_plot=difference_figure(depth_after_ms) if depth_after_ms.any() else None,
        timeline_plot=_timeline_plot(run, scores),
        calibration_plot=calibration_figure(report["calibration"], taxonomy) if report["calibration"] else None,
        drop_meanings=DROP_MEANINGS,
        error_colors=ERROR_COLORS if report["metrics"] else {},
        min_area_px=MIN_AREA_PX,
        doctor_frames=MAX_FRAMES,
    )


def render_fleet(report: dict[str, Any], taxonomy: Taxonomy) -> str:
    """The page of several bags, with links to theirs."""
    return _templates().get_template("fleet.html.j2").render(report=report, taxonomy=taxonomy)


@cache
def _templates() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    templates = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    templates.filters |= {
        "number": lambda value, digits=3: "n/a" if value is None else f"{value:.{digits}f}",
        "short": lambda value: "n/a" if value is None else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}",
        "signed": lambda value: "n/a" if value is None else f"{value:+.3f}",
        "interval": lambda ends: "" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}",
        "span": lambda cell: "" if cell["low"] is None else f"{cell['low']:+.3f} to {cell['high']:+.3f}",
        "percent": lambda part, whole: f"{100 * part / whole:.1f} %" if whole else "n/a",
        "css": lambda color: "#{:02x}{:02x}{:02x}".format(*color),
    }
    return templates


def _confusion_rows(counts: Counts) -> list[list[float | None]]:
    """Share of each true class's pixels by predicted class, (K, K); None in rows of classes that do not occur."""
    return [[None if not row.sum() else float(cell / row.sum()) for cell in row] for row in counts]


def _latency_plot(report: dict[str, Any], run: ReplayRun) -> str | None:
    if not run.latency_ms:
        return None
    marks_ms = {name: report["latency_ms"][name] for name in ("p50", "p95", "p99")}
    return latency_figure(
        np.array(list(run.latency_ms.values())), {name: value for name, value in marks_ms.items() if value is not None}
    )


def _timeline_plot(run: ReplayRun, scores: Scores) -> str | None:
    if not run.latency_ms:
        return None
    start_ns = min(run.stamps_ns)
    dropped = [stamp_ns for stamp_ns in run.stamps_ns if stamp_ns not in run.labels]
    miou = [(frame.stamp_ns, frame.miou) for frame in scores.frames]
    return timeline_figure(
        _over_time(list(run.latency_ms.items()), start_ns),
        _over_time(miou, start_ns) if miou else None,
        (np.array(dropped, np.float64) - start_ns) / 1e9,
    )


def _over_time(pairs: list[tuple[int, float]], start_ns: int) -> NDArray[np.float64]:
    """(N, 2) seconds from the start, value."""
    return np.array([((stamp_ns - start_ns) / 1e9, value) for stamp_ns, value in pairs])
