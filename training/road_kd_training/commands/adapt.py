# SPDX-License-Identifier: Apache-2.0
"""`road-kd adapt`: a model learns a team's own road from a drive that nobody labeled."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from rich.console import Console
from rich.progress import Progress

from road_kd_seg.files import make_folder, write_file
from road_kd_seg.segmenter import Segmenter
from road_kd_training.adapt import Gain, adaptation_recipe, measure_gain, write_drive
from road_kd_training.commands.options import key_values
from road_kd_training.config import DataConfig
from road_kd_training.datasets import build_dataset
from road_kd_training.engine import Trainer
from road_kd_training.errors import DatasetError, TrainingError
from road_kd_training.evaluate import check_classes
from road_kd_training.provenance import describe_training
from road_kd_training.terminal import plain_console

REPORT = "adapt.json"
BUNDLE = "bundle"
MOST_HELD_BACK = 60


def run(options: Namespace) -> None:
    """Label, distil, measure before and after, and ship what became better.

    Raises:
        BundleError: a bundle is missing or damaged.
        DatasetError: bad options, a bag too short to hold a part of it back, or a folder that cannot be written.
        TrainingError: nothing could show a gain, or the student became worse: then there is no bundle.
    """
    if not 0 <= options.min_confidence <= 1 or options.steps < 1 or options.frames < 1 or options.rehearsal < 0:
        raise DatasetError(
            "min_confidence is a share from 0 to 1, steps and frames are at least 1, rehearsal at least 0; got"
            f" {options.min_confidence}, {options.steps}, {options.frames} and {options.rehearsal}"
        )
    console = plain_console()
    out = Path(options.out).expanduser()
    make_folder(out, error=DatasetError)
    before, teacher = (Segmenter.from_bundle(name, device=options.device) for name in (options.model, options.teacher))
    bag = {"root": options.bag, **key_values(options.options)}
    train, validation = (build_dataset("bag", **{**bag, "split": split}) for split in ("train", "validation"))
    check_classes(before, train, "bag")
    check_classes(teacher, train, "bag")
    with Progress(console=console, transient=True) as progress:
        total = min(len(train), options.frames) + min(len(validation), MOST_HELD_BACK)
        task = progress.add_task("labeling", total=total)
        settings: dict[str, Any] = {
            "min_confidence": options.min_confidence,
            "on_frame": lambda: progress.advance(task),
        }
        write_drive(teacher, train, out / "train", most=options.frames, keep_labels=False, **settings)
        own = write_drive(teacher, validation, out / "held_back", most=MOST_HELD_BACK, keep_labels=True, **settings)
    if not own and before.bundle.weights_sha256 == teacher.bundle.weights_sha256:
        raise TrainingError(
            f"model and teacher are both '{before.bundle.name}' and no held-back frame has a label, so nothing could"
            " show a gain: name a stronger --teacher, or labels of some frames with labels=DIR"
        )
    rehearsal = None
    if options.rehearsal:
        scenes = {"root": str(Path(options.scenes).expanduser()), "num_scenes": options.rehearsal}
        rehearsal = DataConfig("synthetic", scenes, 1 / 3)
    recipe = adaptation_recipe(
        before,
        options.teacher,
        out / "train",
        out / "held_back",
        out / "run",
        steps=options.steps,
        rehearsal=rehearsal,
        seed=options.seed,
    )
    adapted = Trainer(recipe).run()
    gain = measure_gain(
        before,
        Segmenter.from_bundle(adapted, device=options.device),
        build_dataset("frames", root=out / "held_back", part="labeled"),
    )
    _report(out, options, gain, own, before, teacher)
    _finish(console, out, adapted, gain, own)


def _report(out: Path, options: Namespace, gain: Gain, own: int, before: Segmenter, teacher: Segmenter) -> None:
    report = {
        "bag": str(options.bag),
        "model": {"name": before.bundle.name, "weights_sha256": before.bundle.weights_sha256},
        "teacher": {"name": teacher.bundle.name, "weights_sha256": teacher.bundle.weights_sha256},
        "steps": options.steps,
        "seed": options.seed,
        "held_back": {"frames_with_own_label": own, "scored_against": _scored_against(own)},
        "miou": {k: None if math.isnan(v) else round(v, 4) for k, v in dataclasses.asdict(gain).items()},
        "shipped": not gain.worse,
        "environment": describe_training(),
    }
    write_file(out / REPORT, (json.dumps(report, indent=2) + "\n").encode(), error=DatasetError)


def _finish(console: Console, out: Path, adapted: Path, gain: Gain, own: int) -> None:
    interval = "too few frames for an interval"
    if not math.isnan(gain.low):
        interval = f"95 % interval of the gain [{gain.low:+.3f}, {gain.high:+.3f}], by blocks of frames"
    summary = (
        f"held-back frames, mIoU against {_scored_against(own)}: {gain.before:.3f} before, {gain.after:.3f} after;"
        f" {interval}"
    )
    shipped = out / BUNDLE
    shutil.rmtree(shipped, ignore_errors=True)
    if gain.worse:
        raise TrainingError(
            f"the adapted student is no better, so nothing was shipped: {summary}. See {out / REPORT}; a stronger"
            " --teacher, a higher --min_confidence or labels of some frames may help"
        )
    shutil.copytree(adapted, shipped)
    console.print(summary, soft_wrap=True)
    if not math.isnan(gain.low) and gain.low <= 0:
        console.print("the interval holds 0: on another drive of the same road the gain may vanish", soft_wrap=True)
    console.print(f"wrote {shipped}; next: replay_eval BAG --model {shipped} --out REPORT", soft_wrap=True)


def _scored_against(own: int) -> str:
    return "labels" if own else "the teacher's labels"
