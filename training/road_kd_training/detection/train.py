# SPDX-License-Identifier: Apache-2.0
"""The training loop of detectors: their own losses, and those of methods that compare levels of their pyramids."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from road_kd_seg.networks import SegOutput
from road_kd_training.checkpoints import load_checkpoint, save_checkpoint
from road_kd_training.components import build_optimizer
from road_kd_training.config import MIRRORED_ONLY, TrainConfig
from road_kd_training.config_ranges import check_numbers
from road_kd_training.data import from_worker
from road_kd_training.detection.data import box_loader, build_box_datasets
from road_kd_training.detection.detectors import (
    Detector,
    DetectorSpec,
    Target,
    build_detector,
    load_detector,
    save_detector,
)
from road_kd_training.distillers.common.base import NetworkInfo
from road_kd_training.errors import TrainingError
from road_kd_training.gradient_shares import gradient_norm
from road_kd_training.interrupts import deferred_interrupt
from road_kd_training.objective import ActiveMethod, build_methods, measuring_step
from road_kd_training.provenance import describe_training
from road_kd_training.run_folder import claim_folder, locked, refuse_other_run, write_result
from road_kd_training.schedules import learning_rate

_FIXED: Mapping[str, Any] = {
    "unlabeled": [],
    "class_weights": None,
    "auxiliary_weight": 0.0,
    "init_from": None,
    "mixup": 0.0,
    "stored_crops": 0,
    "sample_cache": None,
    "patience": None,
    "ema_decay": 0.0,
    "mixed_precision": "no",
    "encoder_learning_rate_factor": 1.0,
    "freeze": [],
    "gradient_share": None,
    "snapshot_every": None,
}


class DetectionLearner(nn.Module):
    """A detector and the adapters of its methods. One module, so that it is wrapped once."""

    def __init__(self, student: Detector, methods: Mapping[str, ActiveMethod], weight: float) -> None:
        super().__init__()
        self.student = student
        self.methods = methods
        self.distillers = nn.ModuleDict({name: method.distiller for name, method in methods.items()})
        self.weight = weight
        """Of the detector's own losses."""

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Target], pyramids: Sequence[dict[str, Tensor]], step: int
    ) -> dict[str, Tensor]:
        """Weighted terms by name.

        Args:
            images: (3, H, W) each.
            targets: of each image.
            pyramids: of the teachers, on the same images.
            step: of the run.
        """
        losses, levels = self.student(images, targets)
        terms = {name: self.weight * loss for name, loss in losses.items()}
        teachers = [_as_output(pyramid) for pyramid in pyramids]
        for name, method in self.methods.items():
            if step >= method.start_step:
                used = [teachers[index] for index in method.teachers]
                found = self.distillers[name](_as_output(levels), used, None, step - method.start_step)
                terms |= {f"{name}/{term}": method.weights[term] * value for term, value in found.items()}
        return terms


def _as_output(levels: dict[str, Tensor]) -> SegOutput:
    """A pyramid as methods expect it; there are no logits by pixel."""
    return SegOutput(next(iter(levels.values()))[:, :0], levels)


