# SPDX-License-Identifier: Apache-2.0
"""What is kept of a run: its recipe before it trains, its scores after; and where an equal run was trained before."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from road_kd_seg.files import write_file
from road_kd_training.config import DataConfig
from road_kd_training.errors import TrainingError
from road_kd_training.experiments.alignment import Alignment
from road_kd_training.experiments.metrics import Outcome, SetScore
from road_kd_training.experiments.plan import Run, portable
from road_kd_training.run_folder import read_result

RECIPE, RECORD = "recipe.json", "record.json"


@dataclass(frozen=True)
class Record:
    """A finished run."""

    outcome: Outcome
    trained: Path
    """The folder that holds its weights: the run's own, or that of an equal run."""
    steps: int
    best_step: int
    seconds: float
    """Of training steps, and of storing the outputs of teachers where they are stored."""
    environment: Mapping[str, str | int | None]
    """Code revision, versions and hardware that it was trained with."""
    gradient_shares: Mapping[str, float] = field(default_factory=dict)
    """Norm of each distillation term's gradient over the cross entropy's, by term."""
    alignment: Alignment = ()
    """With the teacher's features over training, where the experiment follows it."""


def refuse_other_recipe(run: Run) -> None:
    """See that a run's folder may be trained in.

    Raises:
        TrainingError: the folder holds a run of another recipe.
    """
    changed = changed_fields(run)
    if changed:
        raise TrainingError(
            f"{run.folder} holds a run of another recipe (other {', '.join(changed)}): --replace retrains it,"
            " another --out keeps both"
        )


def write_recipe(run: Run) -> None:
    """Mark the folder of a run that is about to train."""
    _write(run.folder / RECIPE, {"fingerprint": run.fingerprint, "config": portable(run.config)})


def changed_fields(run: Run) -> list[str]:
    """Fields in which the run that a folder holds differs from the planned one; none if it is the same, or none."""
    found = _read(run.folder / RECIPE)
    if found is None or found["fingerprint"] == run.fingerprint:
        return []
    mine, theirs = portable(run.config), found["config"]
    return sorted(name for name in {**theirs, **mine} if mine.get(name) != theirs.get(name)) or ["teacher"]


def find_trained(run: Run, out: Path) -> Path | None:
    """A folder with the weights of this run: its own, or that of an equal run of any table; None if nobody has any."""
    wanted = run.fingerprint.partition("/")[0]
    own = run.needs[0].folder if run.row.peer_of else run.folder
    for folder in (own, *sorted(path.parent for path in out.glob(f"*/*/*/seed*/{RECIPE}"))):
        recipe = _read(folder / RECIPE)
        if recipe is not None and recipe["fingerprint"] == wanted and read_result(folder) is not None:
            return folder
    return None


def write_record(run: Run, record: Record, tests: Mapping[str, DataConfig], out: Path) -> None:
    """Keep what a finished run scored on each test set."""
    outcome = record.outcome
    scores = {
        name: {
            "source": _portable_source(tests[name]),
            "classes": list(score.classes),
            "counts": score.counts.tolist(),
            "dataset_metrics": dict(score.dataset_metrics),
        }
        for name, score in outcome.tests.items()
    }
    _write(
        run.folder / RECORD,
        {
            "fingerprint": run.fingerprint,
            "trained": record.trained.relative_to(out).as_posix(),
            "tests": scores,
            "parameters": outcome.parameters,
            "steps": record.steps,
            "best_step": record.best_step,
            "seconds": record.seconds,
            "environment": dict(record.environment),
            "gradient_shares": dict(record.gradient_shares),
            "alignment": [list(point) for point in record.alignment],
        },
    )


def read_record(run: Run, tests: Mapping[str, DataConfig], out: Path) -> Record | None:
    """What a run scored; None while it is not finished, or if another recipe or other test sets were scored."""
    found = _read(run.folder / RECORD)
    sources = {name: _portable_source(source) for name, source in tests.items()}
    if found is None or found["fingerprint"] != run.fingerprint:
        return None
    if {name: score["source"] for name, score in found["tests"].items()} != sources:
        return None
    scores = {
        name: SetScore(np.array(score["counts"], np.int64), score["classes"], score["dataset_metrics"])
        for name, score in ((name, found["tests"][name]) for name in tests)
    }
    outcome = Outcome(scores, found["parameters"])
    return Record(
        outcome,
        out / found["trained"],
        found["steps"],
        found["best_step"],
        found["seconds"],
        found["environment"],
        found["gradient_shares"],
        [(step, value) for step, value in found["alignment"]],
    )


def _portable_source(source: DataConfig) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(source)))
    data["options"].pop("root", None)
    return data


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, json.JSONDecodeError) as error:
        raise TrainingError(f"{path} cannot be read: {error}: delete its folder to run it again") from error
    return found


def _write(path: Path, data: Mapping[str, Any]) -> None:
    write_file(path, (json.dumps(data, indent=1) + "\n").encode(), error=TrainingError)
