# SPDX-License-Identifier: Apache-2.0
"""What a step minimizes: the cross entropy and the terms of every distillation method, each with its weight."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from road_kd_seg.networks import SegmentationNetwork, SegOutput
from road_kd_training.config import DistillerConfig, TrainConfig
from road_kd_training.distillers import DISTILLERS, Distiller, NetworkInfo
from road_kd_training.distillers.common.functional import align_spatial, resize_labels, supervised_loss
from road_kd_training.errors import TrainingError, suggest

CROSS_ENTROPY, PEER_CROSS_ENTROPY = "cross_entropy", "peer_cross_entropy"
"""The student's term, which every run has, and the same of its peers; those of a method are called method/term."""
AUXILIARY_CROSS_ENTROPY, AUXILIARY_TAP = "auxiliary_cross_entropy", "auxiliary_logits"
"""The term of the student's auxiliary head, and the tap where its scores are."""

STUDENT = -1
"""Where a mapping by index of teacher holds what is the student's."""

NetworkInput = tuple[Tensor, Tensor | None]
"""What one network is fed: color (B, 3, H, W) and encoded depth (B, C, H, W)."""


def measuring_step(config: TrainConfig) -> int:
    """The step (from 0) whose batch tells the terms' gradients: the first after the warm-up with every method begun."""
    starts = [method.start_step for method in config.distillers]
    return min(config.steps - 1, max([config.warmup_steps, *starts]))


@dataclass(frozen=True)
class ActiveMethod:
    """One distiller of a run, its weights by term, the teachers that it uses, and its first step."""

    distiller: Distiller
    weights: Mapping[str, float]
    teachers: Sequence[int]
    start_step: int


def build_methods(
    config: TrainConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo], peers: Sequence[int]
) -> dict[str, ActiveMethod]:
    """Every distiller of a run by name; a method used twice is numbered from the second on.

    Args:
        config: of the run.
        student: the network that is distilled.
        teachers: all teachers of the recipe, in order.
        peers: which of them learn too.

    Raises:
        TrainingError: an unknown method, option, term or teacher, a missing weight, a method that trains its
            teachers with one that is frozen (or the reverse), too small a batch, or a start after the run's end.
    """
    methods: dict[str, ActiveMethod] = {}
    for chosen in config.distillers:
        same = sum(name.split("_#")[0] == chosen.method for name in methods)
        name = chosen.method if not same else f"{chosen.method}_#{same + 1}"
        start = chosen.start_step if config.gradient_share is None else measuring_step(config)
        methods[name] = _build_method(chosen, start, student, teachers, peers)
        _check_run(name, methods[name], config)
    unused = set(range(len(teachers))) - {index for method in methods.values() for index in method.teachers}
    if unused:
        raise TrainingError(f"no distiller uses teachers {sorted(unused)}: add one, or remove the teachers")
    return methods


def _build_method(
    config: DistillerConfig,
    start_step: int,
    student: NetworkInfo,
    teachers: Sequence[NetworkInfo],
    peers: Sequence[int],
) -> ActiveMethod:
    if config.method not in DISTILLERS:
        raise TrainingError(f"distiller '{config.method}' is unknown: {suggest(config.method, DISTILLERS)}")
    kind = DISTILLERS[config.method]
    used = list(range(len(teachers))) if config.teachers is None else config.teachers
    if kind.needs.max_teachers == 0:
        used = []
    for index in used:
        if not 0 <= index < len(teachers):
            raise TrainingError(f"{config.method}: teacher {index} of {len(teachers)}: they are counted from 0")
        if (index in peers) != kind.trains_peers:
            wanted = "a network that learns beside the student" if kind.trains_peers else "a trained bundle"
            raise TrainingError(f"{config.method}: teacher {index} must be {wanted}: correct the recipe's teachers")
    distiller = kind(_settings(config, kind), student, [teachers[index] for index in used])
    return ActiveMethod(distiller, _weights(config, kind), used, start_step)


