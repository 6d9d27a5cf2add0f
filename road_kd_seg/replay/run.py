# SPDX-License-Identifier: Apache-2.0
"""What `replay_eval` does with one bag: read, segment or replay, score, write."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, TaskID

from road_kd_seg.bags.reader import BagReader
from road_kd_seg.bags.topics import TopicNames
from road_kd_seg.bundle import Bundle, load_bundle
from road_kd_seg.fastdds import check_middleware
from road_kd_seg.files import make_folder
from road_kd_seg.replay.assess import assess, frames_at
from road_kd_seg.replay.calibrate import calibrate, parse_target, save_thresholds
from road_kd_seg.replay.compare import PREDICTIONS, read_contender
from road_kd_seg.replay.evaluate import check_depth, segment_bag
from road_kd_seg.replay.gates import parse_gate
from road_kd_seg.replay.gps import read_gps
from road_kd_seg.replay.labels import LabelStore, read_ground_truth, save_label_folder
from road_kd_seg.replay.obstacle_map import write_obstacle_map
from road_kd_seg.replay.overlay_bag import write_overlay_bag
from road_kd_seg.replay.report.build import Replay, build_report
from road_kd_seg.replay.report.write import write_report
from road_kd_seg.replay.rerun_file import check_rerun, write_rerun_file
from road_kd_seg.replay.results import ReplayRun
from road_kd_seg.segmenter import Segmenter


def evaluate(options: argparse.Namespace, console: Console) -> tuple[Replay, dict[str, Any]]:
    """Evaluate the first bag and write its report.

    Args:
        options: of the command line.
        console: shows the progress.

    Returns:
        What came of it, and what report.json holds.
    """
    names = TopicNames(options.color_topic, options.depth_topic, options.camera_info_topic, options.label_topic)
    # Whatever can be wrong with the arguments is found here, before minutes are spent.
    bundle = load_bundle(options.model)
    gates = tuple(parse_gate(text, bundle.taxonomy.names) for text in options.require)
    others = [name for name in options.baseline if not name.endswith(".json")]
    earlier = [read_contender(Path(name)) for name in options.baseline if name.endswith(".json")]
    max_missed = None if options.calibrate is None else parse_target(options.calibrate)
    bundles = [bundle, *(load_bundle(name) for name in others)]
    if options.rerun:
        check_rerun()
    make_folder(options.out)
    load_before = os.getloadavg()[0]
    with BagReader(
        options.bag[0], names=names, slop_s=options.slop_s, require_same_frame=options.require_same_frame
    ) as reader:
        for each in bundles:
            check_depth(reader, each)
        ground_truth, source = _ground_truth(reader, bundle, options)
        problems: Mapping[str, str] = {}
        if max_missed is not None:
            problems = _calibrate(options, reader, bundle, ground_truth, max_missed, console)
            bundle = bundles[0] = load_bundle(options.model)
        replay_bag = _run_live if options.live else _run_offline
        our_run, *other_runs = replay_bag(options, reader, bundles, ground_truth, console)
        baselines = [
            assess(reader, other, other_run, ground_truth, source, load_before=load_before)
            for other, other_run in zip(bundles[1:], other_runs, strict=True)
        ]
        contenders = (*(each.as_contender(build_report(reader, each)) for each in baselines), *earlier)
        replay = assess(reader, bundle, our_run, ground_truth, source, gates, load_before, contenders, problems)
        report = write_report(options.out, reader, replay)
        labels = our_run.labels
        if options.overlay:
            write_overlay_bag(options.out, frames_at(reader, labels.stamps_ns), labels, ground_truth, bundle.taxonomy)
        if options.rerun:
            frames = frames_at(reader, labels.stamps_ns)
            write_rerun_file(options.out, frames, labels, ground_truth, our_run.latency_ms, bundle.taxonomy)
        if options.obstacles:
            frames = frames_at(reader, labels.stamps_ns)
            write_obstacle_map(options.out, frames, labels, bundle.taxonomy, read_gps(reader))
    if options.save_predictions:
        save_label_folder(options.out / PREDICTIONS, labels)
    return replay, report


def _ground_truth(reader: BagReader, bundle: Bundle, options: argparse.Namespace) -> tuple[LabelStore, str]:
    first, _ = reader.first_frame()
    if options.labels is None:
        return LabelStore.of(reader.label_images()), f"the bag's {reader.names.label}"
    frames = set(reader.index.stamps_ns.tolist())
    labels = read_ground_truth(options.labels, frames, bundle.taxonomy, first.size, options.label_map)
    return labels, f"the PNG files in {options.labels.resolve().name}"


def _calibrate(
    options: argparse.Namespace,
    reader: BagReader,
    bundle: Bundle,
    ground_truth: LabelStore,
    max_missed: float,
    console: Console,
) -> Mapping[str, str]:
    """Write the bundle's thresholds; by class that got none: why."""
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("calibrating", total=len(ground_truth))
        calibration = calibrate(
            reader, _segmenter(options, bundle), ground_truth, max_missed, lambda: progress.advance(task)
        )
    save_thresholds(bundle, calibration)
    return calibration.problems


def _segmenter(options: argparse.Namespace, bundle: Bundle) -> Segmenter:
    return Segmenter.from_bundle(
        bundle.path, device=options.device, precision=options.precision, backend=options.backend
    )


def _run_offline(
    options: argparse.Namespace,
    reader: BagReader,
    bundles: Sequence[Bundle],
    ground_truth: LabelStore,
    console: Console,
) -> list[ReplayRun]:
    segmenters = [_segmenter(options, bundle) for bundle in bundles]
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("segmenting", total=len(reader.index))
        return segment_bag(reader, segmenters, ground_truth, lambda: progress.advance(task))


def _run_live(
    options: argparse.Namespace,
    reader: BagReader,
    bundles: Sequence[Bundle],
    ground_truth: LabelStore,
    console: Console,
) -> list[ReplayRun]:
    check_middleware()
    from road_kd_seg.replay.live import LiveOptions, replay_live  # only this mode needs ROS

    live = LiveOptions(
        device=options.device,
        precision=options.precision,
        backend=options.backend,
        rate=options.rate,
        domain_id=options.domain_id,
    )
    runs = []
    with Progress(console=console, transient=True) as progress:
        for number, bundle in enumerate(bundles):
            task = progress.add_task("replaying", total=len(reader.index))

            def tell(phase: str, done: int, task: TaskID = task) -> None:
                progress.update(task, description=phase, completed=done)

            folder = options.out if number == 0 else options.out / f"baseline_{number}"
            runs.append(replay_live(reader, bundle, folder, live, tell))
            tell("replayed", len(reader.index))  # some images may not have reached the recorder
    return runs
