# SPDX-License-Identifier: Apache-2.0
"""A table on the terminal, as Markdown and as JSON: reported and reproduced results, and how these came about."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from road_kd_training.errors import TrainingError
from road_kd_training.experiments.base import Experiment, Metric
from road_kd_training.experiments.claims import (
    NOTHING,
    interval,
    learning_curves,
    number,
    reproduced,
    resolution,
    rules,
)
from road_kd_training.experiments.plan import Plan
from road_kd_training.experiments.records import Record
from road_kd_training.experiments.results import Line, Result, gather
from road_kd_training.experiments.runs import Key
from road_kd_training.experiments.scales import meaning_of
from road_kd_training.experiments.settings import describe_settings
from road_kd_training.experiments.stated import differences


@dataclass(frozen=True)
class Report:
    """Everything that is printed of a table."""

    plan: Plan
    lines: Sequence[Line]
    command: str
    """That makes it again."""
    environments: Sequence[Mapping[str, str | int | None]]
    """Of the runs, without repetition."""

    @staticmethod
    def of(plan: Plan, records: Mapping[Key, Record], failures: Mapping[Key, str], command: str) -> Report:
        """Gather a plan's results."""
        found: list[Mapping[str, str | int | None]] = []
        for record in records.values():
            if record.environment not in found:
                found.append(record.environment)
        return Report(plan, gather(plan, records, failures), command, found)

    @property
    def primary(self) -> Metric:
        """The metric of the gains."""
        return self.plan.experiment.metrics[0]

    @property
    def has_curve(self) -> bool:
        """Whether a baseline was also trained for longer."""
        return any(line.over_longest is not None for line in self.lines)

    def path(self, ending: str) -> Path:
        """File of this report."""
        return self.plan.out / f"{self.plan.experiment.id.replace('/', '_')}_{self.plan.name}.{ending}"

    def columns(self) -> list[str]:
        """Heads of the main table."""
        name = self.primary.name + (" ↓" if self.primary.lower_is_better else "")
        return [
            "row",
            "network",
            "params (M)",
            "steps",
            f"{name}, reported",
            f"{name}, reproduced",
            "gain, reported",
            "gain, reproduced",
            "95 % interval",
            *([OVER_LONGEST] if self.has_curve else []),
            "claim",
            "share of gradient",
        ]

    def cells(self, line: Line) -> list[str]:
        """One line of the main table."""
        metric, result, gain = self.primary, line.results[self.primary.name], line.gains.get(self.primary.name)
        return [
            line.row.label,
            line.network or NOTHING,
            NOTHING if line.parameters is None else f"{line.parameters / 1e6:.2f}",
            NOTHING if line.steps is None else f"{line.steps:,}",
            number(result.reported, metric),
            reproduced(result, metric) if result.reproduced else line.state if line.state != "cited" else NOTHING,
            NOTHING if gain is None else number(gain.reported, metric, sign=True),
            NOTHING if gain is None else reproduced(gain, metric, sign=True),
            NOTHING if gain is None else interval(gain, metric),
            *([_over_longest(line, metric)] if self.has_curve else []),
            NOTHING if line.verdict is None else line.verdict.describe(),
            ", ".join(f"{_term(term)} {share:.2g}" for term, share in line.shares.items()) or NOTHING,
        ]


OVER_LONGEST = "over the longest baseline"
_FILE_ONLY = ("network", "params (M)", "steps", "share of gradient")


def terminal_table(report: Report) -> Table:
    """For rich: what fits a terminal; network, parameters, steps and shares of the gradient stand in the files."""
    head = [report.plan.experiment.title, meaning_of(report.plan.scale), resolution(report.plan, report.lines)]
    table = Table(title="\n".join(filter(None, head)))
    hidden = _FILE_ONLY if report.plan.experiment.dataset else (*_FILE_ONLY, "reported")
    columns = [index for index, column in enumerate(report.columns()) if not column.endswith(hidden)]
    for index in columns:
        table.add_column(report.columns()[index], justify="right" if index else "left", overflow="fold")
    for group, lines in _groups(report.lines):
        table.add_section()
        if group:
            table.add_row(group, style="bold")
        for line in lines:
            cells = report.cells(line)
            table.add_row(*(cells[index] for index in columns))
    return table


def markdown(report: Report) -> str:
    """The whole report."""
    experiment, plan = report.plan.experiment, report.plan
    blocks = [
        f"# {experiment.title}",
        f"**{meaning_of(plan.scale)}.** {_capital(plan.protocol.summary)}. {_measured_on(experiment)}",
        *filter(None, [resolution(plan, report.lines)]),
        _markdown_table(report.columns(), _main_rows(report)),
        "Reproduced: mean ± standard deviation (number of runs). Gains are over the baseline student, which had the"
        " same data; reproduced ones are paired by seed. Seeds vary the student's first weights and the"
        " order of its data; a teacher is trained once. ↓ means that lower is better. Share of gradient: the norm of"
        " each weighted term's gradient in the student over the cross entropy's, on one batch after the warm-up.",
        rules(plan),
        *learning_curves(report.lines, report.primary),
    ]
    if len(experiment.metrics) > 1:
        names = [metric.name + (" ↓" if metric.lower_is_better else "") for metric in experiment.metrics]
        heads = ["row", *(f"{name}: reported / reproduced" for name in names)]
        blocks += ["## All results", _markdown_table(heads, _all_rows(report))]
    if any(line.alignments for line in report.lines):
        heads = ["row", "CKA with the teacher, by step: mean over the runs"]
        blocks += ["## Agreement with the teacher over training", _markdown_table(heads, _alignment_rows(report))]
    blocks += _list("What deviates from the paper", _deviations(plan))
    blocks += _list("How the runs trained", describe_settings(plan))
    notes = [f"{line.row.label}: {line.row.note}" for line in report.lines if line.row.note]
    blocks += _list("Notes", [*experiment.notes, *notes])
    blocks += _list("Failed", [f"{line.row.label}, {reason}" for line in report.lines for reason in line.reasons])
    shared = [f"{line.row.label}: {', '.join(line.shared)}" for line in report.lines if line.shared]
    blocks += _list("Rows that an equal run served for", shared)
    blocks += ["## Made by", f"```bash\n{report.command}\n```", *_environments(report)]
    return "\n\n".join(blocks) + "\n"


