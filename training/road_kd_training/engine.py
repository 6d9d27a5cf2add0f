# SPDX-License-Identifier: Apache-2.0
"""The training loop: supervised, distilled, cross supervised and semi-supervised runs are its configurations."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list, set_seed
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from road_kd_seg.bundle import Bundle, save_bundle
from road_kd_seg.preprocess.input_spec import InputSpec
from road_kd_seg.preprocess.tensors import preprocess
from road_kd_training.augment import check_labels, mix
from road_kd_training.checkpoints import LAST, load_checkpoint, save_checkpoint
from road_kd_training.components import build_components, build_optimizers, without_pretrained
from road_kd_training.config import NetworkConfig, TrainConfig
from road_kd_training.config_ranges import check_numbers
from road_kd_training.data import from_worker, training_loader
from road_kd_training.data_check import check_data
from road_kd_training.errors import TrainingError
from road_kd_training.evaluate import Score, mean_selection, score_dataset, unique_names, wrap_network
from road_kd_training.gradient_shares import GradientShares
from road_kd_training.interrupts import deferred_interrupt
from road_kd_training.mixed_precision import pick_memory_format, pick_precision
from road_kd_training.objective import STUDENT, Learner, NetworkInput
from road_kd_training.provenance import describe_training
from road_kd_training.run_folder import claim_folder, locked, refuse_other_run, write_result
from road_kd_training.schedules import learning_rate
from road_kd_training.storing import store_outputs
from road_kd_training.teachers import frozen_outputs, resized
from road_kd_training.terminal import plain_console
from road_kd_training.weight_average import move_weights, newest_share

SNAPSHOTS = "snapshots"
"""Folder of a run's copies of the student, by step."""


