# SPDX-License-Identifier: Apache-2.0
"""`road-kd reproduce`: a table of a paper, reported and reproduced."""

from __future__ import annotations

import functools
import shlex
from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console
from rich.table import Table

from road_kd_seg.files import make_folder
from road_kd_training.commands.arguments import REPRODUCE_DEFAULTS
from road_kd_training.errors import TrainingError
from road_kd_training.experiments import find_experiment
from road_kd_training.experiments.budget import fair_steps, loaded_costs, with_learning_curve
from road_kd_training.experiments.costs import with_costs
from road_kd_training.experiments.curves import draw_alignment, draw_curves
from road_kd_training.experiments.pictures import draw_pictures
from road_kd_training.experiments.plan import Plan, make_plan
from road_kd_training.experiments.records import changed_fields, find_trained, read_record
from road_kd_training.experiments.report import Report, terminal_table, write
from road_kd_training.experiments.runs import Runner
from road_kd_training.experiments.scales import meaning_of
from road_kd_training.terminal import plain_console


def run(options: Namespace) -> None:
    """Carry out the plan, and print what is known when it ends or is interrupted.

    Raises:
        TrainingError: an unknown table, scale or row; at the end, if a run has failed.
        DatasetError: a dataset that is missing, before anything trains.
    """
    if not options.dry_run:
        make_folder(Path(options.out), error=TrainingError)
    console = plain_console()
    plan = plan_of(options, console)
    console.print(f"{meaning_of(plan.scale)}: {plan.protocol.summary}")
    if options.dry_run:
        console.print(plan_table(plan))
        console.print("next: the same command without --dry-run")
        return
    runner = Runner(plan, replace=options.replace)
    runner.read_finished()
    runner.check_data()
    try:
        runner.carry_out()
    finally:
        if runner.processes.is_main_process:
            _report(runner, command_of(options), console, options.pictures)
    if runner.failures:
        rows = ", ".join(dict.fromkeys(key for key, _ in runner.failures))
        raise TrainingError(
            f"{len(runner.failures)} of {len(plan.runs)} runs failed (rows {rows}): the table says why, and failure.txt"
            f" in their folders below {plan.out} says where; the same command tries them again"
        )


def plan_of(options: Namespace, console: Console) -> Plan:
    """The plan that the options ask for; the costs of an equal budget are measured unless they are on record."""
    experiment = find_experiment(options.experiment)
    if experiment.task == "detection" and (options.budget != "steps" or options.pictures):
        raise TrainingError(
            f"{experiment.id}: detectors train equal steps and have no pictures: leave --budget and --pictures out"
        )
    experiment = experiment if options.budget == "steps" else with_learning_curve(experiment)
    make = functools.partial(
        make_plan,
        experiment,
        options.scale,
        out=options.out,
        data_root=options.data_root,
        rows=options.rows,
        seeds=options.seeds,
        budget=options.budget,
    )
    plan = make()
    if options.budget == "steps":
        return plan
    console.print(f"equal {options.budget} time: measuring what a step of each row costs, unless it is on record")
    steps = fair_steps(plan)
    if warning := loaded_costs(plan):
        console.print(f"note: {warning}", soft_wrap=True)
    return make(steps=steps)


def _report(runner: Runner, command: str, console: Console, pictures: int) -> None:
    records = with_costs(runner.plan, runner.records)
    report = Report.of(runner.plan, records, runner.failures, command)
    write(report)
    drawn = [path for path in (draw_curves(report), draw_alignment(report)) if path is not None]
    drawn += draw_pictures(report, runner.records, pictures) if pictures else []
    console.print(terminal_table(report))
    for line in report.lines:
        for reason in line.reasons:
            console.print(f"failed: {line.row.label}, {reason}")
    written = [report.path("md"), report.path("json"), *drawn]
    console.print("wrote " + ", ".join(map(str, written)), soft_wrap=True)
    if not runner.failures:
        console.print(f"next: read {written[0]}; more --seeds narrow what it says", soft_wrap=True)


def plan_table(plan: Plan) -> Table:
    """The runs in order, with what is there already."""
    table = Table("#", "row", "seed", "network", "methods", "learns from", "steps", "state")
    for number, one in enumerate(plan.runs, 1):
        config = one.config
        methods = " + ".join(method.method for method in config.distillers) or "supervised"
        teachers = ", ".join([*one.row.teachers, *one.row.peers]) or (one.row.peer_of and f"with {one.row.peer_of}")
        steps = f"{config.steps}" if one.trains else "–"
        state = "finished" if read_record(one, plan.tests_of(one), plan.out) else _state_of(plan, number - 1)
        table.add_row(f"{number}", one.row.key, f"{one.seed}", config.network.name, methods, teachers, steps, state)
    return table


def _state_of(plan: Plan, index: int) -> str:
    one = plan.runs[index]
    if changed_fields(one):
        return f"stale: other {', '.join(changed_fields(one))}"
    if find_trained(one, plan.out) is not None:
        return "trained"
    equal = next((other for other in plan.runs[:index] if other.fingerprint == one.fingerprint), None)
    return f"as {equal.row.key}" if equal else "to do"


def command_of(options: Namespace) -> str:
    """The command line that makes the same table."""
    words = ["road-kd", "reproduce", options.experiment, "--scale", options.scale]
    for name in ("budget", "out", "data_root"):
        if options[name] != REPRODUCE_DEFAULTS[name]:
            words += [f"--{name}", str(options[name])]
    for name in ("rows", "seeds"):
        if options[name]:
            words += [f"--{name}", *map(str, options[name])]
    return shlex.join(words)
