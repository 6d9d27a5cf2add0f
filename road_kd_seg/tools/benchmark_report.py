# SPDX-License-Identifier: Apache-2.0
"""The results of `seg_benchmark`: machine, ratios, table and JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from road_kd_seg.environment import describe_environment
from road_kd_seg.files import write_file

CPKD_STUDENT, TEACHER = "mafnet_r18", "mafnet_r152"


def describe_machine(before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Machine and versions, with its load average (1 minute) now, and at the start if that was described before."""
    load = round(os.getloadavg()[0], 2)
    if before is None:
        return {**describe_environment(), "load_before": load}
    return {**before, "load_after": load}


def ratios(
    rows: Sequence[Mapping[str, Any]], extra_ms: Mapping[str, float], node: Sequence[Mapping[str, Any]]
) -> dict[str, float | None]:
    """What carries over between machines; None where a part was not timed.

    Args:
        rows: of the report; the first is the model as it would run here.
        extra_ms: `outputs` (both masks and the overlay) and `naive` (pipeline and outputs as tutorials do them).
        node: of the report.
    """
    student = rows[0]
    pipelines_ms = {row["network"]: row["pipeline_ms"] for row in rows[1:]}

    def over_student(network: str) -> float | None:
        return round(pipelines_ms[network] / student["pipeline_ms"], 2) if network in pipelines_ms else None

    return {
        "cpkd_student_over_student": over_student(CPKD_STUDENT),
        "teacher_over_student": over_student(TEACHER),
        "pipeline_over_forward": round(student["pipeline_ms"] / student["forward_ms"], 3),
        "overhead_ms": round(student["pipeline_ms"] - student["forward_ms"], 3),
        "naive_over_pipeline": round(extra_ms["naive"] / (student["pipeline_ms"] + extra_ms["outputs"]), 2),
        "node_over_pipeline": round(node[0]["latency_p50_ms"] / student["pipeline_ms"], 2) if node else None,
    }


def print_report(report: Mapping[str, Any]) -> None:
    """Tables for people."""
    console, machine = Console(markup=False), report["machine"]
    console.print(
        f"{machine['cpu']}, {machine['cores']} CPUs, load {machine['load_before']} before and"
        f" {machine['load_after']} after"
    )
    for name, title in (("rows", "one frame of 576x1024, medians"), ("node", "seg_node under bag_player")):
        if report[name]:
            table = Table(*report[name][0], title=title)
            for row in report[name]:
                table.add_row(*map(_cell, row.values()))
            console.print(table)
    for name, value in report["ratios"].items():
        console.print(f"{name}: {value}")


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{count} {name}" for name, count in value.items() if count) or "none"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """JSON."""
    write_file(path, (json.dumps(report, indent=2) + "\n").encode())
