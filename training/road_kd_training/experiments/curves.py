# SPDX-License-Identifier: Apache-2.0
"""Curves as pictures: results along a sweep's parameter, and agreement with the teacher over training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure as Canvas

from road_kd_training.experiments.base import Sweep
from road_kd_training.experiments.report import Report
from road_kd_training.experiments.scales import meaning_of


def draw_curves(report: Report) -> Path | None:
    """Write a PNG with a panel per sweep; None if the experiment has none, or nothing has run."""
    sweeps = report.plan.experiment.sweeps
    if not any(_points(report, sweep) for sweep in sweeps):
        return None
    canvas = Canvas(figsize=(5.2 * len(sweeps), 3.8), layout="constrained")
    for axes, sweep in zip(canvas.subplots(1, len(sweeps), squeeze=False)[0], sweeps, strict=True):
        for name, points in _points(report, sweep).items():
            x, y, spread = zip(*sorted(points), strict=True)
            axes.errorbar(x, y, yerr=spread, marker="o", markersize=4, capsize=3, label=name)
        for style, line in zip(("--", ":", "-."), _levels(report, sweep), strict=False):
            axes.axhline(line[1], color="#7d8590", linestyle=style, label=line[0])
        axes.set(xlabel=sweep.x_label, ylabel=f"{report.primary.name}, reproduced")
        axes.legend(frameon=False, fontsize=8)
    canvas.suptitle(f"{report.plan.experiment.title}\n{meaning_of(report.plan.scale)}", fontsize=9)
    path = report.path("png")
    canvas.savefig(path, dpi=150)
    return path


def draw_alignment(report: Report) -> Path | None:
    """Write a PNG of each row's agreement with the teacher's features over training, the spread of its runs shaded.

    None if nothing was followed.
    """
    followed = [line for line in report.lines if line.alignments]
    if not followed:
        return None
    canvas = Canvas(figsize=(6.4, 4.2), layout="constrained")
    axes = canvas.subplots()
    for line in followed:
        steps = [step for step, _ in line.alignments[0]]
        values = np.array([[value for _, value in run] for run in line.alignments])
        axes.plot(steps, values.mean(axis=0), marker="o", markersize=3, label=line.row.label)
        axes.fill_between(steps, values.min(axis=0), values.max(axis=0), alpha=0.15)
    axes.set(xlabel="training step", ylabel="CKA with the teacher's features", ylim=(0, 1))
    axes.legend(frameon=False, fontsize=8)
    canvas.suptitle(f"{report.plan.experiment.title}\n{meaning_of(report.plan.scale)}", fontsize=9)
    path = report.path("png")
    canvas.savefig(path, dpi=150)
    return path


def _points(report: Report, sweep: Sweep) -> dict[str, list[tuple[float, float, float]]]:
    """x, mean and standard deviation (0 of a single run) of each curve's rows that have run."""
    curves: dict[str, list[tuple[float, float, float]]] = {}
    for line in report.lines:
        result = line.results[report.primary.name]
        if line.row.key in sweep.points and result.mean is not None:
            name, x = sweep.points[line.row.key]
            curves.setdefault(name, []).append((x, result.mean, result.sd or 0.0))
    return curves


def _levels(report: Report, sweep: Sweep) -> list[tuple[str, float]]:
    found = {line.row.key: (line.row.label, line.results[report.primary.name].mean) for line in report.lines}
    return [(found[key][0], mean) for key in sweep.levels if (mean := found[key][1]) is not None]
