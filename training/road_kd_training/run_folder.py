# SPDX-License-Identifier: Apache-2.0
"""The folder of a run: one configuration, its environment, and the result."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from road_kd_seg.errors import printable
from road_kd_seg.files import make_folder, write_file
from road_kd_training.checkpoints import LAST
from road_kd_training.config import TrainConfig
from road_kd_training.errors import TrainingError
from road_kd_training.provenance import describe_training

CONFIG, ENVIRONMENT, RESULT, LOCK = "config.json", "environment.json", "result.json", ".lock"
MAY_CHANGE = ("num_workers", "validate_every", "patience", "output")
"""Fields that may differ when a run is resumed: they change neither what is learned nor when."""


def refuse_other_run(folder: Path, config: TrainConfig) -> None:
    """See that a folder can hold this run, before its data are read; makes the folder.

    A run that never came to a checkpoint has nothing to lose: its folder is taken over.

    Raises:
        TrainingError: the folder belongs to another run, or cannot be written.
    """
    make_folder(folder, error=TrainingError)
    path = folder / CONFIG
    if not (path.is_file() and any((folder / name).exists() for name in (LAST, RESULT))):
        return
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise TrainingError(f"output {folder} cannot be used: {error}: choose another, or delete it") from error
    given = _as_data(config)
    stored = {"stored_crops": 0, **stored}  # runs may be older than this field
    changed = sorted(key for key in given if key not in MAY_CHANGE and given[key] != stored.get(key))
    if changed:
        longer = f"; to train longer, start another run with init_from: {folder / 'bundle'}"
        raise TrainingError(
            f"{folder} holds a run with another {', '.join(changed)}: choose another output, or delete it"
            f"{longer if changed == ['steps'] else ''}"
        )


def claim_folder(folder: Path, config: TrainConfig) -> None:
    """Write the resolved configuration into a run's folder, once data and networks stand.

    Raises:
        TrainingError: the folder belongs to another run, or cannot be written.
    """
    refuse_other_run(folder, config)
    for name, content in ((CONFIG, _as_data(config)), (ENVIRONMENT, describe_training())):
        write_file(folder / name, (json.dumps(content, indent=2) + "\n").encode(), error=TrainingError)


def _as_data(config: TrainConfig) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return data


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run's folder, so that a second process does not write into it; the lock ends with the process.

    Raises:
        TrainingError: another process holds it.
    """
    try:
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise TrainingError(f"output {folder} cannot be used: {error.strerror}: choose another") from error
    try:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = printable(os.read(handle, 20).decode("ascii", "replace")) or "unknown"
            raise TrainingError(
                f"{folder}: another road-kd (process {holder}) trains here: wait for it, or choose another output"
            ) from error
        os.ftruncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        os.close(handle)


def write_result(folder: Path, result: Mapping[str, Any]) -> None:
    """What came out of a finished run, for tables."""
    write_file(folder / RESULT, (json.dumps(result, indent=2) + "\n").encode(), error=TrainingError)


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result of a finished run, or None while it is not."""
    path = folder / RESULT
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