def as_data(report: Report) -> dict[str, Any]:
    """The same for programs."""
    experiment, plan = report.plan.experiment, report.plan
    return {
        "experiment": experiment.id,
        "title": experiment.title,
        "dataset": experiment.dataset,
        "scale": plan.scale,
        "budget": plan.budget,
        "primary": experiment.primary,
        "meaning": meaning_of(plan.scale),
        "summary": plan.protocol.summary,
        "deviations": _deviations(plan),
        "settings": describe_settings(plan),
        "notes": list(experiment.notes),
        "command": report.command,
        "environments": [dict(environment) for environment in report.environments],
        "metrics": [metric.name for metric in experiment.metrics],
        "rows": [_line_as_data(line) for line in report.lines],
    }


def write(report: Report) -> None:
    """Both files.

    Raises:
        TrainingError: they cannot be written.
    """
    try:
        report.plan.out.mkdir(parents=True, exist_ok=True)
        report.path("md").write_text(markdown(report), encoding="utf-8")
        text = json.dumps(as_data(report), indent=2, ensure_ascii=False, allow_nan=False)
        report.path("json").write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise TrainingError(f"the report cannot be written to {report.plan.out}: {error}") from error


def _deviations(plan: Plan) -> list[str]:
    """What the plan shows, and what no field of a configuration holds."""
    return [*(differences(plan) if plan.scale == "full" else []), *plan.protocol.deviations]


def _measured_on(experiment: Experiment) -> str:
    return f"The paper measures on {experiment.dataset}." if experiment.dataset else "No paper has such a table."


def _line_as_data(line: Line) -> dict[str, Any]:
    return {
        "key": line.row.key,
        "label": line.row.label,
        "group": line.row.group,
        "role": line.row.role,
        "state": line.state,
        "network": line.network,
        "parameters": line.parameters,
        "results": {name: _result_as_data(result) for name, result in line.results.items()},
        "gain_over_longest_baseline": None if line.over_longest is None else _result_as_data(line.over_longest),
        "gains": {name: _result_as_data(result) for name, result in line.gains.items()},
        "steps": line.steps,
        "gradient_shares": dict(line.shares),
        "alignments": [[list(point) for point in run] for run in line.alignments],
        "verdict": None if line.verdict is None else dataclasses.asdict(line.verdict),
        "failures": list(line.reasons),
        "shared": list(line.shared),
        "training_seconds": round(line.seconds, 1),
        "note": line.row.note,
    }


def _result_as_data(result: Result) -> dict[str, Any]:
    return {"reported": result.reported, "mean": result.mean, "sd": result.sd, "runs": list(result.reproduced)}


def _groups(lines: Sequence[Line]) -> Iterator[tuple[str, list[Line]]]:
    """Neighbors of one heading together."""
    start = 0
    for end in range(1, len(lines) + 1):
        if end == len(lines) or lines[end].row.group != lines[start].row.group:
            yield lines[start].row.group, list(lines[start:end])
            start = end


def _main_rows(report: Report) -> Iterator[list[str]]:
    for group, lines in _groups(report.lines):
        if group:
            yield [f"**{group}**", *[""] * (len(report.columns()) - 1)]
        for line in lines:
            yield report.cells(line)


def _all_rows(report: Report) -> Iterator[list[str]]:
    for line in report.lines:
        results = [(line.results[metric.name], metric) for metric in report.plan.experiment.metrics]
        yield [line.row.label, *(f"{number(f.reported, metric)} / {reproduced(f, metric)}" for f, metric in results)]


def _alignment_rows(report: Report) -> Iterator[list[str]]:
    for line in report.lines:
        if line.alignments:
            by_step = zip(*line.alignments, strict=True)
            means = (f"{points[0][0]}: {statistics.fmean(value for _, value in points):.3f}" for points in by_step)
            yield [line.row.label, ", ".join(means)]


def _environments(report: Report) -> list[str]:
    lines = [
        f"{environment.get('device')}; revision {environment.get('git')}; torch {environment.get('torch')}, Python"
        f" {environment.get('python')}"
        for environment in report.environments
    ]
    minutes = sum(line.seconds for line in report.lines) / 60
    if report.plan.experiment.speed:
        lines.append(
            "forward passes: batch 1 at the input's size, interleaved; float32 on a CPU and of detectors, else float16"
        )
    return ["\n".join(f"- {line}" for line in [*lines, f"{minutes:.1f} minutes of training steps in all"])]


def _over_longest(line: Line, metric: Metric) -> str:
    if line.over_longest is None or not line.over_longest.reproduced:
        return NOTHING
    return f"{reproduced(line.over_longest, metric, sign=True)} {interval(line.over_longest, metric)}"


def _term(name: str) -> str:
    """A term without its method's name."""
    return name.partition("/")[2]


def _markdown_table(heads: Sequence[str], rows: Iterator[list[str]]) -> str:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [list(heads), ["---", *["---:"] * (len(heads) - 1)], *escaped]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _list(title: str, items: Sequence[str]) -> list[str]:
    return [f"## {title}", "\n".join(f"- {_capital(item)}." for item in items)] if items else []


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
