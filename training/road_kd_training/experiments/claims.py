# SPDX-License-Identifier: Apache-2.0
"""What a table may claim, in words: how gains are judged, what can be told apart, whether its baseline still climbs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from road_kd_training.experiments.base import Metric
from road_kd_training.experiments.budget import LONGER, longer_key
from road_kd_training.experiments.ledger import half_width, interval_of
from road_kd_training.experiments.plan import Budget, Plan
from road_kd_training.experiments.results import Line, Result

NOTHING = "–"


def resolution(plan: Plan, lines: Sequence[Line]) -> str:
    """What difference this table can tell apart at all; empty where it judges nothing."""
    metric = plan.experiment.metrics[0]
    gains = [line.gains[metric.name].reproduced for line in lines if line.verdict is not None]
    if not gains:
        return ""
    widths = [half_width(values) for values in gains if len(values) > 1]
    if not widths:
        return "One seed tells no difference apart."
    median = f"{statistics.median(widths):.{metric.decimals}f}"
    return f"A gain is known to ± {median} (median over the rows): smaller differences cannot be told apart."


def rules(plan: Plan) -> str:
    """How claims are judged, and what the rows have alike."""
    reported = bool(plan.experiment.dataset)
    claim = "A claim" if reported else "A gain"
    below = "below half of the reported gain" if reported else "on the wrong side of 0"
    return (
        f"{claim} *holds* if the 95 % interval of the paired gain excludes 0, *vanishes* if it lies {below}."
        f" {_EQUAL[plan.budget]}"
    )


_EQUAL: Mapping[Budget, str] = {
    "steps": "Rows have equal numbers of steps: the teacher's training and forward passes come on top of the distilled"
    " rows' cost.",
    "cpu": "Distilled rows had as much processor time for their training steps, the teacher's forward passes included,"
    " as their baseline (costs.json holds what was measured); the teacher's training comes on top.",
    "wall": "Distilled rows had as much time for their training steps, the teacher's forward passes included, as their"
    " baseline (costs.json holds what was measured); the teacher's training comes on top.",
}


def learning_curves(lines: Sequence[Line], metric: Metric) -> list[str]:
    """How far each baseline comes with longer schedules, and whether it still climbs at the end."""
    by_key = {line.row.key: line for line in lines}
    found = []
    for line in lines:
        curve = [line, *(by_key[key] for key in (longer_key(line.row, f) for f in LONGER) if key in by_key)]
        curve = [one for one in curve if one.results[metric.name].reproduced]
        if len(curve) < 2:
            continue
        points = ", ".join(f"{one.steps:,} steps {reproduced(one.results[metric.name], metric)}" for one in curve)
        before, last = (one.results[metric.name].reproduced for one in curve[-2:])
        # Rows of fewer seeds have the first ones: pairs of one seed.
        rise = Result(None, [b - a for a, b in zip(before, last, strict=False)])
        end = interval_of(rise.reproduced)
        gave, climbs = reproduced(rise, metric, sign=True), "one seed does not tell whether it still climbs"
        if end is not None:
            gave += f" {interval(rise, metric)}"
            sure = end[1] < 0 if metric.lower_is_better else end[0] > 0
            climbs = (
                "it still climbs" if sure else "no further rise can be told: its plateau, as far as these seeds tell"
            )
        found.append(
            f"Learning curve of {line.row.label}, each schedule a run of its own: {points}. The last doubling gave"
            f" {gave}: {climbs}."
        )
    return found


def number(value: float | None, metric: Metric, *, sign: bool = False) -> str:
    """With the metric's decimals."""
    return NOTHING if value is None else f"{value:{'+' if sign else ''}.{metric.decimals}f}"


def interval(gain: Result, metric: Metric) -> str:
    """The 95 % interval of the mean."""
    found = interval_of(gain.reproduced)
    return (
        NOTHING if found is None else f"[{number(found[0], metric, sign=True)}, {number(found[1], metric, sign=True)}]"
    )


def reproduced(result: Result, metric: Metric, *, sign: bool = False) -> str:
    """Mean ± standard deviation (number of runs)."""
    if result.mean is None:
        return NOTHING
    spread = "" if result.sd is None else f" ± {result.sd:.{metric.decimals}f}"
    return f"{number(result.mean, metric, sign=sign)}{spread} ({len(result.reproduced)})"
