# SPDX-License-Identifier: Apache-2.0
"""From a table and a scale to training runs: pure, so that the plan can be printed and tested without training."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from road_kd_seg.preprocess.input_spec import DepthEncoding
from road_kd_training.config import DataConfig, DistillerConfig, InputConfig, NetworkConfig, TeacherConfig, TrainConfig
from road_kd_training.datasets.common.facts import lacks_depth
from road_kd_training.experiments.base import Experiment, Method, Protocol, Row, Share
from road_kd_training.experiments.scales import FULL_SETTINGS, protocol_at

SCENES = "synthetic"
"""Folder of the rendered scenes below the output folder; `road-kd synth` and the recipes share it."""
CACHE = "cache"
"""Folder of decoded samples there, at scale reduced, where decoding would cost as much as training."""
MAX_WORKERS = 8
SMOKE_CONFIDENCE = 0.22
"""Least confidence of labels that a network makes at scale smoke: hardly more than chance among five classes."""
SNAPSHOTS = 12
"""Of a run whose features are followed over training."""
FREE = ("name", "output", "num_workers", "sample_cache")
"""Fields of a configuration that change nothing that is learned."""


Budget = Literal["steps", "cpu", "wall"]
"""What the rows of a table have alike: optimizer steps, processor time, or wall-clock time of the training steps."""


@dataclass(frozen=True)
class Run:
    """One row with one seed."""

    row: Row
    seed: int
    config: TrainConfig
    """Its output is the run's own folder, and its teachers are in theirs."""
    fingerprint: str
    """Of the configuration and, through them, of its teachers'; without names, folders and roots."""
    needs: tuple[Run, ...] = ()
    """The runs of its teachers, in the order of the configuration."""
    labeler: Run | None = None
    """Whose network makes its labels."""
    start: Run | None = None
    """Whose weights it starts from."""
    to_label: tuple[DataConfig, ...] = ()
    """The sources of the frames that it labels."""
    min_confidence: float = 0.0
    """Of these labels."""

    @property
    def folder(self) -> Path:
        """Where it is recorded, and trained unless an equal run was elsewhere."""
        return Path(self.config.output)

    @property
    def trains(self) -> bool:
        """False for a peer, whose weights come from another row's run."""
        return not self.row.peer_of


@dataclass(frozen=True)
class Plan:
    """The runs of a table at a scale, teachers first."""

    experiment: Experiment
    scale: str
    protocol: Protocol
    runs: tuple[Run, ...]
    tests: Mapping[str, DataConfig]
    """Scored for the table, with their roots."""
    out: Path
    budget: Budget = "steps"

    @property
    def name(self) -> str:
        """Of its folder and reports: the scale, and the budget unless that is equal steps."""
        return self.scale if self.budget == "steps" else f"{self.scale}_{self.budget}"

    @property
    def folder(self) -> Path:
        """Of the runs."""
        return self.out / self.experiment.id.replace("/", "_") / self.name

    def tests_of(self, run: Run) -> dict[str, DataConfig]:
        """The test sets that a run's network can be scored on: those without depth are for networks that need none."""
        needs_depth = run.config.input.depth not in (None, "none")
        without = {name for name, source in self.experiment.zero_shot.items() if lacks_depth(source.dataset)}
        return {name: source for name, source in self.tests.items() if not (needs_depth and name in without)}

    def runs_of(self, row: Row) -> list[Run]:
        """The runs of one row, by seed."""
        return [run for run in self.runs if run.row.key == row.key]


def make_plan(
    experiment: Experiment,
    scale: str,
    *,
    out: str | Path,
    data_root: str | Path,
    rows: Sequence[str] = (),
    seeds: Sequence[int] = (),
    budget: Budget = "steps",
    steps: Mapping[str, int] = MappingProxyType({}),
) -> Plan:
    """Plan a table.

    Args:
        experiment: the table.
        scale: smoke, small or full.
        out: folder of runs, scenes and reports.
        data_root: holds each dataset in a folder of the dataset's name.
        rows: keys of the rows to run; what they learn from and what their gains are against comes along. None: all.
        seeds: of the students; none: the scale's.
        budget: what rows have alike: the number of steps, or what `fair_steps` spreads as `steps`.
        steps: of rows that do not have the protocol's number of them, by key.

    Raises:
        TrainingError: an unknown scale or row.
    """
    out, data_root = Path(out), Path(data_root)
    protocol = protocol_at(experiment, scale, real_frames=(data_root / "stereo_pothole" / "rgb").is_dir())
    empty = Plan(experiment, scale, protocol, (), {}, out, budget)
    planner = _Planner(empty, data_root, steps)
    for row in _wanted(experiment, rows):
        for seed in (seeds or protocol.seeds)[: row.max_seeds] if row.role != "teacher" else (0,):
            planner.add(row, seed)
    tests = {name: planner.rooted(config) for name, config in protocol.tests.items()}
    further = {name: planner.rooted(config) for name, config in experiment.zero_shot.items()}
    tests |= {name: config for name, config in further.items() if _is_there(config)}
    return dataclasses.replace(empty, runs=tuple(planner.runs.values()), tests=tests)


