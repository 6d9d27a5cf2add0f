# SPDX-License-Identifier: Apache-2.0
"""Equal budgets: how many steps each row may take, so that it costs what its baseline costs, teacher included.

Published gains shrink where the baseline student is trained for as long as the distilled one. Costs are measured on
this machine, each row beside its baseline, and kept with the runs: the plan stays the same when the table is resumed.
Where teachers' outputs are stored, their forward passes on all crops are a cost of the row, paid once.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from road_kd_seg.files import write_file
from road_kd_seg.host import num_cpus
from road_kd_training.data import build_datasets
from road_kd_training.errors import TrainingError
from road_kd_training.experiments.base import Experiment, Row
from road_kd_training.experiments.plan import Budget, Plan, Run, fingerprint
from road_kd_training.experiments.step_cost import step_costs, step_of, storing_of

COSTS = "costs.json"
LONGER = (2, 4)
"""Schedules that show whether a baseline has reached its plateau, as multiples of its own."""
CURVE, CURVE_SEEDS = "Baselines with longer schedules", 3


def with_learning_curve(experiment: Experiment) -> Experiment:
    """The table with longer schedules of every baseline that gains are measured against, at its end: they cost most."""
    rows = experiment.rows
    baselines = [baseline for row in rows if (baseline := experiment.baseline_of(row)) is not None]
    compared = {_shortest(rows, baseline).key for baseline in baselines if baseline.role == "baseline"}
    known = {row.key for row in rows}
    curve = [
        dataclasses.replace(longer(row, factor), group=CURVE)
        for row in rows
        for factor in LONGER
        if row.key in compared and longer_key(row, factor) not in known
    ]
    return dataclasses.replace(experiment, rows=(*rows, *curve))


def longer_schedules(rows: Sequence[Row], baseline: Row) -> list[Row]:
    """The rows that train a baseline's student for longer than it, the shortest first."""
    keys = {longer_key(_shortest(rows, baseline), factor) for factor in LONGER}
    found = [row for row in rows if row.key in keys and row.schedule > baseline.schedule]
    return sorted(found, key=lambda row: row.schedule)


def _shortest(rows: Sequence[Row], baseline: Row) -> Row:
    """The row that a baseline is a longer schedule of; itself, if of none."""
    return next((row for row in rows for factor in LONGER if longer_key(row, factor) == baseline.key), baseline)


def longer_key(baseline: Row, factor: int) -> str:
    """Key of the row that is `baseline` with `factor` times its steps."""
    return f"{baseline.key}_x{factor}"


def longer(baseline: Row, factor: int) -> Row:
    """The same student, trained for `factor` times as long."""
    return dataclasses.replace(
        baseline,
        key=longer_key(baseline, factor),
        label=f"{baseline.label}, {factor} times the steps",
        paper={},
        schedule=factor * baseline.schedule,
        max_seeds=CURVE_SEEDS,
        note="",
    )


def halved(baseline: Row, note: str) -> Row:
    """The same student after half of the steps: what a row with dear steps is to be compared with besides."""
    return dataclasses.replace(
        baseline,
        key=f"{baseline.key}_half",
        label=f"{baseline.label}, half of the steps",
        paper={},
        schedule=baseline.schedule / 2,
        note=note,
    )


def fair_steps(plan: Plan) -> dict[str, int]:
    """Steps of each distilled row that cost what its baseline's steps cost, by key.

    Args:
        plan: of the same rows at equal steps. What is measured is written into its folder, and read from there.

    Raises:
        TrainingError: the record of an earlier measurement cannot be read.
    """
    path = plan.folder / COSTS
    record = _read(path)
    first: dict[str, Run] = {}
    for run in plan.runs:
        first.setdefault(run.row.key, run)
    steps: dict[str, int] = {}
    for key, run in first.items():
        baseline = plan.experiment.baseline_of(run.row)
        if run.row.role != "distilled" or not run.trains or baseline is None or baseline.key not in first:
            continue
        signature = _signature(run)
        if record.get(key, {}).get("signature") != signature:
            record[key] = {**_costs(run, first[baseline.key], plan.budget), "signature": signature}
            write_file(path, (json.dumps(record, indent=1) + "\n").encode(), error=TrainingError)
        share = run.row.schedule / baseline.schedule  # of a budget that several rows, one after the other, spend
        budget = share * steps.get(baseline.key, first[baseline.key].config.steps)
        left = budget - record[key].get("storing_in_steps", 0.0)
        if left <= 0:
            raise TrainingError(
                f"{plan.experiment.id}: storing the teacher outputs of row {key} costs more than all {budget:.0f} steps"
                " of its baseline: fewer stored_crops, or more steps"
            )
        steps[key] = max(1, round(left / record[key]["steps_of_baseline"]))
    return steps


def loaded_costs(plan: Plan) -> str:
    """Which rows' costs were measured while other work had the CPUs, for people; empty if none were.

    Processor time suffers too: threads share caches and execution units, and not every step suffers alike.
    """
    path = plan.folder / COSTS
    loads = {key: cost.get("load_average", 0.0) for key, cost in _read(path).items()}
    loaded = [key for key, load in loads.items() if load > num_cpus()]
    if not loaded:
        return ""
    return (
        f"the cost of {', '.join(loaded)} was measured at a load of {max(loads.values())} on {num_cpus()} CPUs and may"
        f" be off by a third: on an idle machine, before the rows are trained, delete {path} and start again"
    )


def _costs(run: Run, baseline: Run, budget: Budget) -> dict[str, float]:
    """Seconds of a step of the row and of its baseline, and their ratio; what storing teachers' outputs costs, once, in
    steps of the baseline; the machine's load."""
    config = run.config
    calls = {"row": step_of(run), "baseline": step_of(baseline)}
    cost = step_costs(calls | ({"storing": storing_of(run)} if config.stored_crops else {}), budget)
    load = round(os.getloadavg()[0], 1)
    found = {"steps_of_baseline": cost["row"] / cost["baseline"], **cost, "load_average": load}
    if config.stored_crops:
        images = sum(len(source) for source in build_datasets([*config.train, *config.unlabeled]))
        batches = config.stored_crops * images / (config.batch_size + config.unlabeled_batch_size)
        found["storing_in_steps"] = batches * cost["storing"] / cost["baseline"]
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, json.JSONDecodeError) as error:
        raise TrainingError(f"{path} cannot be read: {error}: delete it to measure again") from error
    return found


def _signature(run: Run) -> str:
    """Of the planned run at equal steps: a changed recipe is measured again, a further seed is not."""
    return fingerprint(dataclasses.replace(run.config, seed=0), [teacher.fingerprint for teacher in run.needs])
