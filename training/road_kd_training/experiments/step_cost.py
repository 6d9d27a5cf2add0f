# SPDX-License-Identifier: Apache-2.0
"""What one training step of a run costs, teachers' forward passes included: on random images, with random weights.

Where teachers' outputs are stored, a step has none of their forward passes, and storing has a cost of its own.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from road_kd_seg.backends.torch_backend import pick_device
from road_kd_seg.networks import SegmentationNetwork, SegOutput, build_network
from road_kd_seg.preprocess.tensors import preprocess
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY
from road_kd_training.components import build_optimizers, input_spec, tap_named_modules, without_pretrained
from road_kd_training.config import InputConfig, NetworkConfig, TrainConfig
from road_kd_training.datasets import DATASETS
from road_kd_training.distillers import NetworkInfo
from road_kd_training.experiments.plan import Budget, Run
from road_kd_training.mixed_precision import pick_memory_format, pick_precision
from road_kd_training.objective import STUDENT, Learner, build_methods, weights_by_term

ROUNDS = 8
Batch = tuple[Tensor, Tensor, Tensor]
"""uint8 (B, H, W, 3), meters (B, H, W) and class ids (B, H, W)."""


def step_costs(steps: Mapping[str, Callable[[], None]], budget: Budget) -> dict[str, float]:
    """Least cost of each step, in seconds, all of them interleaved after one that is not counted.

    The least, because whatever else runs on a machine makes a step dearer and never cheaper, processor time included.
    Processor time is measured with one thread: of several, those that wait for one that has lost its core count too,
    and a step has been seen to cost ten times as much.

    Args:
        steps: by name; each call makes one optimizer step.
        budget: cpu for the processor time of this process, wall for the time that passes.
    """
    clock = time.process_time if budget == "cpu" else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in steps}
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if budget == "cpu" else threads)
    try:
        for round_number in range(ROUNDS + 1):
            for name, step in steps.items():
                start = clock()
                step()
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                if round_number:
                    times[name].append(clock() - start)
    finally:
        torch.set_num_threads(threads)
    return {name: min(values) for name, values in times.items()}


def step_of(run: Run) -> Callable[[], None]:
    """One training step of a run, ready to be called: random weights, random images, nothing that is read from disk."""
    config = run.config
    device = pick_device("auto")
    classes = _classes(config)
    student = _network(config.network, classes)
    peers = {
        len(run.needs) + i: _network(teacher.network, classes)
        for i, teacher in enumerate(teacher for teacher in config.teachers if teacher.network is not None)
        if teacher.network is not None
    }
    teachers = _teachers(run, classes)
    tap_named_modules(config, [student, *peers.values(), *teachers])
    infos = [NetworkInfo.of(network.__class__.__name__, network) for network in (*teachers, *peers.values())]
    methods = build_methods(config, NetworkInfo.of(config.network.name, student), infos, list(peers))
    weights = weights_by_term(config, methods, peers=bool(peers))
    balance = None if config.class_weights is None else torch.tensor(config.class_weights)
    learner = (
        Learner(student, peers, methods, balance, auxiliary=bool(config.auxiliary_weight), freeze=config.freeze)
        .to(device)
        .train()
    )
    learner = learner.to(memory_format=pick_memory_format(device, learner))
    optimizers = build_optimizers(config, learner)
    batch = _random_batch(config, classes, device)
    rgb, depth_m, label = batch
    teach = _teaching(run, teachers, batch)
    stored = {i: output.logits.half() for i, output in teach().items()} if config.stored_crops else None

    def step() -> None:
        with _autocast(config, device):
            frozen = teach() if stored is None else {i: SegOutput(x.float(), {}) for i, x in stored.items()}
            inputs = {index: _fed(rgb, depth_m, config.input) for index in (STUDENT, *peers)}
            terms = learner(inputs, frozen, label, config.steps)
        loss = torch.stack([weights[name] * term.float() for name, term in terms.items()]).sum()
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()

    return step


def storing_of(run: Run) -> Callable[[], None]:
    """What storing a batch of teachers' outputs computes, ready to be called; alike."""
    device = pick_device("auto")
    classes = _classes(run.config)
    teach = _teaching(run, _teachers(run, classes), _random_batch(run.config, classes, device))

    def store() -> None:
        with _autocast(run.config, device):
            for output in teach().values():
                output.logits.half().cpu()

    return store


def _classes(config: TrainConfig) -> int:
    return len(getattr(DATASETS[config.train[0].dataset], "taxonomy", DEFAULT_TAXONOMY))


def _autocast(config: TrainConfig, device: torch.device) -> torch.autocast:
    precision, _ = pick_precision(config.mixed_precision, device)
    dtype = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    return torch.autocast(device.type, dtype, enabled=precision != "no")


def _teachers(run: Run, classes: int) -> list[SegmentationNetwork]:
    return [_network(teacher.config.network, classes).eval() for teacher in run.needs]


def _teaching(run: Run, teachers: Sequence[SegmentationNetwork], batch: Batch) -> Callable[[], dict[int, SegOutput]]:
    """The forward passes of a run's frozen teachers."""
    rgb, depth_m, _ = batch
    ready = [
        (_ready(network, rgb.device), teacher.config.input)
        for network, teacher in zip(teachers, run.needs, strict=True)
    ]

    def teach() -> dict[int, SegOutput]:
        with torch.no_grad():
            return {i: network(*_fed(rgb, depth_m, frame)) for i, (network, frame) in enumerate(ready)}

    return teach


def _network(network: NetworkConfig, classes: int) -> SegmentationNetwork:
    return build_network(network.name, classes, **without_pretrained(network.options))


def _ready(network: SegmentationNetwork, device: torch.device) -> SegmentationNetwork:
    return network.to(device).to(memory_format=pick_memory_format(device, network)).requires_grad_(False)


def _fed(rgb: Tensor, depth_m: Tensor, frame: InputConfig) -> tuple[Tensor, Tensor | None]:
    spec = dataclasses.replace(input_spec(frame), size=(rgb.shape[1], rgb.shape[2]), crop=(0.0, 0.0, 1.0, 1.0))
    return preprocess(rgb, depth_m, spec)


def _random_batch(config: TrainConfig, classes: int, device: torch.device) -> Batch:
    """uint8 (B, H, W, 3), meters (B, H, W) and class ids (B, H, W) in blocks."""
    height, width = config.augment.crop_height or config.input.height, config.augment.crop_width or config.input.width
    size = (config.batch_size + config.unlabeled_batch_size, height, width)
    generator = torch.Generator().manual_seed(0)
    rgb = torch.randint(0, 256, (*size, 3), generator=generator, dtype=torch.uint8)
    depth_m = 1 + torch.rand(size, generator=generator)
    blocks = torch.randint(0, classes, (size[0], -(-height // 16), -(-width // 16)), generator=generator)
    label = blocks.repeat_interleave(16, 1).repeat_interleave(16, 2)[:, :height, :width].clone()
    label[config.batch_size :] = 255
    return rgb.to(device), depth_m.to(device), label.to(device)
