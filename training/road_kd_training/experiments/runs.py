# SPDX-License-Identifier: Apache-2.0
"""Carrying out a plan: run by run, what is finished is kept, what fails is told and the others run."""

from __future__ import annotations

import dataclasses
import gc
import shutil
import traceback
from pathlib import Path

import torch
from accelerate import PartialState
from rich.console import Console

from road_kd_seg.bundle import load_bundle
from road_kd_seg.errors import RoadKdError
from road_kd_seg.segmenter import Segmenter
from road_kd_training.checkpoints import LAST
from road_kd_training.config import DataConfig, TeacherConfig, TrainConfig
from road_kd_training.engine import SNAPSHOTS
from road_kd_training.errors import TrainingError
from road_kd_training.experiments.alignment import Alignment, alignment_of
from road_kd_training.experiments.labeling import label_frames
from road_kd_training.experiments.plan import SCENES, Plan, Run, bundle_of
from road_kd_training.experiments.records import (
    RECORD,
    Record,
    changed_fields,
    find_trained,
    read_record,
    refuse_other_recipe,
    write_recipe,
    write_record,
)
from road_kd_training.experiments.tasks import TASKS
from road_kd_training.run_folder import read_result
from road_kd_training.terminal import plain_console

FAILURE = "failure.txt"
Key = tuple[str, int]
"""A row's key and a seed."""


