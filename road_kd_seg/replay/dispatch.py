# SPDX-License-Identifier: Apache-2.0
"""What `replay_eval` does once its arguments are parsed: one bag or several, then what it prints and its exit code."""

from __future__ import annotations

import argparse
import sys

from rich.console import Console

from road_kd_seg.replay.fleet import run_fleet
from road_kd_seg.replay.report.console import print_report
from road_kd_seg.replay.run import evaluate


def run(options: argparse.Namespace) -> int:
    """Evaluate as the parsed command line says; 0, or 1 if a requirement is not met or nothing can be promised.

    Raises:
        RoadKdError: an argument, a bag, the model or a process of a live replay is not as it should be.
    """
    console = Console(markup=False)
    if len(options.bag) > 1:
        report = run_fleet(options, console)
    else:
        _, report = evaluate(options, console)
    print_report(report, options.out, console)
    for note in report.get("notes", ()):
        print(f"note: {note}", file=sys.stderr)
    failing = [gate for gate in report["gates"] if not gate["met"]]
    for gate in failing:
        found = "nothing" if gate["value"] is None else f"{gate['value']:.4g}"
        print(f"requirement not met: {gate['gate']}, measured {found}", file=sys.stderr)
    promise = report.get("promise")
    for name, problem in promise["problems"].items() if promise else ():
        print(f"no promise for {name}: {problem}", file=sys.stderr)
    unpromised = promise is not None and not promise["classes"]
    return 1 if failing or unpromised else 0
