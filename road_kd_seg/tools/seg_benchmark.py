# SPDX-License-Identifier: Apache-2.0
"""Console script `seg_benchmark`: what a model takes in each engine, beside its teacher, its peers and the usual way.

Everything is timed in one run, interleaved, and reported as medians and minima; ratios carry over between machines,
milliseconds only to the one that is named.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from road_kd_seg.errors import RoadKdError, run_tool
from road_kd_seg.files import check_target
from road_kd_seg.host import share_machine


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool; 0, or 1 after one line on stderr."""
    options = _parser().parse_args(arguments)
    return run_tool(lambda: _run(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("seg_benchmark", description="Time a model on frames of 576x1024.")
    parser.add_argument("--model", default="road_student", help="model bundle: a folder, or the name of a shipped one")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, default=0, help="of an engine on a CPU; 0: half of them, at most four")
    parser.add_argument("--rounds", type=int, default=15, help="timed runs of each; warm-up comes on top")
    parser.add_argument("--peers", action="store_true", help="also the papers' teacher and students, in eager PyTorch")
    parser.add_argument(
        "--node", type=float, nargs="*", default=[], metavar="HZ", help="also the real node, fed at these rates"
    )
    parser.add_argument("--json", type=Path, help="also write the results here")
    return parser


def _run(options: argparse.Namespace) -> None:
    if options.rounds < 1:
        raise RoadKdError(f"--rounds is {options.rounds}: expected at least 1")
    if options.json is not None:
        check_target(options.json)
    share_machine()
    # After parsing: with PyTorch, --help would take seconds.
    from road_kd_seg.tools.benchmark_report import describe_machine, print_report, ratios, write_report
    from road_kd_seg.tools.frame_timing import time_rows

    machine = describe_machine()
    rows, extra_ms = time_rows(options.model, options.device, options.threads, options.rounds, peers=options.peers)
    node = []
    if options.node:
        from road_kd_seg.tools.node_timing import time_node

        node = [time_node(options.model, rate_hz, options.device) for rate_hz in options.node]
    report = {
        "schema_version": 1,
        "machine": describe_machine(machine),
        "rows": rows,
        "node": node,
        "ratios": ratios(rows, extra_ms, node),
    }
    print_report(report)
    if options.json is not None:
        write_report(options.json, report)
    print("next: docs/PERFORMANCE.md says what each row is; --json FILE keeps them, --node 10 30 adds the real node")


if __name__ == "__main__":
    sys.exit(main())