class Runner:
    """State of one carrying out: what is known of each run so far.

    Args:
        plan: what to do.
        replace: retrain runs whose folder holds another recipe, deleting that.
        console: for progress.
    """

    def __init__(self, plan: Plan, *, replace: bool = False, console: Console | None = None) -> None:
        self.plan, self.replace = plan, replace
        self.task = TASKS[plan.experiment.task]
        self.processes = PartialState()
        self.console = console or plain_console(quiet=not self.processes.is_main_process)
        self.records: dict[Key, Record] = {}
        self.failures: dict[Key, str] = {}

    def check_data(self) -> None:
        """Open every dataset that an unfinished run needs, so that one that is missing is told before anything trains.

        Raises:
            DatasetError: whatever a dataset finds wrong.
        """
        sources: list[DataConfig] = []
        for run in self.plan.runs:
            if self._read(run) is None:
                config = run.config
                sources += [
                    *(run.to_label or config.train),
                    *config.unlabeled,
                    *config.validation,
                    *self.plan.tests.values(),
                ]
        with self.processes.main_process_first():  # which renders scenes, where there are none
            if self.processes.is_main_process:
                (self.plan.out / SCENES).mkdir(parents=True, exist_ok=True)
            self.task.open_data([source for i, source in enumerate(sources) if source not in sources[:i]])

    def read_finished(self) -> None:
        """Take up the runs that are finished, without starting any."""
        self.records |= {_key(run): record for run in self.plan.runs if (record := self._read(run)) is not None}

    def carry_out(self) -> None:
        """Complete every run, in order; failures are kept in `failures`, and their reasons in files."""
        for number, run in enumerate(self.plan.runs, 1):
            where = f"[{number}/{len(self.plan.runs)}] {run.row.key}, seed {run.seed}"
            try:
                self.records[_key(run)] = self._complete(run, where)
            except Exception as error:  # whatever it is, the other rows shall run
                self.failures[_key(run)] = _reason(error)
                self.console.print(f"{where}: failed: {_reason(error)}", style="red")
                _note_failure(run.folder, error)
            finally:
                gc.collect()
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()

    def _complete(self, run: Run, where: str) -> Record:
        record = self._read(run)
        if record is not None:
            self.console.print(f"{where}: finished before")
            return record
        self._make_room(run)
        trained = find_trained(run, self.plan.out)
        if trained is None:
            self.console.rule(where)
            trained = self._train(run)
        elif trained != run.folder:
            self.console.print(f"{where}: the same run as {trained}")
        self._keep(run, trained)
        record = self._read(run)
        if record is None:
            raise TrainingError(f"{run.folder / RECORD} was not written: see the first process's output")
        return record

    def _keep(self, run: Run, trained: Path) -> None:
        """Score a trained run and write its record: the first process does, and frees the others even if it fails."""
        self.processes.wait_for_everyone()
        try:
            if self.processes.is_main_process:
                write_record(run, self._score(run, trained), self.plan.tests_of(run), self.plan.out)
                (run.folder / FAILURE).unlink(missing_ok=True)
        finally:
            self.processes.wait_for_everyone()

    def _read(self, run: Run) -> Record | None:
        return read_record(run, self.plan.tests_of(run), self.plan.out)

    def _make_room(self, run: Run) -> None:
        if self.replace and changed_fields(run) and self.processes.is_main_process:
            shutil.rmtree(run.folder)
        self.processes.wait_for_everyone()

    def _train(self, run: Run) -> Path:
        """Train or resume a run after its teachers; the folder."""
        if not run.trains:
            raise TrainingError(f"it is trained beside {run.row.peer_of}, which has failed")
        teachers = [bundle_of(teacher, self._trained(teacher)) for teacher in run.needs]
        config = self._with_teachers(run.config, teachers)
        if run.start is not None:
            config = dataclasses.replace(config, init_from=str(bundle_of(run.start, self._trained(run.start))))
        refuse_other_recipe(run)
        self.processes.wait_for_everyone()
        if self.processes.is_main_process:
            write_recipe(run)
            self._label(run)
        self.processes.wait_for_everyone()
        self.task.train(config)
        if self.processes.is_main_process:
            (run.folder / LAST).unlink(missing_ok=True)  # gigabytes, and only to resume
        return run.folder

    def _label(self, run: Run) -> None:
        """Make the labels that a run learns from, where another row's network makes them."""
        if run.labeler is not None:
            bundle = bundle_of(run.labeler, self._trained(run.labeler))
            segmenter = Segmenter.from_bundle(bundle, device="auto")
            folder = Path(run.config.train[0].options["root"])
            label_frames(segmenter, run.to_label, folder, run.min_confidence)

    def _trained(self, teacher: Run) -> Path:
        """Where the weights of a run that another needs are; trains it if they were deleted since it was scored."""
        reason = self.failures.get(_key(teacher))
        if reason is not None:
            raise TrainingError(f"{teacher.row.key}, which it needs, has failed")
        found = find_trained(teacher, self.plan.out)
        return found if found is not None else self._train(teacher.needs[0] if teacher.row.peer_of else teacher)

    def _with_teachers(self, config: TrainConfig, bundles: list[Path]) -> TrainConfig:
        """The configuration with its teachers where they are, and its batches shared among the processes."""
        peers = [teacher for teacher in config.teachers if teacher.network is not None]
        teachers = [TeacherConfig(bundle=str(bundle)) for bundle in bundles] + peers
        count = self.processes.num_processes
        shares = {name: getattr(config, name) // count for name in ("batch_size", "unlabeled_batch_size")}
        if any(share * count != getattr(config, name) for name, share in shares.items()):
            raise TrainingError(
                f"batch_size {config.batch_size} (unlabeled {config.unlabeled_batch_size}) cannot be shared by"
                f" {count} processes: start as many as divide it"
            )
        return dataclasses.replace(config, teachers=teachers, **shares)

    def _score(self, run: Run, trained: Path) -> Record:
        outcome = self.task.score(bundle_of(run, trained), self.plan.tests_of(run))
        result = read_result(trained)
        if result is None:
            raise TrainingError(f"{trained} holds no result: delete it to run it again")
        return Record(
            outcome,
            trained,
            result["steps"],
            result["best_step"],
            result["seconds"],
            result["environment"],
            result["gradient_shares"],
            self._alignment(run, trained),
        )

    def _alignment(self, run: Run, trained: Path) -> Alignment:
        """With the experiment's first teacher, whether or not this run learns from it."""
        taps, snapshots = self.plan.experiment.followed, trained / SNAPSHOTS
        teacher = next((other for other in self.plan.runs if other.row.role == "teacher"), None)
        if not taps or teacher is None or not snapshots.is_dir():
            return ()
        source = next(iter(self.plan.tests.values()))
        return alignment_of(snapshots, load_bundle(bundle_of(teacher, self._trained(teacher))), taps, source)


def _key(run: Run) -> Key:
    return run.row.key, run.seed


def _reason(error: Exception) -> str:
    text = str(error).strip().splitlines()
    first = text[0] if text else "no message"
    return first if isinstance(error, RoadKdError) else f"{type(error).__name__}: {first}"


def _note_failure(folder: Path, error: Exception) -> None:
    """The whole story beside the run, for whoever wants to fix it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FAILURE).write_text("".join(traceback.format_exception(error)), encoding="utf-8")
