"""The folder of a run: one configuration, its environment, and the result."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from road_kd_seg.files import write_file
from road_kd_training.config import TrainConfig
from road_kd_training.errors import TrainingError
from road_kd_training.provenance import describe_training

CONFIG, ENVIRONMENT, RESULT = "config.json", "environment.json", "result.json"
MAY_CHANGE = ("num_workers", "validate_every", "patience", "output")
"""Fields that may differ when a run is resumed: they change neither what is learned nor when."""


def claim_folder(folder: Path, config: TrainConfig) -> None:
    """Write the resolved configuration into a run's folder, or see that it is the one that is there.

    Raises:
        TrainingError: the folder belongs to another run, or cannot be written.
    """
    mine: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    path = folder / CONFIG
    try:
        if path.is_file():
            theirs = json.loads(path.read_text())
            changed = sorted(key for key in mine if key not in MAY_CHANGE and mine[key] != theirs.get(key))
            if changed:
                raise TrainingError(
                    f"{folder} holds a run with another {', '.join(changed)}: choose another output, or delete it"
                )
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(mine, indent=2) + "\n")
        (folder / ENVIRONMENT).write_text(json.dumps(describe_training(), indent=2) + "\n")
    except (OSError, json.JSONDecodeError) as error:
        raise TrainingError(f"output {folder} cannot be used: {error}: free some space or choose another") from error


def write_result(folder: Path, result: Mapping[str, Any]) -> None:
    """What came out of a finished run, for tables."""
    write_file(folder / RESULT, (json.dumps(result, indent=2) + "\n").encode(), error=TrainingError)


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result of a finished run, or None while it is not."""
    path = folder / RESULT
    return json.loads(path.read_text()) if path.is_file() else None
