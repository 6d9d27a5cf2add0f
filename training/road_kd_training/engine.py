"""The training loop."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import set_seed
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from road_kd_seg.bundle import Bundle, load_bundle, save_bundle
from road_kd_seg.frame import IGNORE_INDEX
from road_kd_seg.networks import SegmentationNetwork, build_network
from road_kd_seg.preprocess import DepthEncoding, InputSpec, preprocess
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY
from road_kd_training.augment import check_labels
from road_kd_training.checkpoints import load_checkpoint, save_checkpoint
from road_kd_training.config import InputConfig, TrainConfig
from road_kd_training.data import build_datasets, training_loader
from road_kd_training.errors import TrainingError
from road_kd_training.evaluate import Score, score_dataset, wrap_network
from road_kd_training.provenance import describe_environment

console = Console()


def input_spec(config: InputConfig) -> InputSpec:
    """The runtime's description of what the network is fed."""
    depth = None if config.depth == "none" else DepthEncoding(config.depth, config.depth_low, config.depth_high)
    return InputSpec(size=(config.height, config.width), depth=depth)


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, then polynomial decay with power 0.9 (Chen et al., DeepLab)."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    return config.learning_rate * warm * math.pow(1 - step / config.steps, 0.9)


class Trainer:
    """One run: state, and the loop over it."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.taxonomy = DEFAULT_TAXONOMY
        self.spec = input_spec(config.input)
        self.folder = Path(config.output)
        self.folder.mkdir(parents=True, exist_ok=True)
        if config.class_weights is not None and len(config.class_weights) != len(self.taxonomy):
            raise TrainingError(
                f"class_weights has {len(config.class_weights)} values, expected {len(self.taxonomy)}:"
                f" one each for {', '.join(self.taxonomy.names)}"
            )
        set_seed(config.seed)
        cpu_only = not torch.cuda.is_available()
        self.accelerator = Accelerator(mixed_precision=config.mixed_precision, cpu=cpu_only)
        self.device = self.accelerator.device
        network = self._initial_network()
        self.average = copy.deepcopy(network).requires_grad_(False).to(self.device)
        optimizer = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        # On a CPU, torch 2.15 gives NaN weight gradients for narrow dilated bfloat16 convolutions in channels_last.
        self.memory_format = torch.contiguous_format if cpu_only else torch.channels_last
        network = network.to(self.device).to(memory_format=self.memory_format)
        self.network, self.optimizer = self.accelerator.prepare(network, optimizer)
        self.class_weights = None
        if config.class_weights is not None:
            self.class_weights = torch.tensor(config.class_weights, device=self.device)
        self.environment = describe_environment()  # now: the code may be changed while it trains
        self.step = 0
        self.best: dict[str, Any] = {"score": -math.inf, "step": 0}
        self._resume()

    def _initial_network(self) -> SegmentationNetwork:
        config = self.config
        network = build_network(config.network.name, len(self.taxonomy), **config.network.options)
        if config.init_from is None:
            return network
        bundle = load_bundle(config.init_from)
        wanted = (config.network.name, config.network.options, self.taxonomy)
        if (bundle.network, bundle.network_kwargs, bundle.taxonomy) != wanted:
            raise TrainingError(
                f"init_from {bundle.path} holds network {bundle.network} with {dict(bundle.network_kwargs)} and classes"
                f" {bundle.taxonomy.names}: set network to the same, or train from random weights"
            )
        network.load_state_dict(bundle.build_network().state_dict())
        return network

    def _resume(self) -> None:
        state = load_checkpoint(self.folder)
        if state is None:
            return
        self.accelerator.unwrap_model(self.network).load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.best = state["step"], state["best"]
        console.print(f"resumed {self.folder} at step {self.step}")

    def _checkpoint(self) -> None:
        state = {
            "network": self.accelerator.unwrap_model(self.network).state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "best": self.best,
        }
        save_checkpoint(self.folder, state)

    def run(self) -> Path:
        """Train to the end; Ctrl-C leaves a checkpoint that the same command resumes.

        Returns:
            The bundle's folder, with the weights of the best validation.

        Raises:
            TrainingError: the loss is not finite.
        """
        config = self.config
        (self.folder / "config.json").write_text(json.dumps(dataclasses.asdict(config), indent=2))
        (self.folder / "environment.json").write_text(json.dumps(self.environment, indent=2))
        validation = build_datasets(config.validation)
        loader = self.accelerator.prepare(training_loader(config, self.step))
        writer = SummaryWriter(str(self.folder / "tensorboard"))
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        try:
            with Progress(*columns, console=console) as progress:
                task = progress.add_task(config.name, total=config.steps, completed=self.step)
                for rgb, depth_m, label in loader:
                    started = time.perf_counter()
                    loss = self._train_step(rgb, depth_m, label)
                    self.step += 1
                    progress.update(task, completed=self.step, description=f"{config.name} loss {loss:.3f}")
                    writer.add_scalar("loss/cross_entropy", loss, self.step)
                    writer.add_scalar("step_ms", (time.perf_counter() - started) * 1000, self.step)
                    if self.step % config.validate_every == 0 or self.step == config.steps:
                        self._validate(validation, writer)
                        self._checkpoint()
        except KeyboardInterrupt:
            self._checkpoint()
            console.print(f"stopped at step {self.step}: the same command goes on from {self.folder}")
            raise
        finally:
            writer.close()
        return self.folder / "bundle"

    def _train_step(self, rgb: Tensor, depth_m: Tensor, label: Tensor) -> float:
        config = self.config
        check_labels(label, len(self.taxonomy))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(config, self.step)
        # Dropout draws anew at every step, and alike in a resumed run.
        torch.manual_seed(config.seed * 1_000_003 + self.step)
        self.network.train()
        colour, depth = preprocess(rgb, depth_m, self.spec)
        with self.accelerator.autocast():
            logits = self.network(colour.contiguous(memory_format=self.memory_format), depth).logits
        loss = F.cross_entropy(logits.float(), label, self.class_weights, ignore_index=IGNORE_INDEX)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"cross_entropy is {value} at step {self.step}: lower learning_rate or use mixed_precision: no;"
                f" the last good state is in {self.folder}"
            )
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.network.parameters(), config.max_grad_norm)
        self.optimizer.step()
        update_average(self.average, self.accelerator.unwrap_model(self.network), config.ema_decay)
        return value

    def _validate(self, datasets: list[Any], writer: SummaryWriter) -> None:
        segmenter = wrap_network(copy.deepcopy(self.average), self._describe({}), self.device)
        scores = {c.dataset: score_dataset(segmenter, d) for c, d in zip(self.config.validation, datasets, strict=True)}
        mean = sum(score.miou for score in scores.values()) / len(scores)
        for name, score in scores.items():
            writer.add_scalar(f"miou/{name}", score.miou, self.step)
            console.print(f"step {self.step} {name}: {json.dumps(score.to_dict(self.taxonomy))}")
        if mean > self.best["score"]:
            self.best = {"score": mean, "step": self.step}
            self._save_bundle(scores)

    def _describe(self, provenance: Mapping[str, Any]) -> Bundle:
        network = self.config.network
        return Bundle(
            self.folder, self.config.name, network.name, network.options, self.taxonomy, self.spec, "", provenance
        )

    def _save_bundle(self, scores: Mapping[str, Score]) -> None:
        save_bundle(
            self.folder / "bundle",
            self.average,
            name=self.config.name,
            network_name=self.config.network.name,
            network_kwargs=self.config.network.options,
            taxonomy=self.taxonomy,
            input_spec=self.spec,
            provenance={
                "step": self.step,
                "init_from": self.config.init_from,
                "train": [dataclasses.asdict(source) for source in self.config.train],
                "validation": {name: score.to_dict(self.taxonomy) for name, score in scores.items()},
                "seed": self.config.seed,
                **self.environment,
            },
        )


@torch.no_grad()
def update_average(average: SegmentationNetwork, network: nn.Module, decay: float) -> None:
    """Move the averaged weights towards the current ones; buffers (batch norm statistics) are averaged alike."""
    current = network.state_dict()
    for key, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(current[key].to(value.dtype), 1 - decay)
        else:
            value.copy_(current[key])