def _check_run(name: str, method: ActiveMethod, config: TrainConfig) -> None:
    """Refuse a run that the method cannot do; `Distiller` checks networks and teachers itself."""
    samples = config.batch_size + config.unlabeled_batch_size
    if samples < method.distiller.needs.min_batch:
        raise TrainingError(
            f"{name}: batch_size is {samples}, expected {method.distiller.needs.min_batch} or more: it compares the"
            " images of a batch with each other"
        )
    if not 0 <= method.start_step < config.steps:
        raise TrainingError(f"{name}: start_step is {method.start_step}, expected 0 to below steps, {config.steps}")


def _settings(config: DistillerConfig, kind: type[Distiller]) -> Any:
    settings: Any = kind.Config
    known = [field.name for field in dataclasses.fields(settings)]
    for option in config.options:
        if option not in known:
            raise TrainingError(f"{config.method}: option '{option}' is unknown: {suggest(option, known)}")
    missing = [
        field.name
        for field in dataclasses.fields(settings)
        if field.name not in config.options
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise TrainingError(
            f"{config.method}: option {', '.join(missing)} is missing: 'road-kd list networks' shows the taps of"
            " student and teacher"
        )
    return settings(**{name: _as_tuples(value) for name, value in config.options.items()})


def _as_tuples(value: Any) -> Any:
    """YAML knows lists only; settings are immutable."""
    return tuple(_as_tuples(item) for item in value) if isinstance(value, list | tuple) else value


def _weights(config: DistillerConfig, kind: type[Distiller]) -> dict[str, float]:
    if config.weights is None:
        return dict(kind.default_weights)
    for term in config.weights:
        if term not in kind.default_weights:
            raise TrainingError(f"{config.method}: term '{term}' is unknown: {suggest(term, kind.default_weights)}")
    missing = [term for term in kind.default_weights if term not in config.weights]
    if missing:
        raise TrainingError(f"{config.method}: no weight for {', '.join(missing)}: give one to each term, 0 to drop it")
    return dict(config.weights)


class Learner(nn.Module):
    """Everything that learns: student, peers and the methods' adapters. One module, so that it is wrapped once."""

    class_weights: Tensor | None

    def __init__(
        self,
        student: SegmentationNetwork,
        peers: Mapping[int, SegmentationNetwork],
        methods: Mapping[str, ActiveMethod],
        class_weights: Tensor | None,
        *,
        auxiliary: bool = False,
        freeze: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if auxiliary and AUXILIARY_TAP not in student.feature_info:
            raise TrainingError(
                f"auxiliary_weight: the student has no auxiliary head (no tap {AUXILIARY_TAP}): set it to 0"
            )
        self.student = student
        self.auxiliary = auxiliary
        self.frozen = _frozen_modules(student, freeze)
        self.peers = nn.ModuleDict({str(index): peer for index, peer in peers.items()})
        self.distillers = nn.ModuleDict({name: method.distiller for name, method in methods.items()})
        self.methods = methods
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.stage = "nothing yet"
        """What is being computed, for the message when memory runs out."""

    def train(self, mode: bool = True) -> Learner:
        """As any module, but that what is frozen keeps its statistics."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self

    @property
    def peers_by_index(self) -> dict[int, SegmentationNetwork]:
        """The peers, by their index among the teachers."""
        return {int(index): cast(SegmentationNetwork, peer) for index, peer in self.peers.items()}

    @property
    def networks(self) -> dict[int, SegmentationNetwork]:
        """Student and peers, by index among the teachers."""
        return {STUDENT: self.student, **self.peers_by_index}

    def forward(
        self, inputs: Mapping[int, NetworkInput], frozen: Mapping[int, SegOutput], target: Tensor, step: int
    ) -> dict[str, Tensor]:
        """Unweighted terms by name, all at the size of the student's logits.

        Args:
            inputs: of the student (STUDENT) and of each peer (its index among the teachers).
            frozen: outputs of the other teachers, by index.
            target: class ids (B, H, W), 255 = ignore.
            step: for warm-ups, and for methods that have not started.
        """
        self.stage = "the student's forward pass"
        student = self.student(*inputs[STUDENT])
        self.stage = "the peers' forward pass"
        peers = {index: peer(*inputs[index]) for index, peer in self.peers_by_index.items()}
        outputs = {**frozen, **peers}
        size = student.logits.shape[-2:]
        target = resize_labels(target, size)
        outputs = {index: _resize_logits(output, size) for index, output in outputs.items()}
        self.stage = CROSS_ENTROPY
        terms = {CROSS_ENTROPY: self._supervised(student, target)}
        if self.auxiliary:
            scores = align_spatial(student.features[AUXILIARY_TAP].float(), size)
            terms[AUXILIARY_CROSS_ENTROPY] = supervised_loss(scores, target, self.class_weights)
        if peers:
            terms[PEER_CROSS_ENTROPY] = torch.stack([self._supervised(outputs[i], target) for i in peers]).sum()
        for name, method in self.methods.items():
            self.stage = name
            found = {term: target.new_zeros((), dtype=torch.float32) for term in method.weights}
            if step >= method.start_step:
                teachers = [outputs[index] for index in method.teachers]
                found = self.distillers[name](student, teachers, target, step - method.start_step)
            terms |= {f"{name}/{term}": value for term, value in found.items()}
        self.stage = "the backward pass"
        return terms

    def _supervised(self, output: SegOutput, target: Tensor) -> Tensor:
        return supervised_loss(output.logits.float(), target, self.class_weights)


def _frozen_modules(student: SegmentationNetwork, names: Sequence[str]) -> list[nn.Module]:
    """The student's modules below `names`, whose parameters no longer learn."""
    modules = dict(student.named_modules())
    for name in names:
        if name not in modules:
            raise TrainingError(f"freeze: the student has no module '{name}': {suggest(name, modules)}")
        modules[name].requires_grad_(False)
    return [modules[name] for name in names]


def _resize_logits(output: SegOutput, size: Sequence[int]) -> SegOutput:
    return output._replace(logits=align_spatial(output.logits, size))


def weights_by_term(config: TrainConfig, methods: Mapping[str, ActiveMethod], *, peers: bool) -> dict[str, float]:
    """The weight of every term that `Learner` returns; peers learn from labels with the student's weight."""
    return {
        CROSS_ENTROPY: config.cross_entropy,
        **({AUXILIARY_CROSS_ENTROPY: config.auxiliary_weight} if config.auxiliary_weight else {}),
        **({PEER_CROSS_ENTROPY: config.cross_entropy} if peers else {}),
        **{f"{name}/{term}": weight for name, method in methods.items() for term, weight in method.weights.items()},
    }


class ZeroTerms:
    """Finds terms that have a weight and stay at 0: a recipe that does not do what it says.

    Args:
        starts: by term, the step before which 0 is meant.
        steps: of the run.
    """

    GRACE_STEPS = 50

    def __init__(self, starts: Mapping[str, int], steps: int) -> None:
        self.deadlines = {term: start + min(self.GRACE_STEPS, steps - start) for term, start in starts.items()}
        self.seen: set[str] = set()

    def check(self, values: Mapping[str, float], steps_done: int) -> None:
        """Note one step's values.

        Raises:
            TrainingError: a term has been 0 for too long.
        """
        self.seen |= {term for term, value in values.items() if value != 0}
        for term, deadline in self.deadlines.items():
            if term not in self.seen and steps_done >= deadline:
                raise TrainingError(
                    f"term {term} has been 0 in every step until {steps_done}: it teaches nothing here; remove its"
                    " method or set its weight to 0, or check labels, taps and classes"
                )
