# SPDX-License-Identifier: Apache-2.0
"""`road-kd benchmark data`: whether training samples come fast enough on this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from rich.table import Table

from road_kd_seg.files import check_target, write_file
from road_kd_training.augment import Augment
from road_kd_training.commands.arguments import COMMANDS
from road_kd_training.commands.options import key_values
from road_kd_training.config import DataConfig, InputConfig, NetworkConfig, TrainConfig
from road_kd_training.data import DrawnExamples, Draws, Pool, run_data
from road_kd_training.datasets import build_dataset
from road_kd_training.errors import DatasetError, TrainingError
from road_kd_training.loader_speed import (
    LoaderSpeed,
    SampleTimes,
    check_options,
    enough_workers,
    measure_loader,
    time_samples,
    worker_counts,
)
from road_kd_training.recipes import check_recipe
from road_kd_training.terminal import plain_console

SIZE = (576, 1024)
MEGABYTE = 1e6


def run(options: Namespace) -> None:
    """Measure and print.

    Raises:
        DatasetError: whatever a dataset finds wrong with its files.
        TrainingError: neither a recipe nor a dataset, or options that cannot be measured.
    """
    if options.json is not None:
        check_target(Path(options.json), error=DatasetError)
    workers = worker_counts(_cores()) if options.workers is None else sorted(set(options.workers))
    check_options(options.seconds, options.samples, options.step_ms, workers)
    config, pools = _run_to_measure(options)
    console = plain_console()
    examples = DrawnExamples(pools, Augment(config.augment, config.input, pools[0].sources[0].taxonomy), config.seed)
    times = time_samples(examples, Draws(pools, config.seed, 0, options.samples), options.samples)
    console.print(_sample_table(times, config))
    speeds = []
    for count in workers:
        with console.status(f"measuring {count} workers"):
            speeds.append(measure_loader(config, pools, count, options.seconds, options.step_ms))
    console.print(_speed_table(speeds, times))
    console.print(_verdict(speeds), soft_wrap=True)
    if options.json is not None:
        report = {
            "height": config.input.height,
            "width": config.input.width,
            "cores": _cores(),
            "sample": asdict(times),
            "loader": [{**asdict(speed), "batch_ms": speed.batch_ms, "starves": speed.starves} for speed in speeds],
        }
        write_file(Path(options.json), (json.dumps(report, indent=2) + "\n").encode(), error=DatasetError)
    console.print(f"next: num_workers: {enough_workers(speeds).workers} in the recipe")


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run_to_measure(options: Namespace) -> tuple[TrainConfig, list[Pool]]:
    """A recipe's run, or one that draws from a single dataset."""
    if (options.config is None) == (options.dataset is None):
        raise TrainingError("give either --config RECIPE or a dataset, e.g. 'road-kd benchmark data bag root=BAG'")
    if options.config is not None:
        config = _with_overrides(read_recipe(options.config), options)
        return config, run_data(config)[0]
    source = DataConfig(options.dataset, key_values(options.options))
    frame = InputConfig(*SIZE)
    config = TrainConfig("benchmark", NetworkConfig("none"), [source], [source], "", input=frame)
    config = _with_overrides(config, options)
    dataset = build_dataset(source.dataset, **source.options)
    # A dataset without labels is loaded as a run would load it: among the unlabeled.
    return config, [Pool([dataset], [1.0], config.batch_size, labeled=dataset[0].label is not None)]


def read_recipe(path: str) -> TrainConfig:
    """A recipe as `road-kd train` reads it.

    Raises:
        TrainingError: no such file, or an unknown key.
    """
    if not Path(path).is_file():
        raise TrainingError(f"recipe {path}: no such file")
    check_recipe(Path(path))
    parser = COMMANDS["train"].build_parser()
    parsed = parser.instantiate_classes(parser.parse_args(["--config", path]))
    return TrainConfig(**{field.name: parsed[field.name] for field in fields(TrainConfig)})


def _with_overrides(config: TrainConfig, options: Namespace) -> TrainConfig:
    given: dict[str, Any] = {key: options[key] for key in ("height", "width") if options[key] is not None}
    batch_size = config.batch_size if options.batch_size is None else options.batch_size
    if min(batch_size, *given.values(), 1) < 1:
        raise TrainingError(f"batch_size {batch_size}, {given}: expected numbers above 0")
    return replace(config, input=replace(config.input, **given), batch_size=batch_size)


def _sample_table(times: SampleTimes, config: TrainConfig) -> Table:
    table = Table(title=f"one sample at {config.input.height}x{config.input.width}, in one process (medians)")
    table.add_column("step")
    table.add_column("ms", justify="right")
    table.add_column("share", justify="right")
    for name, ms in (("read files", times.read_ms), ("decode", times.decode_ms), ("augment", times.augment_ms)):
        table.add_row(name, f"{ms:.1f}", f"{ms / times.total_ms:.0%}")
    table.add_section()
    table.add_row("all", f"{times.total_ms:.1f}", f"{1e3 / times.total_ms:.0f} samples/s")
    return table


def _speed_table(speeds: Sequence[LoaderSpeed], times: SampleTimes) -> Table:
    with_step = speeds[0].step_ms is not None
    table = Table(title=f"the loader, batches of {speeds[0].batch_size}")
    columns = ["workers", "samples/s", "files\nMB/s", "batches\nMB/s", "ms per\nbatch"]
    columns += [f"{speeds[0].step_ms:g} ms step\nwaits", "verdict"] if with_step else []
    for column in columns:
        table.add_column(column, justify="left" if column == "verdict" else "right", no_wrap=True)
    for speed in speeds:
        rates = (
            "n/a" if size is None else f"{speed.samples_per_s * size / MEGABYTE:.0f}"
            for size in (times.file_bytes, times.sample_bytes)
        )
        row = [str(speed.workers), f"{speed.samples_per_s:.1f}", *rates, f"{speed.batch_ms:.1f}"]
        if with_step:
            row += [f"{speed.wait_ms:.1f} ms", "starves" if speed.starves else "feeds"]
        table.add_row(*row)
    return table


def _verdict(speeds: Sequence[LoaderSpeed]) -> str:
    best = enough_workers(speeds)
    if best.starves is None:
        return (
            f"num_workers: {best.workers} gives a batch of {best.batch_size} every {best.batch_ms:.1f} ms:"
            " a training step that is shorter waits for it"
        )
    if best.starves:
        return (
            f"no number of workers feeds a step of {best.step_ms:g} ms; the best is num_workers: {best.workers}, and"
            f" {best.batch_ms:.1f} ms per step: use more cores, a smaller size, or files that decode faster"
        )
    return f"num_workers: {best.workers} is enough for a step of {best.step_ms:g} ms"