class Trainer:
    """One run: state, and the loop over it.

    Raises:
        TrainingError: a recipe that contradicts itself or the networks, or a folder that holds another run.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.folder = Path(config.output)
        check_numbers(config)
        refuse_other_run(self.folder, config)
        set_seed(config.seed)
        cpu_only = not torch.cuda.is_available()
        # Methods may leave adapters, taps or auxiliary heads without a gradient in some steps.
        unused = DistributedDataParallelKwargs(find_unused_parameters=bool(config.distillers))
        device = torch.device("cpu" if cpu_only else "cuda")
        precision, reason = pick_precision(config.mixed_precision, device)
        AcceleratorState._reset_state()  # it refuses another precision than the process's first run had
        self.accelerator = Accelerator(mixed_precision=precision, cpu=cpu_only, kwargs_handlers=[unused])
        self.device = self.accelerator.device
        self.console = plain_console(quiet=not self.accelerator.is_main_process)
        if config.mixed_precision == "auto":
            self.console.print(f"mixed_precision: {precision} ({reason})")
        self.components = build_components(config, self.device)
        claim_folder(self.folder, config)
        self.memory_format = pick_memory_format(self.device, self.components.learner)
        self.shares = GradientShares(config, self.components.weights)
        self.environment = describe_training()  # now: the code may be changed while it trains
        learner = self.components.learner
        if self.accelerator.num_processes > 1 and self.device.type == "cuda":
            learner = nn.SyncBatchNorm.convert_sync_batchnorm(learner)
        learner = learner.to(self.device).to(memory_format=self.memory_format)
        self.averages = {i: copy.deepcopy(n).requires_grad_(False) for i, n in learner.networks.items()}
        self.learner, *self.optimizers = self.accelerator.prepare(learner, *build_optimizers(config, learner))
        self.step = 0
        self.best: dict[str, Any] = {"score": -math.inf, "step": 0, "validation": {}}
        self.best_peers = dict.fromkeys(learner.peers_by_index, -math.inf)
        """Validation scores of the peers' bundles, each of its own best step."""
        self.worse_validations = 0
        self.seconds = 0.0
        self._resume()

    @property
    def _bare_learner(self) -> Learner:
        learner: Learner = self.accelerator.unwrap_model(self.learner)
        return learner

    def _resume(self) -> None:
        state = load_checkpoint(self.folder)
        if state is None:
            return
        self._bare_learner.load_state_dict(state["learner"])
        for index, average in self.averages.items():
            average.load_state_dict(state["averages"][index])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        if self.accelerator.scaler is not None and state["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step, self.best, self.worse_validations = state["step"], state["best"], state["worse_validations"]
        self.best_peers = state["best_peers"]
        self.seconds, self.components.zero_terms.seen = state["seconds"], set(state["terms_seen"])
        if "shares" in state:
            self.shares.load(state["shares"])
        self.console.print(f"resumed {self.folder} at step {self.step}")

    def _checkpoint(self) -> None:
        if not self.accelerator.is_main_process:
            return
        scaler = self.accelerator.scaler
        state = {
            "learner": self._bare_learner.state_dict(),
            "averages": {index: average.state_dict() for index, average in self.averages.items()},
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "scaler": None if scaler is None else scaler.state_dict(),
            "step": self.step,
            "best": self.best,
            "best_peers": self.best_peers,
            "worse_validations": self.worse_validations,
            "seconds": self.seconds,
            "terms_seen": sorted(self.components.zero_terms.seen),
            "shares": self.shares.state(),
        }
        save_checkpoint(self.folder, state)

    def is_finished(self) -> bool:
        """Whether all steps are done, or the score has not risen for `patience` validations."""
        patience = self.config.patience
        return self.step >= self.config.steps or (patience is not None and self.worse_validations >= patience)

    def run(self) -> Path:
        """Train to the end; Ctrl-C and errors leave a checkpoint that the same command resumes.

        Returns:
            The bundle's folder, with the weights of the best validation.

        Raises:
            TrainingError: a term is not finite or permanently 0, memory ran out, another process trains in this
                folder, or data lack what the recipe needs.
            DatasetError: a sample that cannot be read or labels that are no class.
        """
        if self.is_finished():
            return self.folder / "bundle"
        if not self.accelerator.is_main_process:
            return self._run()
        with locked(self.folder):
            parts = self.components
            needs_depth = any(spec.depth is not None for spec in parts.specs.values())
            needs_depth |= any(teacher.bundle.input.depth is not None for teacher in parts.teachers.values())
            for line in check_data(self.config, parts.pools, parts.validation, needs_depth=needs_depth):
                self.console.print(f"note: {line}")
            return self._run()

    def _run(self) -> Path:
        config, parts = self.config, self.components
        processes = self.accelerator.num_processes
        started = time.perf_counter()
        store = store_outputs(config, parts.pools, parts.teachers, self.accelerator, self.console)
        self.seconds += time.perf_counter() - started
        loader = self.accelerator.prepare(training_loader(config, parts.pools, self.step, processes, store))
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        times = (TimeElapsedColumn(), TimeRemainingColumn())
        try:
            with (
                SummaryWriter(str(self.folder / "tensorboard")) as writer,
                Progress(*columns, *times, console=self.console) as progress,
                deferred_interrupt() as raise_interrupt,
            ):
                task = progress.add_task(config.name, total=config.steps, completed=self.step)
                for batch in loader:
                    started = time.perf_counter()
                    values = self._train_step(*batch)
                    self.step += 1
                    self.seconds += time.perf_counter() - started
                    self.components.zero_terms.check(values, self.step)
                    total = self._log(writer, values)
                    progress.update(task, completed=self.step, description=f"{config.name} loss {total:.3f}")
                    if config.snapshot_every and self.step % config.snapshot_every == 0:
                        self._save_snapshot()
                    if self.step % config.validate_every == 0 or self.step == config.steps:
                        self._validate(writer)
                        self._checkpoint()
                        if self.is_finished():
                            break
                    raise_interrupt()
        except KeyboardInterrupt:
            self._checkpoint()
            self.console.print(f"stopped at step {self.step}: the same command resumes from {self.folder}")
            raise
        except TrainingError:  # bad numbers or too little memory: the last checkpoint is the last good one
            raise
        except Exception as error:
            self._checkpoint()
            raise from_worker(error) from error
        if self.accelerator.is_main_process:
            write_result(self.folder, self._result())
        return self.folder / "bundle"

    def _train_step(
        self, rgb: Tensor, depth_m: Tensor, label: Tensor, plane: Tensor, stored: Mapping[int, Tensor] | None = None
    ) -> dict[str, float]:
        """One update; the raw terms."""
        config = self.config
        check_labels(label, len(self.components.taxonomy))
        for group in self.optimizers[0].param_groups:
            group["lr"] = learning_rate(config, self.step) * group["rate_factor"]
        # Dropout draws afresh at every step, and alike in a resumed run.
        torch.manual_seed(config.seed * 1_000_003 + self.step)
        if config.mixup and float(torch.rand(())) < config.mixup:
            rgb, label = mix(rgb, label)
        self.learner.train()
        learner = self._bare_learner
        learner.stage = "the teachers' forward pass"
        try:
            with self.accelerator.autocast():
                frozen = frozen_outputs(self.components.teachers, rgb, depth_m, plane, stored)
                terms = self.learner(self._inputs(rgb, depth_m, plane), frozen, label, self.step)
            values = {name: float(term.detach()) for name, term in terms.items()}
            self._refuse_non_finite(values)
            if self.step == self.shares.step:
                self._measure_shares(terms)
            loss = torch.stack([self.shares.weights[name] * term.float() for name, term in terms.items()]).sum()
            for optimizer in self.optimizers:
                optimizer.zero_grad(set_to_none=True)
            self.accelerator.backward(loss)
            self.accelerator.clip_grad_norm_(self.learner.parameters(), config.max_grad_norm)
            for optimizer in self.optimizers:
                optimizer.step()
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            raise TrainingError(
                f"out of memory in {learner.stage} at step {self.step}: lower batch_size or the size of the input or"
                f" crop, or use mixed precision; {self._last_good()}"
            ) from error
        for index, network in learner.networks.items():
            move_weights(self.averages[index], network, newest_share(config.ema_decay, self.step + 1))
        return values

    def _measure_shares(self, terms: Mapping[str, Tensor]) -> None:
        """On this process's batch; all processes then take the first one's."""
        self.shares.measure(terms, [p for p in self._bare_learner.student.parameters() if p.requires_grad])
        if self.accelerator.num_processes > 1:
            states = [self.shares.state()]
            broadcast_object_list(states)
            self.shares.load(states[0])

    def _inputs(self, rgb: Tensor, depth_m: Tensor, plane: Tensor) -> dict[int, NetworkInput]:
        inputs: dict[int, NetworkInput] = {}
        for index, spec in self.components.specs.items():
            color, depth = preprocess(rgb, depth_m, resized(spec, rgb, self.config.teacher_view), plane)
            inputs[index] = color.contiguous(memory_format=self.memory_format), depth
        return inputs

    def _refuse_non_finite(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            if not math.isfinite(value):
                raise TrainingError(
                    f"{name} is {value} at step {self.step}: lower learning_rate or its weight, or use"
                    f" mixed_precision: no; {self._last_good()}"
                )

    def _last_good(self) -> str:
        path = self.folder / LAST
        return f"the last good checkpoint is {path}" if path.is_file() else "there is no checkpoint yet"

    def _log(self, writer: SummaryWriter, values: Mapping[str, float]) -> float:
        weighted = {name: self.shares.weights[name] * value for name, value in values.items()}
        for name, value in values.items():
            writer.add_scalar(f"terms/{name}", value, self.step)
            writer.add_scalar(f"weighted/{name}", weighted[name], self.step)
        for name, method in self.components.learner.methods.items():
            for statistic, scalar in method.distiller.statistics.items():
                writer.add_scalar(f"statistics/{name}/{statistic}", float(scalar), self.step)
        writer.add_scalar("learning_rate", learning_rate(self.config, self.step - 1), self.step)
        return sum(weighted.values())

    def _validate(self, writer: SummaryWriter) -> None:
        """Score the averaged student; only the main process does, and tells the others whether it was better."""
        decision = [False]
        if self.accelerator.is_main_process:
            scores = self._score(STUDENT)
            for name, score in scores.items():
                writer.add_scalar(f"miou/{name}", score.miou, self.step)
                self.console.print(f"step {self.step}, {name}: {score.describe(self.components.taxonomy)}")
            mean = mean_selection(scores)
            if mean > self.best["score"]:
                validation = {name: score.to_dict(self.components.taxonomy) for name, score in scores.items()}
                self.best = {"score": mean, "step": self.step, "validation": validation}
                self._save_bundle(STUDENT, self.config.network, self.folder / "bundle", self.config.name, validation)
                decision = [True]
            self._validate_peers()
        if self.accelerator.num_processes > 1:
            broadcast_object_list(decision)
        self.worse_validations = 0 if decision[0] else self.worse_validations + 1

    def _validate_peers(self) -> None:
        """Save each peer that is better than ever before."""
        for index in self.best_peers:
            network, score = self.config.teachers[index].network, mean_selection(self._score(index))
            if network is not None and score > self.best_peers[index]:
                self.best_peers[index] = score
                folder = self.folder / "peers" / str(index)
                self._save_bundle(index, network, folder, f"{self.config.name}_peer{index}", {})

    def _score(self, index: int) -> dict[str, Score]:
        """Of the student or a peer, by data set."""
        bundle = self._describe(self.config.network, self.components.specs[index])
        segmenter = wrap_network(copy.deepcopy(self.averages[index]), bundle, self.device)
        names = unique_names([config.dataset for config in self.config.validation])
        return {name: score_dataset(segmenter, d) for name, d in zip(names, self.components.validation, strict=True)}

    def _save_snapshot(self) -> None:
        """Of the averaged student, for those who ask how it came to be what it is."""
        if self.accelerator.is_main_process:
            folder = self.folder / SNAPSHOTS / str(self.step)
            self._save_bundle(STUDENT, self.config.network, folder, self.config.name, {})

    def _describe(self, network: NetworkConfig, spec: InputSpec) -> Bundle:
        options = without_pretrained(network.options)
        return Bundle(self.folder, self.config.name, network.name, options, self.components.taxonomy, spec, "", {})

    def _save_bundle(
        self, index: int, network: NetworkConfig, folder: Path, name: str, validation: Mapping[str, Any]
    ) -> None:
        """Of the student or a peer, as it is now."""
        save_bundle(
            folder,
            self.averages[index],
            name=name,
            network_name=network.name,
            network_kwargs=without_pretrained(network.options),
            taxonomy=self.components.taxonomy,
            input_spec=self.components.specs[index],
            provenance=self._provenance(validation),
        )

    def _provenance(self, validation: Mapping[str, Any]) -> dict[str, Any]:
        config = self.config
        listed = ("train", "unlabeled", "teachers", "distillers")
        return {
            "step": self.step,
            "init_from": config.init_from,
            **{name: [dataclasses.asdict(item) for item in getattr(config, name)] for name in listed},
            "weights": self.shares.weights,
            "seed": config.seed,
            "validation": validation,
            **self.environment,
        }

    def _result(self) -> dict[str, Any]:
        return {
            "validation": self.best["validation"],
            "best_step": self.best["step"],
            "steps": self.step,
            "seconds": round(self.seconds, 1),
            "gradient_shares": self.shares.shares,
            "parameters": sum(p.numel() for p in self.averages[STUDENT].parameters()),
            "environment": self.environment,
        }


def _is_out_of_memory(error: Exception) -> bool:
    # The CPU's allocator raises a plain RuntimeError.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