class DetectionTrainer:
    """One run: state, and the loop over it. Its weights are those of the last step, as in mmdetection.

    Args:
        config: of any run; `input` holds the sides that images are resized to (the shorter one to `height`, the longer
            one to at most `width`), `cross_entropy` weighs the detector's own losses.

    Raises:
        TrainingError: settings or methods that detectors do not have, or a folder that holds another run.
        DatasetError: data that are missing or damaged.
    """

    def __init__(self, config: TrainConfig) -> None:
        _refuse_unknown(config)
        self.config, self.folder = config, Path(config.output)
        check_numbers(config)
        refuse_other_run(self.folder, config)
        set_seed(config.seed)
        self.accelerator = Accelerator(mixed_precision="no", cpu=not torch.cuda.is_available())
        self.device = self.accelerator.device
        self.console = Console(quiet=not self.accelerator.is_main_process)
        self.datasets = build_box_datasets(config.train)
        names, sides = list(self.datasets[0].class_names), (config.input.height, config.input.width)
        self.spec = DetectorSpec(config.network.name, names, sides)
        self.teachers = [self._teacher(teacher.bundle) for teacher in config.teachers]
        student = build_detector(config.network.name, len(names), sides=sides, **config.network.options)
        infos = [_info(f"teacher {index}", teacher) for index, teacher in enumerate(self.teachers)]
        methods = build_methods(config, _info(config.network.name, student), infos, peers=())
        for name, method in methods.items():
            needs = method.distiller.needs
            if needs.labels or not needs.features or method.distiller.own_optimizer() is not None:
                raise TrainingError(f"{name} needs more than features, and detectors have nothing else: use cwd")
        claim_folder(self.folder, config)
        self.environment = describe_training()
        learner = DetectionLearner(student, methods, config.cross_entropy).to(self.device)
        self.parameters = student.num_parameters
        self.learner, self.optimizer = self.accelerator.prepare(
            learner, build_optimizer(config, dict(learner.named_parameters()))
        )
        self.step, self.seconds = 0, 0.0
        self.shares: dict[str, float] = {}
        """Norm of each distillation term's gradient over that of the detector's own losses, on one batch."""
        self._resume()

    def _teacher(self, bundle: str | None) -> Detector:
        if bundle is None:
            raise TrainingError("detectors learn from trained teachers: give each teacher a bundle, not a network")
        teacher, spec = load_detector(Path(bundle))
        if spec.class_names != self.spec.class_names:
            raise TrainingError(
                f"teacher {bundle} knows {spec.class_names}, the data {self.spec.class_names}: train it on such data"
            )
        if spec.sides != self.spec.sides:
            raise TrainingError(
                f"teacher {bundle} sees images of {spec.sides}, the student of {self.spec.sides}: give both one input"
            )
        return teacher.to(self.device).requires_grad_(False)

    @property
    def _bare_learner(self) -> DetectionLearner:
        learner: DetectionLearner = self.accelerator.unwrap_model(self.learner)
        return learner

    def _resume(self) -> None:
        state = load_checkpoint(self.folder)
        if state is not None:
            self._bare_learner.load_state_dict(state["learner"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.seconds, self.shares = state["step"], state["seconds"], state["shares"]
            self.console.print(f"resumed {self.folder} at step {self.step}")

    def _checkpoint(self) -> None:
        if self.accelerator.is_main_process:
            learner, optimizer = self._bare_learner.state_dict(), self.optimizer.state_dict()
            progress = {"step": self.step, "seconds": self.seconds, "shares": self.shares}
            state = {"learner": learner, "optimizer": optimizer, **progress}
            save_checkpoint(self.folder, state)

    def run(self) -> Path:
        """Train to the end; Ctrl-C leaves a checkpoint that the same command resumes.

        Returns:
            The folder of the trained detector.

        Raises:
            TrainingError: a term that is not finite, or another process trains in this folder.
            DatasetError: a sample that cannot be read.
        """
        if not self.accelerator.is_main_process:
            return self._run()
        with locked(self.folder):
            return self._run()

    def _run(self) -> Path:
        config = self.config
        loader = self.accelerator.prepare(box_loader(config, self.datasets, self.step, self.accelerator.num_processes))
        remaining = config.steps - self.step
        try:
            with deferred_interrupt() as raise_interrupt:
                for images, targets in track(loader, config.name, remaining, console=self.console):
                    started = time.perf_counter()
                    self._train_step(images, targets)
                    self.step += 1
                    self.seconds += time.perf_counter() - started
                    if self.step % config.validate_every == 0 or self.step == config.steps:
                        self._checkpoint()
                    raise_interrupt()
        except KeyboardInterrupt:
            self._checkpoint()
            self.console.print(f"stopped at step {self.step}: the same command resumes from {self.folder}")
            raise
        except TrainingError:
            raise
        except Exception as error:
            raise from_worker(error) from error
        if self.accelerator.is_main_process:
            self._finish()
        return self.folder / "bundle"

    def _train_step(self, images: Sequence[Tensor], targets: Sequence[Target]) -> None:
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(config, self.step)
        torch.manual_seed(config.seed * 1_000_003 + self.step)  # boxes and anchors are sampled
        self.learner.train()
        with torch.no_grad():
            pyramids = [teacher.pyramid(images) for teacher in self.teachers]
        terms = self.learner(images, targets, pyramids, self.step)
        if config.distillers and self.step == measuring_step(config):
            self.shares = self._measure_shares(terms)
        for name, term in terms.items():
            if not math.isfinite(float(term.detach())):
                raise TrainingError(f"{name} is {float(term)} at step {self.step}: lower learning_rate or its weight")
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(torch.stack(list(terms.values())).sum())
        self.accelerator.clip_grad_norm_(self.learner.parameters(), config.max_grad_norm)
        self.optimizer.step()

    def _measure_shares(self, terms: Mapping[str, Tensor]) -> dict[str, float]:
        parameters = [one for one in self._bare_learner.student.parameters() if one.requires_grad]
        own = torch.stack([term for name, term in terms.items() if "/" not in name]).sum()
        reference = max(gradient_norm(own, parameters), 1e-12)
        return {name: gradient_norm(term, parameters) / reference for name, term in terms.items() if "/" in name}

    def _finish(self) -> None:
        listed = ("train", "teachers", "distillers")
        settings = {name: [dataclasses.asdict(item) for item in getattr(self.config, name)] for name in listed}
        provenance = {**settings, "step": self.step, "seed": self.config.seed, **self.environment}
        spec = dataclasses.replace(self.spec, provenance=provenance)
        save_detector(self.folder / "bundle", self._bare_learner.student, spec)
        result = {
            "validation": {},
            "best_step": self.step,
            "steps": self.step,
            "seconds": round(self.seconds, 1),
            "parameters": self.parameters,
            "environment": self.environment,
            "gradient_shares": self.shares,
        }
        write_result(self.folder, result)


def _info(name: str, detector: Detector) -> NetworkInfo:
    return NetworkInfo(name, detector.num_classes, detector.feature_info)


def _refuse_unknown(config: TrainConfig) -> None:
    for name, value in _FIXED.items():
        if getattr(config, name) != value:
            raise TrainingError(f"{name}: detectors train without it: set it to {value}")
    if config.input.depth not in (None, "none"):
        raise TrainingError("input.depth: detectors see color only: set it to none")
    if dataclasses.replace(config.augment, flip=MIRRORED_ONLY.flip) != MIRRORED_ONLY:
        raise TrainingError("augment: detectors know mirror images (flip) only: leave sizes and colors as they are")
