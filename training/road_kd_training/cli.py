"""`road-kd`: the workstation's commands."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.table import Column, Table

from road_kd_seg.errors import BagError, run_tool
from road_kd_seg.frame import LabelledFrame, RgbdFrame
from road_kd_seg.metrics import iou
from road_kd_seg.networks.summary import summarize_networks
from road_kd_seg.replay.bag_writer import write_bag
from road_kd_seg.replay.topics import COLOR_OPTICAL_FRAME
from road_kd_seg.segmenter import Segmenter
from road_kd_seg.synthetic.drive import FIRST_STAMP_NS
from road_kd_training.config import TrainConfig
from road_kd_training.datasets import BASELINES, DATASETS, RgbdDataset, build_dataset
from road_kd_training.datasets.synthetic import render_missing
from road_kd_training.distillers.summary import summarize_methods
from road_kd_training.engine import Trainer
from road_kd_training.errors import DatasetError
from road_kd_training.evaluate import score_dataset

console = Console()


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script; 0, 1 after one line on stderr, 2 for arguments that are none."""
    parser, commands = _build_parser()
    options = parser.instantiate_classes(parser.parse_args(arguments))
    return run_tool(lambda: commands[options.subcommand](options[options.subcommand]))


def _build_parser() -> tuple[ArgumentParser, dict[str, Callable[[Namespace], None]]]:
    parser = ArgumentParser(prog="road-kd", description="Train and score networks and prepare data for road_kd_seg.")
    subcommands = parser.add_subcommands(required=True)

    train = ArgumentParser(description="Train a network from a recipe. The same command again resumes.")
    train.add_argument("--config", action="config", help="a recipe, e.g. training/recipes/road_student.yaml")
    train.add_class_arguments(TrainConfig)
    subcommands.add_subcommand("train", train, help="train a network from a recipe")

    evaluate = ArgumentParser(description="Score a bundle on a dataset, at the camera's resolution.")
    _add_dataset(evaluate)
    evaluate.add_argument("--model", default="road_student", help="a bundle's folder, or the name of a shipped one")
    evaluate.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    evaluate.add_argument("--json", default=None, help="also write the score to this file")
    subcommands.add_subcommand("evaluate", evaluate, help="score a bundle on a dataset")

    synth = ArgumentParser(description="Render synthetic road scenes into a folder, on all cores.")
    synth.add_argument("out", help="the folder; scenes it has already are kept")
    synth.add_argument("--scenes", type=int, default=100, help="how many")
    synth.add_argument("--first_seed", type=int, default=0, help="seed of the first; the others follow")
    subcommands.add_subcommand("synth", synth, help="render synthetic road scenes")

    to_bag = ArgumentParser(description="Write a dataset's frames as the MCAP rosbag2 of a RealSense driver.")
    _add_dataset(to_bag)
    to_bag.add_argument("--out", required=True, help="folder of the new bag")
    to_bag.add_argument("--rate_hz", type=float, default=2.0, help="frames per second")
    to_bag.add_argument("--force", action="store_true", help="replace an existing bag")
    subcommands.add_subcommand("dataset-to-bag", to_bag, help="write a dataset as a rosbag")

    listing = ArgumentParser(description="List what there is.")
    listing.add_argument("what", choices=["networks", "distillers", "datasets"])
    subcommands.add_subcommand("list", listing, help="list networks, distillers or datasets")

    return parser, {
        "train": _train,
        "evaluate": _evaluate,
        "synth": _synth,
        "dataset-to-bag": _dataset_to_bag,
        "list": _list,
    }


def _add_dataset(parser: ArgumentParser) -> None:
    parser.add_argument("dataset", help=f"one of {', '.join(DATASETS)}")
    parser.add_argument("options", nargs="*", help="the dataset's options as key=value, e.g. root=DIR split=validation")


def _dataset(options: Namespace) -> RgbdDataset:
    return build_dataset(options.dataset, **_key_values(options.options))


def _key_values(pairs: Sequence[str]) -> dict[str, Any]:
    parsed = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator:
            raise DatasetError(f"'{pair}' is no dataset option: write key=value, e.g. root=DIR")
        parsed[key] = yaml.safe_load(value)
    return parsed


def _train(options: Namespace) -> None:
    config = TrainConfig(**{field.name: options[field.name] for field in dataclasses.fields(TrainConfig)})
    bundle = Trainer(config).run()
    console.print(f"wrote {bundle}")


def _evaluate(options: Namespace) -> None:
    segmenter = Segmenter.from_bundle(options.model, device=options.device)
    dataset = _dataset(options)
    score = score_dataset(segmenter, dataset)
    table = Table("class", "IoU", title=f"{segmenter.bundle.name} on {options.dataset}, {score.frames} frames")
    for item, value in zip(segmenter.taxonomy.classes, iou(score.counts), strict=True):
        if score.counts[item.id].any():
            table.add_row(item.name, f"{value:.4f}")
    table.add_row("mean over these", f"{score.miou:.4f}")
    console.print(table)
    report: dict[str, Any] = {"model": segmenter.bundle.name, **score.to_dict(segmenter.taxonomy)}
    if options.dataset in BASELINES:
        baseline = BASELINES[options.dataset](dataset)
        console.print(baseline["description"])
        report["baseline"] = baseline
    if options.json is not None:
        Path(options.json).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _synth(options: Namespace) -> None:
    rendered = render_missing(Path(options.out), range(options.first_seed, options.first_seed + options.scenes))
    console.print(f"rendered {rendered} scenes, {options.scenes - rendered} were there: {options.out}")


def _dataset_to_bag(options: Namespace) -> None:
    if options.rate_hz <= 0:
        raise BagError(f"rate_hz is {options.rate_hz}: expected a positive number of frames per second")
    dataset, out = _dataset(options), Path(options.out)
    if options.force and (out / "metadata.yaml").is_file():
        shutil.rmtree(out)
    frames = write_bag(out, _frames(dataset, options.rate_hz))
    console.print(f"wrote {frames} frames to {out}: try it with make demo BAG={out}")


def _frames(dataset: RgbdDataset, rate_hz: float) -> Iterator[LabelledFrame]:
    for index in range(len(dataset)):
        sample = dataset[index]
        stamp_ns = FIRST_STAMP_NS + round(index * 1e9 / rate_hz)
        intrinsics = sample.meta.get("intrinsics")
        frame = RgbdFrame(sample.rgb, sample.depth_m, intrinsics, stamp_ns, COLOR_OPTICAL_FRAME)
        yield LabelledFrame(frame, sample.label)


def _list(options: Namespace) -> None:
    {"networks": _list_networks, "distillers": _list_distillers, "datasets": _list_datasets}[options.what]()


def _list_networks() -> None:
    table = Table(
        Column("name", no_wrap=True),
        "paper",
        "parameters",
        "GFLOPs at 576x1024",
        "modalities",
        "taps (channels, stride)",
    )
    for row in summarize_networks():
        taps = ", ".join(f"{name} ({tap.channels}, {tap.stride})" for name, tap in row.taps.items())
        modalities = "+".join(row.modalities)
        table.add_row(row.name, row.paper, f"{row.parameters:,}", f"{row.gflops:.1f}", modalities, taps)
    console.print(table)


def _list_distillers() -> None:
    table = Table(Column("name", no_wrap=True), "paper", "needs", "terms (default weight)")
    for row in summarize_methods():
        table.add_row(row.name, row.paper, row.needs_in_words(), row.terms_in_words())
    console.print(table)


def _list_datasets() -> None:
    for name in DATASETS:
        console.print(name)
