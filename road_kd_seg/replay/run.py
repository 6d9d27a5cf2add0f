"""What `replay_eval` does once its arguments are parsed: read, segment or replay, score, write, print."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from road_kd_seg.bags.reader import BagReader
from road_kd_seg.bags.topics import TopicNames
from road_kd_seg.bundle import Bundle, load_bundle
from road_kd_seg.replay.evaluate import check_depth, score, segment_bag
from road_kd_seg.replay.labels import LabelStore, read_label_folder
from road_kd_seg.replay.report.write import Replay, write_report
from road_kd_seg.replay.results import ReplayRun
from road_kd_seg.segmenter import Segmenter


def run(options: argparse.Namespace) -> int:
    """Evaluate as the parsed command line says; 0.

    Raises:
        RoadKdError: an argument, the bag, the model or a process of a live replay is not as it should be.
    """
    console = Console()
    names = TopicNames(options.color_topic, options.depth_topic, options.camera_info_topic, options.label_topic)
    # Whatever can be wrong with the arguments is found here, before minutes are spent.
    bundle = load_bundle(options.model)
    with BagReader(options.bag, names=names, slop_s=options.slop_s) as reader:
        check_depth(reader, bundle)
        ground_truth, ground_truth_source = _ground_truth(reader, options.labels)
        run = _run_live(options, reader, bundle, console) if options.live else _run_offline(options, reader, console)
        scores = score(ground_truth.items(), run.labels, len(bundle.taxonomy))
        report = write_report(options.out, reader, Replay(bundle, run, scores, ground_truth, ground_truth_source))
    _print(report, options.out, console)
    return 0


def _ground_truth(reader: BagReader, folder: Path | None) -> tuple[LabelStore, str]:
    if folder is not None:
        return LabelStore.of(read_label_folder(folder)), f"the PNG files in {folder}"
    return LabelStore.of(reader.label_images()), f"the bag's {reader.names.label}"


def _run_offline(options: argparse.Namespace, reader: BagReader, console: Console) -> ReplayRun:
    segmenter = Segmenter.from_bundle(
        options.model, device=options.device, precision=options.precision, backend=options.backend
    )
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("segmenting", total=len(reader.index))
        return segment_bag(reader, segmenter, lambda: progress.advance(task))


def _run_live(options: argparse.Namespace, reader: BagReader, bundle: Bundle, console: Console) -> ReplayRun:
    from road_kd_seg.replay.live import LiveOptions, replay_live  # only this mode needs ROS

    live = LiveOptions(
        device=options.device,
        precision=options.precision,
        backend=options.backend,
        rate=options.rate,
        domain_id=options.domain_id,
    )
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("replaying", total=len(reader.index))
        return replay_live(
            reader,
            bundle,
            options.out,
            live,
            lambda phase, done: progress.update(task, description=phase, completed=done),
        )


def _print(report: dict[str, Any], folder: Path, console: Console) -> None:
    """A short table and where to look."""
    frames, latency, metrics = report["frames"], report["latency_ms"], report["metrics"]
    table = Table(title=f"{report['model']} on {report['bag']['path']} ({report['mode']}, {report['device']})")
    table.add_column("what")
    table.add_column("value", justify="right")
    if metrics is None:
        table.add_row("IoU", report["metrics_note"])
    else:
        for name, value in metrics["iou"].items():
            table.add_row(f"IoU {name}", _text(value, 3))
        table.add_row("[bold]mIoU[/bold]", f"[bold]{_text(metrics['miou'], 3)}[/bold]")
    table.add_section()
    percentiles = " / ".join(_text(latency[name], 1) for name in ("p50", "p95", "p99"))
    table.add_row("latency p50 / p95 / p99 (ms)", percentiles)
    table.add_section()
    dropped = ", ".join(f"{count} {reason}" for reason, count in frames["dropped"].items() if count) or "none"
    table.add_row(
        "color images sent / received / published", f"{frames['sent']} / {frames['received']} / {frames['published']}"
    )
    table.add_row("dropped", dropped)
    console.print(table)
    console.print(f"report: {folder / 'report.html'} (and report.json, per_frame.csv)", soft_wrap=True)


def _text(value: float | None, digits: int) -> str:
    return "n/a" if value is None else f"{value:.{digits}f}"
