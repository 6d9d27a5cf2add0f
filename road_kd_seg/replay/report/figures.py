# SPDX-License-Identifier: Apache-2.0
"""The report's plots, as SVG data URIs that suit a light and a dark page."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from io import BytesIO
from itertools import cycle
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from road_kd_seg.taxonomy import Taxonomy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#7d8590"
"""Mid gray: readable on white and on near-black alike."""
BLUE, ORANGE = "#4c8dd6", "#e08a2e"
"""Told apart by every kind of color vision, and by lightness."""
_LINES = ((BLUE, "-"), (ORANGE, "-"), (INK, "-"), (BLUE, "--"), (ORANGE, "--"))


def latency_figure(latency_ms: NDArray[np.float64], marks_ms: dict[str, float]) -> str:
    """Histogram and cumulative share of (N,) latencies, with named marks such as p50."""
    figure = Figure(figsize=(7.2, 2.9))
    histogram, cumulative = figure.subplots(1, 2)
    histogram.hist(latency_ms, bins=min(40, max(5, latency_ms.size // 5)), color=BLUE)
    histogram.set(xlabel="latency (ms)", ylabel="frames")
    ordered = np.sort(latency_ms)
    cumulative.step(ordered, np.arange(1, ordered.size + 1) / ordered.size * 100, where="post", color=BLUE)
    cumulative.set(xlabel="latency (ms)", ylabel="frames at most this late (%)", ylim=(0, 103))
    for axes in (histogram, cumulative):
        axes.set_xlim(left=0)
        _mark(axes, marks_ms, labeled=axes is cumulative)
    return _svg_uri(figure)


def stages_figure(stages_ms: Mapping[str, Mapping[str, Any]]) -> str:
    """Cumulative share of the frames over the time of each stage; each has `cdf`, values at equal shares."""
    figure = Figure(figsize=(7.2, 2.9))
    axes = figure.subplots()
    for (name, stage), (color, line) in zip(stages_ms.items(), cycle(_LINES), strict=False):
        share = np.linspace(0, 100, len(stage["cdf"]))
        axes.plot(stage["cdf"], share, line, color=color, label=name)
    axes.set(xlabel="time of the stage (ms)", ylabel="frames within it (%)", ylim=(0, 103))
    axes.set_xlim(left=0)
    axes.legend(loc="lower right", frameon=False, labelcolor=INK, fontsize=8)
    return _svg_uri(figure)


def difference_figure(depth_after_ms: NDArray[np.float64]) -> str:
    """Histogram of (N,) stamp differences, depth minus color."""
    figure = Figure(figsize=(7.2, 2.2))
    axes = figure.subplots()
    axes.hist(depth_after_ms, bins=41, color=BLUE)
    axes.set(xlabel="stamp of depth minus stamp of color (ms)", ylabel="pairs")
    return _svg_uri(figure)


def timeline_figure(
    latency_s_ms: NDArray[np.float64], miou_s: NDArray[np.float64] | None, dropped_s: NDArray[np.float64]
) -> str:
    """Latency, accuracy and dropped frames over the bag's time.

    Args:
        latency_s_ms: (N, 2) seconds from the bag's start, milliseconds.
        miou_s: (M, 2) seconds, mIoU of the frame; None without ground truth.
        dropped_s: (D,) seconds of the dropped frames.
    """
    rows = 1 if miou_s is None else 2
    figure = Figure(figsize=(7.2, 1.9 * rows + 0.6))
    panels = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    panels[0].plot(*latency_s_ms.T, ".", color=BLUE, markersize=4)
    panels[0].set(ylabel="latency (ms)")
    panels[0].set_ylim(0, 1.25 * float(latency_s_ms[:, 1].max()))  # leaves room for the legend
    if dropped_s.size:
        label = f"dropped ({dropped_s.size})"
        panels[0].plot(dropped_s, np.zeros_like(dropped_s), "|", color=ORANGE, markersize=9, label=label)
        panels[0].legend(loc="upper right", frameon=False, labelcolor=INK, fontsize=8)
    if miou_s is not None:
        panels[1].plot(*miou_s.T, ".", color=BLUE, markersize=4)
        panels[1].set(ylabel="mIoU of the frame", ylim=(0, 1.03))
    panels[-1].set(xlabel="time in the bag (s)")
    return _svg_uri(figure)


def calibration_figure(calibration: Mapping[str, Any], taxonomy: Taxonomy) -> str:
    """Reliability of the confidence, and precision over recall of each obstacle class as `min_confidence` rises."""
    figure = Figure(figsize=(7.2, 2.9))
    reliability, curves = figure.subplots(1, 2)
    columns = (calibration[key] for key in ("confidence", "accuracy", "share"))
    points = [p for p in zip(*columns, strict=True) if p[1] is not None and p[2] > 1e-5]
    reliability.plot([0, 1], [0, 1], "--", color=INK, linewidth=1)
    if points:
        confidence, accuracy, share = np.array(points).T
        reliability.scatter(confidence, accuracy, s=6 + 60 * np.sqrt(share), color=BLUE)
    reliability.set(xlabel="confidence", ylabel="share of right pixels", xlim=(0, 1.03), ylim=(0, 1.03))
    names = {c.name for c in taxonomy.classes}
    for (name, curve), color in zip(calibration["precision_recall"].items(), (BLUE, ORANGE, INK), strict=False):
        pairs = [(r, p) for r, p in zip(curve["recall"], curve["precision"], strict=True) if None not in (r, p)]
        if pairs and name in names:
            curves.plot(*np.array(pairs).T, color=color, label=name)
    curves.set(xlabel="recall", ylabel="precision", xlim=(0, 1.03), ylim=(0, 1.03))
    if curves.lines:
        curves.legend(loc="lower left", frameon=False, labelcolor=INK, fontsize=8)
    return _svg_uri(figure)


def _mark(axes: Axes, marks_ms: dict[str, float], *, labeled: bool) -> None:
    for i, (name, value_ms) in enumerate(marks_ms.items()):
        axes.axvline(value_ms, color=ORANGE, linewidth=1, linestyle=("-", "--", ":")[i % 3])
        if labeled:
            late = value_ms > 0.7 * axes.get_xlim()[1]  # no room on its right
            axes.annotate(
                f"{name} {value_ms:.0f} ms",
                (value_ms, 8 + 14 * i),
                textcoords="offset points",
                xytext=(-4 if late else 4, 0),
                ha="right" if late else "left",
                color=INK,
                fontsize=8,
            )


def _svg_uri(figure: Figure) -> str:
    for axes in figure.axes:
        axes.patch.set_alpha(0)
        axes.tick_params(colors=INK, labelsize=8)
        axes.xaxis.label.set_color(INK)
        axes.yaxis.label.set_color(INK)
        axes.grid(color=INK, alpha=0.2, linewidth=0.6)
        axes.set_axisbelow(True)
        for side, spine in axes.spines.items():
            spine.set_color(INK)
            spine.set_visible(side in ("left", "bottom"))
    width_in, height_in = figure.get_size_inches()
    # All have labels of one size. tight_layout() finds the same margins by drawing everything once more.
    figure.subplots_adjust(
        left=0.65 / width_in, right=1 - 0.1 / width_in, bottom=0.5 / height_in, top=1 - 0.1 / height_in, wspace=0.28
    )
    buffer = BytesIO()
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "road_kd_seg", "text.parse_math": False}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
