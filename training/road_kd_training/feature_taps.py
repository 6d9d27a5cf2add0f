# SPDX-License-Identifier: Apache-2.0
"""Feature taps by module path: the output of any submodule of any network as a named feature map.

Our own networks name their taps in `feature_info`. A module path (`backbone.layer3`, as `named_modules` spells it) taps
what they do not name, and makes a student or a teacher of a network that nobody wrote for this package.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from road_kd_seg.networks import FeatureInfo, SegmentationNetwork, SegOutput
from road_kd_training.distillers.common.base import NetworkInfo
from road_kd_training.errors import TrainingError


class TappedModel(nn.Module):
    """Any model as a student or a teacher: its output as logits, its submodules' outputs as features.

    Args:
        model: returns logits as a tensor (B, K, H, W) or (B, K), or holds them under `out` (torchvision) or `.logits`.
        taps: module paths whose outputs are (B, C, h, w).
        example: one input of the model; channels and strides are found by one forward pass.

    Raises:
        TrainingError: an unknown path, or an output that is no feature map or no logits.
    """

    def __init__(self, model: nn.Module, taps: Sequence[str], example: Tensor) -> None:
        super().__init__()
        self.model = model
        self._recorder = _Recorder(model, taps)
        with _evaluating(model), torch.no_grad():
            output = self(example)
        self.info = NetworkInfo(
            type(model).__name__, output.logits.shape[1], _measure(output.features, example.shape[-2:])
        )
        """What a distiller must know of it."""

    def forward(self, *inputs: Tensor) -> SegOutput:
        """Run the model; logits of a classifier become (B, K, 1, 1)."""
        logits = _logits(self.model(*inputs), type(self.model).__name__)
        return SegOutput(logits if logits.ndim == 4 else logits[..., None, None], self._recorder.take())


def tap_modules(network: SegmentationNetwork, paths: Sequence[str], size: tuple[int, int]) -> None:
    """Add submodules' outputs to a network's features and `feature_info`, under their paths; weights keep their names.

    Args:
        network: on any device.
        paths: of modules whose outputs are (B, C, h, w).
        size: (H, W) of its input in pixels, for one forward pass that finds channels and strides.

    Raises:
        TrainingError: an unknown path, or an output that is no feature map.
    """
    if not paths:
        return
    recorder = _Recorder(network, paths)
    network.register_forward_hook(partial(_add_features, recorder))
    like = next(network.parameters())
    rgb = like.new_zeros(1, 3, *size)
    depth = like.new_zeros(1, network.depth_channels, *size) if network.depth_channels else None
    with _evaluating(network), torch.no_grad():
        features = network(rgb, depth).features
    found = _measure({path: features[path] for path in paths}, size)
    network.feature_info = {**network.feature_info, **found}


def module_taps(network: SegmentationNetwork, options: Mapping[str, Any]) -> list[str]:
    """The taps in a method's options that are paths of the network's modules and none of its named taps."""
    named = {name for key, value in options.items() if "tap" in key for name in _strings(value)}
    return sorted((named & {name for name, _ in network.named_modules()}) - set(network.feature_info))


class _Recorder:
    """Keeps the outputs of some modules until they are taken. A copy of the model gets a copy of it."""

    def __init__(self, model: nn.Module, paths: Sequence[str]) -> None:
        self.features: dict[str, Tensor] = {}
        modules = dict(model.named_modules())
        for path in paths:
            if path not in modules or not path:
                nearest = difflib.get_close_matches(path, modules, n=3, cutoff=0.4)
                hint = f"did you mean {' or '.join(nearest)}?" if nearest else "named_modules() lists its paths"
                raise TrainingError(f"{type(model).__name__} has no module '{path}': {hint}")
            modules[path].register_forward_hook(partial(self._keep, path))

    def _keep(self, path: str, module: nn.Module, inputs: object, output: object) -> None:
        if not isinstance(output, Tensor) or output.ndim != 4:
            got = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
            raise TrainingError(
                f"module '{path}' ({type(module).__name__}) returns {got}, expected a feature map (B, C, H, W):"
                " tap another module"
            )
        self.features[path] = output

    def take(self) -> dict[str, Tensor]:
        features, self.features = self.features, {}
        return features


def _add_features(recorder: _Recorder, module: nn.Module, inputs: object, output: SegOutput) -> SegOutput:
    return SegOutput(output.logits, {**output.features, **recorder.take()})


def _measure(features: Mapping[str, Tensor], size: Sequence[int]) -> dict[str, FeatureInfo]:
    return {path: FeatureInfo(x.shape[1], max(1, round(size[0] / x.shape[2]))) for path, x in features.items()}


def _logits(output: Any, model: str) -> Tensor:
    found = output["out"] if isinstance(output, Mapping) and "out" in output else getattr(output, "logits", output)
    if not isinstance(found, Tensor) or found.ndim not in (2, 4):
        raise TrainingError(
            f"{model} returns {type(output).__name__}, expected logits: a tensor (B, K, H, W) or (B, K),"
            " a mapping with 'out', or an object with .logits"
        )
    return found


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Sequence):
        for item in value:
            yield from _strings(item)


class _evaluating:  # noqa: N801
    """Eval mode for a while: one sample is too few for batch norm, and its statistics must not move."""

    def __init__(self, model: nn.Module) -> None:
        self.training = {module: module.training for module in model.modules()}
        self.model = model

    def __enter__(self) -> None:
        self.model.eval()

    def __exit__(self, *_: object) -> None:
        for module, training in self.training.items():
            module.training = training
