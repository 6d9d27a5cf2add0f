# SPDX-License-Identifier: Apache-2.0
"""Many bags: one report each, and one over all of them. On the cores of this machine, or on a Ray cluster."""

from __future__ import annotations

import argparse
import copy
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import reduce
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

from road_kd_seg.bundle import load_bundle
from road_kd_seg.errors import RoadKdError
from road_kd_seg.files import write_file
from road_kd_seg.replay.compare import Contender, own_intervals, pixels_of
from road_kd_seg.replay.gates import parse_gate
from road_kd_seg.replay.obstacles import ObstacleScores
from road_kd_seg.replay.report.build import SCHEMA_VERSION, build_metrics, describe_latency
from road_kd_seg.replay.report.html import render_fleet
from road_kd_seg.replay.results import DROP_REASONS, ReplayCounts, Scores
from road_kd_seg.replay.run import evaluate
from road_kd_seg.replay.verdict import give_verdict


@dataclass(frozen=True)
class BagResult:
    """What a pooled report needs of one bag; small enough to travel between processes."""

    name: str
    report: dict[str, Any]
    scores: Scores
    obstacles: ObstacleScores | None
    latency_ms: tuple[float, ...]
    counts: ReplayCounts


def run_fleet(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Evaluate every bag into a folder of its own below `options.out`, and pool the results.

    Returns:
        The pooled report, which is written as report.json and report.html; requirements are checked on it.

    Raises:
        RoadKdError: two bags of one name, --live with several workers, or bags that failed; the others are written.
    """
    names = bag_names(options.bag)
    if options.live and (options.workers > 1 or options.ray):
        raise RoadKdError("--live replays in real time, several at once would slow each other down: use one worker")
    if options.calibrate is not None:
        raise RoadKdError("--calibrate picks thresholds on one bag: give the one that has the labels, alone")
    class_names = load_bundle(options.model).taxonomy.names
    for text in options.require:
        parse_gate(text, class_names)
    jobs = []
    for name, bag in zip(names, options.bag, strict=True):
        job = copy.copy(options)
        job.bag, job.out, job.require = [bag], options.out / name, []
        jobs.append((name, job))
    results: dict[str, BagResult] = {}
    failures: dict[str, str] = {}
    run_jobs = _on_ray if options.ray else _on_this_machine
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("evaluating bags", total=len(jobs))
        for name, outcome in run_jobs(jobs, options):
            if isinstance(outcome, BagResult):
                results[name] = outcome
            else:
                failures[name] = outcome
            progress.advance(task)
    if not results:
        raise RoadKdError(f"none of {len(jobs)} bags could be evaluated; the first: {next(iter(failures.values()))}")
    report = pool([results[name] for name in names if name in results], class_names, options.require)
    report["failed"] = failures
    write_file(options.out / "report.json", (json.dumps(report, indent=2, allow_nan=False) + "\n").encode())
    write_file(options.out / "report.html", render_fleet(report, load_bundle(options.model).taxonomy).encode())
    if failures:
        reasons = "; ".join(failures.values())
        raise RoadKdError(f"{len(failures)} of {len(jobs)} bags failed, the others are in {options.out}: {reasons}")
    return report


def bag_names(bags: Sequence[Path]) -> list[str]:
    """A folder name for each bag.

    Raises:
        RoadKdError: two would be the same.
    """
    names = [bag.resolve().stem if bag.suffix else bag.resolve().name for bag in bags]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RoadKdError(f"two bags are named {twice[0]}: their reports would replace each other; rename one")
    return names


def pool(results: Sequence[BagResult], class_names: Sequence[str], requirements: Sequence[str]) -> dict[str, Any]:
    """One report over several bags: pixels, objects, frames and latencies are summed before anything is divided."""
    scores = Scores(
        len(class_names),
        tuple(frame for result in _in_sequence(results) for frame in result.scores.frames),
        sum(result.scores.num_labeled for result in results),
    )
    known = [result.obstacles for result in results if result.obstacles is not None]
    metrics = build_metrics(scores, reduce(_add_obstacles, known) if known else None, class_names)
    first = results[0].report
    report: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **{key: first[key] for key in ("mode", "model", "model_info", "device", "period_ms", "load", "environment")},
        "bag": {"name": f"{len(results)} bags", "duration_s": sum(r.report["bag"]["duration_s"] for r in results)},
        "frames": {
            **{key: sum(getattr(r.counts, key) for r in results) for key in ("sent", "received", "published")},
            "dropped": {reason: sum(r.counts.dropped[reason] for r in results) for reason in DROP_REASONS},
            "not_received": sum(r.counts.not_received for r in results),
            "labeled": scores.num_labeled,
            "scored": len(scores.frames),
        },
        "metrics": metrics,
        "metrics_note": f"{len(scores.frames)} frames of {len(results)} bags; pixels are summed over all of them",
        "latency_ms": describe_latency(
            [value for result in results for value in result.latency_ms], first["latency_ms"]["definition"]
        ),
        "comparison": [],
        "bags": [
            {"name": r.name, **{key: r.report[key] for key in ("bag", "frames", "metrics", "latency_ms", "verdict")}}
            for r in results
        ],
    }
    if metrics is not None:
        metrics["intervals"] = own_intervals(Contender(report, pixels_of(scores), tuple(class_names)))
    gates = [parse_gate(text, class_names).check(report) for text in requirements]
    report["gates"] = [{"gate": gate.gate, "value": gate.value, "met": gate.met} for gate in gates]
    report["verdict"] = give_verdict(report, gates)
    return report


def _in_sequence(results: Sequence[BagResult]) -> Iterator[BagResult]:
    """The same results with stamps as if the bags had been recorded one after the other."""
    end_ns = 0
    for result in results:
        stamps_ns = [frame.stamp_ns for frame in result.scores.frames]
        if stamps_ns:
            shift_ns = end_ns - min(stamps_ns)
            frames = tuple(replace(f, stamp_ns=f.stamp_ns + shift_ns) for f in result.scores.frames)
            end_ns = max(frame.stamp_ns for frame in frames) + 1_000_000_000
            result = replace(result, scores=replace(result.scores, frames=frames))
        yield result


def _add_obstacles(one: ObstacleScores, other: ObstacleScores) -> ObstacleScores:
    summed = ("pixels", "objects", "all_objects", "false_alarms", "minutes", "lasting", "lost")
    flicker = np.array([[o.flicker, o.minutes] for o in (one, other) if np.isfinite(o.flicker) and o.minutes])
    return replace(
        one,
        **{key: getattr(one, key) + getattr(other, key) for key in summed},
        flicker=float(np.average(flicker[:, 0], weights=flicker[:, 1])) if flicker.size else float("nan"),
    )


def _evaluate_one(options: argparse.Namespace, threads: int) -> BagResult | str:
    """In a process of its own; the text of the error if the bag cannot be evaluated."""
    if threads:
        torch.set_num_threads(threads)
    try:
        replay, report = evaluate(options, Console(quiet=True))
    except RoadKdError as error:
        return str(error)
    run = replay.run
    latency_ms = tuple(run.latency_ms.values())
    return BagResult(options.out.name, report, replay.scores, replay.obstacles, latency_ms, run.counts)


Jobs = Sequence[tuple[str, argparse.Namespace]]


def _on_this_machine(jobs: Jobs, options: argparse.Namespace) -> Iterator[tuple[str, BagResult | str]]:
    if options.workers == 1:
        yield from ((name, _evaluate_one(job, 0)) for name, job in jobs)
        return
    threads = max(1, (os.cpu_count() or 1) // options.workers)
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as executor:
        futures = {executor.submit(_evaluate_one, job, threads): name for name, job in jobs}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _on_ray(jobs: Jobs, options: argparse.Namespace) -> Iterator[tuple[str, BagResult | str]]:
    """Bags, models and the folder of the reports must be reachable under the same paths on every machine."""
    try:
        import ray
    except ImportError as error:
        raise RoadKdError("--ray needs Ray: pip install 'road_kd_seg[ray]', or use --workers") from error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(address=None if options.ray == "local" else options.ray, log_to_driver=False, include_dashboard=False)
    try:
        remote: Callable[..., Any] = ray.remote(_evaluate_one).remote
        waiting = {}
        for name, job in jobs:
            job.bag, job.out = [job.bag[0].resolve()], job.out.resolve()
            waiting[remote(job, 0)] = name
        while waiting:
            (done, *_), _ = ray.wait(list(waiting), num_returns=1)
            yield waiting.pop(done), ray.get(done)
    finally:
        ray.shutdown()
