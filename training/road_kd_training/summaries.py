# SPDX-License-Identifier: Apache-2.0
"""What there is, as data: methods, datasets and experiments, for `road-kd list` and the documentation."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from road_kd_training.datasets import DATASETS, RgbdDataset
from road_kd_training.datasets.common.facts import FACTS
from road_kd_training.distillers import DISTILLERS
from road_kd_training.distillers.common.base import Needs
from road_kd_training.experiments import EXPERIMENTS, Experiment


@dataclass(frozen=True)
class MethodSummary:
    """One method."""

    name: str
    """As recipes call it."""
    paper: str
    """Authors, venue, year."""
    needs: Needs
    """Features, labels, unlabeled images, teachers and classes."""
    terms: Mapping[str, float]
    """Default weight of each term of its loss."""

    def describe_needs(self) -> str:
        """Such as "features, labels, 1 teacher, 3 classes or more"."""
        needs = self.needs
        words = [word for word in ("features", "labels") if getattr(needs, word)]
        if needs.unlabeled:
            words.append("unlabeled images")
        words.append(_teachers(needs))
        if needs.min_classes > 1:
            words.append(f"{needs.min_classes} classes or more")
        return ", ".join(words)

    def describe_terms(self) -> str:
        """Such as "target 1, non_target 8"."""
        return ", ".join(f"{term} {weight:g}" for term, weight in self.terms.items())


def summarize_methods() -> list[MethodSummary]:
    """Every registered method, by name."""
    return [
        MethodSummary(name, kind.paper, kind.needs, dict(kind.default_weights))
        for name, kind in sorted(DISTILLERS.items())
    ]


def _teachers(needs: Needs) -> str:
    if needs.max_teachers == 0:
        return "no teacher"
    if needs.min_teachers == needs.max_teachers:
        return "1 teacher" if needs.max_teachers == 1 else f"{needs.max_teachers} teachers"
    return f"{needs.min_teachers} to {needs.max_teachers} teachers"


@dataclass(frozen=True)
class DatasetSummary:
    """One dataset."""

    name: str
    title: str
    """First sentence of its module."""
    splits: str
    options: str
    """With their defaults; those without one are required."""
    depth: str = "?"
    """Where it comes from; "?" of datasets of other packages, as their license."""
    license: str = "?"


def summarize_datasets() -> list[DatasetSummary]:
    """Every registered dataset, in the registry's order."""
    return [_summarize_dataset(name, builder) for name, builder in DATASETS.items()]


def _summarize_dataset(name: str, builder: Callable[..., RgbdDataset]) -> DatasetSummary:
    module = inspect.getmodule(builder)
    title = (inspect.getdoc(module) or "").partition(": ")[0].partition("\n")[0]
    hints = typing.get_type_hints(builder.__init__ if inspect.isclass(builder) else builder)
    parameters = inspect.signature(builder).parameters.values()
    options = [p.name if p.default is p.empty else f"{p.name}={p.default}" for p in parameters]
    splits = ", ".join(typing.get_args(hints.get("split")))
    return DatasetSummary(name, title, splits, " ".join(options), *FACTS.get(name, ()))


@dataclass(frozen=True)
class ExperimentSummary:
    """One table or figure of a paper."""

    id: str
    title: str
    data: str
    """Datasets of the scale full; "synthetic scenes" where the paper has no such table."""
    availability: str
    """Whether their folders are there."""


def summarize_experiments(data_root: Path) -> list[ExperimentSummary]:
    """Every experiment; `data_root` holds each dataset in a folder of its name."""
    return [_summarize_experiment(experiment, data_root) for experiment in EXPERIMENTS.values()]


def _summarize_experiment(experiment: Experiment, data_root: Path) -> ExperimentSummary:
    protocols = [protocol for protocol in (experiment.full, experiment.reduced) if protocol is not None]
    sources = [
        source.dataset
        for protocol in protocols
        for source in (*protocol.train, *protocol.unlabeled, *protocol.validation, *protocol.tests.values())
    ]
    names = [name for name in dict.fromkeys(sources) if name != "synthetic"]
    if not names:
        return ExperimentSummary(experiment.id, experiment.title, "synthetic scenes", "rendered on demand")
    missing = [name for name in names if not (data_root / name).is_dir()]
    there = f"missing: {', '.join(missing)}" if missing else "there"
    return ExperimentSummary(experiment.id, experiment.title, ", ".join(names), there)