def _is_there(source: DataConfig) -> bool:
    return source.dataset == "synthetic" or Path(source.options["root"]).is_dir()


def _wanted(experiment: Experiment, keys: Sequence[str]) -> list[Row]:
    chosen = [experiment.row(key) for key in keys] or list(experiment.rows)
    baseline = [other for row in chosen if (other := experiment.baseline_of(row)) is not None]
    wanted = {row.key for row in (*chosen, *baseline)}
    return [row for row in experiment.rows if row.key in wanted and row.role != "cited"]


class _Planner:
    def __init__(self, plan: Plan, data_root: Path, steps: Mapping[str, int]) -> None:
        self.experiment, self.scale, self.protocol = plan.experiment, plan.scale, plan.protocol
        self.out, self.folder, self.data_root, self.steps = plan.out, plan.folder, data_root, steps
        self.runs: dict[tuple[str, int], Run] = {}

    def add(self, row: Row, seed: int) -> Run:
        """The run, after those of its teachers."""
        if (row.key, seed) not in self.runs:
            self.runs[row.key, seed] = self._peer(row) if row.peer_of else self._run(row, seed)
        return self.runs[row.key, seed]

    def rooted(self, source: DataConfig) -> DataConfig:
        """The source with its folder."""
        root = self.out / SCENES if source.dataset == "synthetic" else self.data_root / source.dataset
        return dataclasses.replace(source, options={"root": str(root), **source.options})

    def _peer(self, row: Row) -> Run:
        host = self.add(self.experiment.row(row.peer_of), 0)
        network = host.config.teachers[0].network
        config = dataclasses.replace(host.config, name=self._name(row), network=network or host.config.network)
        config = dataclasses.replace(config, output=str(self.folder / row.key / "seed0"))
        return Run(row, 0, config, f"{host.fingerprint}/peer0", (host,))

    def _run(self, row: Row, seed: int) -> Run:
        teachers = tuple(self.add(self.experiment.row(key), 0) for key in row.teachers)
        # The few steps of smoke make no network sure of anything.
        min_confidence = min(row.min_confidence, SMOKE_CONFIDENCE) if self.scale == "smoke" else row.min_confidence
        labeler = self.add(self.experiment.row(row.labels_from), 0) if row.labels_from else None
        config = self._config(row, seed, [bundle_of(teacher) for teacher in teachers])
        if labeler is not None:
            labels = {"root": str(labeler.folder / f"labels_{min_confidence:g}"), "part": "labeled"}
            # Labels that are made again, in the same folder, must not be read from a cache.
            config = dataclasses.replace(config, train=[DataConfig("frames", labels)], sample_cache=None)
        start = self.add(self.experiment.row(row.starts_from), seed) if row.starts_from else None
        if start is not None:
            config = dataclasses.replace(config, init_from=str(bundle_of(start)))
        learned_from = [*teachers, *filter(None, (labeler, start))]
        told = fingerprint(config, [f"{one.fingerprint}{min_confidence or ''}" for one in learned_from])
        to_label = tuple(self.rooted(source) for source in self.protocol.unlabeled) if labeler else ()
        return Run(row, seed, config, told, teachers, labeler, start, to_label, min_confidence)

    def _name(self, row: Row) -> str:
        return f"{self.experiment.id.replace('/', '_')}_{row.key}"

    def _config(self, row: Row, seed: int, teachers: Sequence[Path]) -> TrainConfig:
        protocol, own = self.protocol, self.protocol in (self.experiment.full, self.experiment.reduced)
        settings: dict[str, Any] = {"num_workers": min(MAX_WORKERS, os.cpu_count() or 1)}
        settings |= {"sample_cache": str(self.out / CACHE)} if self.scale == "reduced" else {}
        settings |= {**(FULL_SETTINGS if own else {}), **protocol.settings}
        settings |= protocol.teacher_settings if row.role == "teacher" else {}
        settings |= protocol.unlabeled_settings if row.unlabeled else {}
        settings |= row.full if own else {}
        settings["steps"] = self.steps.get(row.key, round(row.schedule * settings["steps"]))
        if self.experiment.followed and row.role != "teacher":
            settings["snapshot_every"] = max(1, settings["steps"] // SNAPSHOTS)
        unlabeled_batch_size = settings.pop("unlabeled_batch_size", 0)
        frame = self._input(row, settings.pop("input"))
        return TrainConfig(
            name=self._name(row),
            network=self._network(row, frame),
            train=[self.rooted(_changed(source, row.scenes)) for source in protocol.train],
            validation=[self.rooted(source) for source in protocol.validation],
            output=str(self.folder / row.key / f"seed{seed}"),
            teachers=[TeacherConfig(bundle=str(bundle)) for bundle in teachers]
            + [TeacherConfig(network=self._named(row, peer)) for peer in row.peers],
            distillers=[_distiller(method, settings["steps"]) for method in row.methods],
            gradient_share=row.gradient_share,
            cross_entropy=row.cross_entropy,
            unlabeled=[self.rooted(source) for source in protocol.unlabeled] if row.unlabeled else [],
            unlabeled_batch_size=unlabeled_batch_size if row.unlabeled else 0,
            input=frame,
            seed=seed,
            **settings,
        )

    def _input(self, row: Row, frame: InputConfig) -> InputConfig:
        return dataclasses.replace(
            frame, **({**self.protocol.depth, **row.encoding} if row.depth else {"depth": "none"})
        )

    def _named(self, row: Row, name: str, options: Mapping[str, Any] | None = None) -> NetworkConfig:
        """A network, or its substitute, from ImageNet weights where row and scale want them."""
        network = self.protocol.substitutes.get(name, NetworkConfig(name, dict(options or {})))
        if not (self.protocol.pretrained and row.pretrained):
            return network
        return NetworkConfig(network.name, {**network.options, "pretrained": True})

    def _network(self, row: Row, frame: InputConfig) -> NetworkConfig:
        network = self._named(row, row.network, row.options)
        options = dict(network.options)
        if frame.depth is not None and frame.depth != "none":
            options["depth_channels"] = DepthEncoding(frame.depth, frame.depth_low, frame.depth_high).channels
        if network.name.startswith("mafnet"):
            options["image_size"] = [frame.height, frame.width]
        return NetworkConfig(network.name, options)


def bundle_of(run: Run, trained: Path | None = None) -> Path:
    """A run's bundle, where the run (for a peer: its host's) was trained in `trained`, by default its own folder."""
    if run.row.peer_of:
        return (trained or run.needs[0].folder) / "peers" / "0"
    return (trained or run.folder) / "bundle"


def _changed(source: DataConfig, scenes: Mapping[str, Any]) -> DataConfig:
    if source.dataset != "synthetic" or not scenes:
        return source
    return dataclasses.replace(source, options={**source.options, **scenes})


def _distiller(method: Method, steps: int) -> DistillerConfig:
    options = {
        name: round(value.of_steps * steps) if isinstance(value, Share) else value
        for name, value in method.options.items()
    }
    weights = None if method.weights is None else dict(method.weights)
    return DistillerConfig(method.name, options, weights, start_step=round(method.start * steps))


def fingerprint(config: TrainConfig, teachers: Sequence[str] = ()) -> str:
    """Twelve digits that two runs share if they learn the same: names, folders and roots do not count.

    Args:
        config: of the run.
        teachers: fingerprints of its frozen teachers, in their order.
    """
    text = json.dumps([portable(config), list(teachers)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def portable(config: TrainConfig) -> dict[str, Any]:
    """A configuration as plain data without what depends on the machine or only names things."""
    data: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    for name in FREE:
        del data[name]
    if not data["stored_crops"]:
        del data["stored_crops"]  # so that runs older than this field are found
    if data["ema_decay"]:
        data["averages"] = "newest_share"  # runs older than this function kept their random first weights for longer
    for source in (*data["train"], *data["validation"], *data["unlabeled"]):
        source["options"].pop("root", None)
    data["init_from"] = data["init_from"] and "trained"
    for teacher in data["teachers"]:
        teacher["bundle"] = teacher["bundle"] and "trained"
    return data
