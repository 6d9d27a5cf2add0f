# SPDX-License-Identifier: Apache-2.0
"""A table's results, reported and reproduced, gathered from the runs: pure, before anything is printed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from road_kd_training.experiments.alignment import Alignment
from road_kd_training.experiments.base import Metric, Row
from road_kd_training.experiments.budget import longer_schedules
from road_kd_training.experiments.ledger import Verdict, judge
from road_kd_training.experiments.plan import Plan, Run
from road_kd_training.experiments.records import Record
from road_kd_training.experiments.runs import Key


@dataclass(frozen=True)
class Result:
    """One number of the paper, and the same of our runs, by seed."""

    reported: float | None = None
    reproduced: Sequence[float] = ()

    @property
    def mean(self) -> float | None:
        """Over the runs; None without any."""
        return statistics.fmean(self.reproduced) if self.reproduced else None

    @property
    def sd(self) -> float | None:
        """Sample standard deviation over the runs; None with fewer than two."""
        return statistics.stdev(self.reproduced) if len(self.reproduced) > 1 else None


@dataclass(frozen=True)
class Line:
    """One row of the table."""

    row: Row
    state: str
    """done, not run, failed or cited; `2 of 3 done` while seeds are missing."""
    results: Mapping[str, Result]
    """By name of the metric."""
    gains: Mapping[str, Result]
    """Over the baseline student; empty for rows that have none. Reproduced gains are paired by seed."""
    verdict: Verdict | None = None
    """On the paper's gain in the first metric; None without a claim, and where results rank nothing."""
    over_longest: Result | None = None
    """Gain in the first metric over the baseline's longest schedule, by seed; None where there is none."""
    network: str = ""
    """What ran, with substitutes."""
    parameters: int | None = None
    reasons: Sequence[str] = ()
    """Why seeds failed."""
    shared: Sequence[str] = ()
    """Folders of equal runs that served for this row."""
    seconds: float = 0.0
    """Of training, all seeds."""
    steps: int | None = None
    """That were planned."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Of the gradient, by term, over the cross entropy's; mean over the runs."""
    alignments: Sequence[Alignment] = ()
    """With the teacher's features over training, of each run."""


def gather(plan: Plan, records: Mapping[Key, Record], failures: Mapping[Key, str]) -> list[Line]:
    """The lines of the paper's table, in its order; rows that were not asked for are `not run`."""
    return [_line(plan, row, records, failures) for row in plan.experiment.rows]


def _line(plan: Plan, row: Row, records: Mapping[Key, Record], failures: Mapping[Key, str]) -> Line:
    experiment = plan.experiment
    runs = plan.runs_of(row)
    done = [(run, records[row.key, run.seed]) for run in runs if (row.key, run.seed) in records]
    baseline = experiment.baseline_of(row)
    results = {metric.name: _result(row, metric, done) for metric in experiment.metrics}
    gains = {m.name: _gain(row, baseline, m, done, records) for m in experiment.metrics} if baseline is not None else {}
    if plan.scale == "smoke":  # its results rank nothing
        gains = {name: Result(gain.reported) for name, gain in gains.items()}
    return Line(
        row,
        _state(row, runs, len(done), failures),
        results,
        gains,
        verdict=_verdict(plan, gains.get(experiment.metrics[0].name)) if done else None,
        over_longest=_over_longest(plan, row, baseline, done, records),
        network=runs[0].config.network.name if runs else row.network,
        parameters=done[0][1].outcome.parameters if done else None,
        reasons=[f"seed {seed}: {reason}" for (key, seed), reason in failures.items() if key == row.key],
        shared=[
            record.trained.relative_to(plan.out).as_posix()
            for run, record in done
            if run.trains and record.trained != run.folder
        ],
        seconds=sum(record.seconds for _, record in done),
        steps=runs[0].config.steps if runs and runs[0].trains else None,
        shares=_shares([record for _, record in done]),
        alignments=[record.alignment for _, record in done if record.alignment],
    )


def _shares(records: Sequence[Record]) -> dict[str, float]:
    terms = list(dict.fromkeys(term for record in records for term in record.gradient_shares))
    return {
        term: statistics.fmean([record.gradient_shares[term] for record in records if term in record.gradient_shares])
        for term in terms
    }


def _result(row: Row, metric: Metric, done: Sequence[tuple[Run, Record]]) -> Result:
    values = [metric.measure(record.outcome) for _, record in done]
    return Result(row.paper.get(metric.name), [value for value in values if not math.isnan(value)])


def _gain(
    row: Row, baseline: Row, metric: Metric, done: Sequence[tuple[Run, Record]], records: Mapping[Key, Record]
) -> Result:
    with_method, without = row.paper.get(metric.name), baseline.paper.get(metric.name)
    reported = None if with_method is None or without is None else with_method - without
    pairs = [(record, records[baseline.key, run.seed]) for run, record in done if (baseline.key, run.seed) in records]
    values = [metric.measure(one.outcome) - metric.measure(other.outcome) for one, other in pairs]
    return Result(reported, [value for value in values if not math.isnan(value)])


def _over_longest(
    plan: Plan,
    row: Row,
    baseline: Row | None,
    done: Sequence[tuple[Run, Record]],
    records: Mapping[Key, Record],
) -> Result | None:
    if baseline is None or plan.scale == "smoke":
        return None
    trained = {key for key, _ in records}
    curve = [longer for longer in longer_schedules(plan.experiment.rows, baseline) if longer.key in trained]
    if not curve:
        return None
    return Result(None, _gain(row, curve[-1], plan.experiment.metrics[0], done, records).reproduced)


def _verdict(plan: Plan, gain: Result | None) -> Verdict | None:
    if plan.scale == "smoke" or gain is None:
        return None
    if not plan.experiment.dataset:  # ours: each row claims to help
        return judge(gain.reproduced, None, lower_is_better=plan.experiment.metrics[0].lower_is_better)
    return judge(gain.reproduced, gain.reported) if gain.reported else None


def _state(row: Row, runs: Sequence[Run], done: int, failures: Mapping[Key, str]) -> str:
    if row.role == "cited":
        return "cited"
    if any(key == row.key for key, _ in failures):
        return "failed"
    if not done:
        return "not run"
    return "done" if done == len(runs) else f"{done} of {len(runs)} done"
