# SPDX-License-Identifier: Apache-2.0
"""From a recipe to the components of a run: data, networks, methods, and what may not be combined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from road_kd_seg.bundle import load_bundle
from road_kd_seg.networks import SegmentationNetwork, build_network
from road_kd_seg.preprocess.input_spec import DepthEncoding, InputSpec
from road_kd_seg.taxonomy import Taxonomy
from road_kd_training.config import InputConfig, NetworkConfig, TrainConfig
from road_kd_training.data import Pool, common_taxonomy, run_data
from road_kd_training.datasets import RgbdDataset
from road_kd_training.distillers import NetworkInfo
from road_kd_training.errors import TrainingError
from road_kd_training.feature_taps import module_taps, tap_modules
from road_kd_training.objective import STUDENT, Learner, ZeroTerms, build_methods, weights_by_term
from road_kd_training.storing import check_storable
from road_kd_training.teachers import Teacher


@dataclass(frozen=True)
class Components:
    """What a run is made of."""

    pools: Sequence[Pool]
    validation: Sequence[RgbdDataset]
    taxonomy: Taxonomy
    learner: Learner
    specs: Mapping[int, InputSpec]
    """What the student (STUDENT) and the peers (their index among the teachers) are fed."""
    teachers: Mapping[int, Teacher]
    """The trained ones, by index."""
    weights: Mapping[str, float]
    """Of every term."""
    zero_terms: ZeroTerms


def build_components(config: TrainConfig, device: torch.device) -> Components:
    """Build everything that a recipe names; the learner is still on the CPU.

    Raises:
        TrainingError: a recipe that contradicts itself or the networks.
        DatasetError: data that is missing or damaged.
    """
    pools, validation = run_data(config)
    sources = [source for pool in pools for source in pool.sources]
    taxonomy = common_taxonomy([*config.train, *config.unlabeled, *config.validation], [*sources, *validation])
    student = _initial_student(config, taxonomy)
    peers = {i: _build(t.network, taxonomy) for i, t in enumerate(config.teachers) if t.network is not None}
    teachers = _load_teachers(config, taxonomy, device)
    tap_named_modules(config, [student, *peers.values(), *(teacher.network for teacher in teachers.values())])
    infos = {i: NetworkInfo.of(f"peer {i}", peer) for i, peer in peers.items()}
    infos |= {i: NetworkInfo.of(t.bundle.network, t.network) for i, t in teachers.items()}
    in_order = [infos[i] for i in range(len(infos))]
    methods = build_methods(config, NetworkInfo.of(config.network.name, student), in_order, list(peers))
    check_storable(config, methods, taxonomy)
    weights = weights_by_term(config, methods, peers=bool(peers))
    starts = {f"{name}/{term}": method.start_step for name, method in methods.items() for term in method.weights}
    may_stay_zero = {f"{name}/{term}" for name, method in methods.items() for term in method.distiller.may_stay_zero}
    specs = {STUDENT: input_spec(config.input)}
    return Components(
        pools=pools,
        validation=validation,
        taxonomy=taxonomy,
        learner=Learner(
            student,
            peers,
            methods,
            _class_weights(config, taxonomy),
            auxiliary=bool(config.auxiliary_weight),
            freeze=config.freeze,
        ),
        specs=specs | {i: input_spec(config.teachers[i].input or config.input) for i in peers},
        teachers=teachers,
        weights=weights,
        zero_terms=ZeroTerms(
            {term: starts.get(term, 0) for term, weight in weights.items() if weight and term not in may_stay_zero},
            config.steps,
        ),
    )


def input_spec(config: InputConfig) -> InputSpec:
    """The runtime's description of what the network is fed."""
    size = (config.height, config.width)
    depth = None
    if config.depth is not None and config.depth != "none":
        depth = DepthEncoding(config.depth, config.depth_low, config.depth_high, config.depth_focal)
    return InputSpec(size, depth, config.crop)


def without_pretrained(options: Mapping[str, Any]) -> dict[str, Any]:
    """A network's options as a bundle holds them: it brings its own weights."""
    return {name: value for name, value in options.items() if name != "pretrained"}


def build_optimizers(config: TrainConfig, learner: Learner) -> list[torch.optim.Optimizer]:
    """Of everything that learns: the run's own, which follows the schedule, and those that methods bring along."""
    methods = [method.distiller.own_optimizer() for method in learner.methods.values()]
    brought = [optimizer for optimizer in methods if optimizer is not None]
    claimed = {id(x) for optimizer in brought for group in optimizer.param_groups for x in group["params"]}
    named = {name: parameter for name, parameter in learner.named_parameters() if id(parameter) not in claimed}
    return [build_optimizer(config, named), *brought]


def build_optimizer(config: TrainConfig, named: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
    """Of these parameters; each group's `rate_factor` multiplies the schedule's rate."""
    pretrained = [p for name, p in named.items() if name.startswith("student.encoder.")]
    rest = [p for name, p in named.items() if not name.startswith("student.encoder.")]
    factors = ((pretrained, config.encoder_learning_rate_factor), (rest, 1.0))
    parameters = [{"params": group, "rate_factor": factor} for group, factor in factors if group]
    if config.optimizer == "sgd":
        return torch.optim.SGD(parameters, config.learning_rate, momentum=0.9, weight_decay=config.weight_decay)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, config.learning_rate, weight_decay=config.weight_decay)


def tap_named_modules(config: TrainConfig, networks: Sequence[SegmentationNetwork]) -> None:
    """Add the taps that recipes name by module path to the networks that have such a module."""
    for network in networks:
        paths = {path for method in config.distillers for path in module_taps(network, method.options)}
        tap_modules(network, sorted(paths), (config.input.height, config.input.width))


def _build(network: NetworkConfig, taxonomy: Taxonomy) -> SegmentationNetwork:
    return build_network(network.name, len(taxonomy), **network.options)


def _initial_student(config: TrainConfig, taxonomy: Taxonomy) -> SegmentationNetwork:
    network = _build(config.network, taxonomy)
    if config.init_from is None:
        return network
    bundle = load_bundle(config.init_from)
    options = without_pretrained(config.network.options)
    found, wanted = (bundle.network, dict(bundle.network_kwargs)), (config.network.name, options)
    if found != wanted or bundle.taxonomy.names != taxonomy.names:
        raise TrainingError(
            f"init_from {bundle.path} holds network {bundle.network} with {dict(bundle.network_kwargs)} and classes"
            f" {bundle.taxonomy.names}: set network to the same, or train from random weights"
        )
    network.load_state_dict(bundle.build_network().state_dict())
    return network


def _load_teachers(config: TrainConfig, taxonomy: Taxonomy, device: torch.device) -> dict[int, Teacher]:
    for index, teacher in enumerate(config.teachers):
        if (teacher.bundle is None) == (teacher.network is None):
            raise TrainingError(f"teacher {index}: give either a bundle (trained) or a network (a peer)")
    bundles = {i: t.bundle for i, t in enumerate(config.teachers) if t.bundle is not None}
    return {i: Teacher(bundle, taxonomy, device) for i, bundle in bundles.items()}


def _class_weights(config: TrainConfig, taxonomy: Taxonomy) -> Tensor | None:
    weights = config.class_weights
    if weights is None:
        return None
    if len(weights) != len(taxonomy):
        raise TrainingError(
            f"class_weights has {len(weights)} values, expected {len(taxonomy)}:"
            f" one each for {', '.join(taxonomy.names)}"
        )
    return torch.tensor(weights)
