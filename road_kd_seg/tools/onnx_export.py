# SPDX-License-Identifier: Apache-2.0
"""Writes a bundle's network as ONNX, and checks that it predicts as the network does.

This lies in the runtime, beside the backend that reads the file: as with `save_bundle` and `load_bundle`, whoever reads
a format also writes it, and a robot can make a model.onnx without the training package. onnx and onnxscript are
imported when a file is written: running a network needs neither.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from road_kd_seg.backends.onnx_backend import INPUTS, OUTPUT, OnnxBackend
from road_kd_seg.bundle import Bundle
from road_kd_seg.errors import RoadKdError
from road_kd_seg.networks import SegmentationNetwork
from road_kd_seg.preprocess.input_spec import InputSpec
from road_kd_seg.preprocess.tensors import preprocess
from road_kd_seg.synthetic import render_scene

OPSET = 18
"""The exporter's native one; ONNX Runtime 1.14, TensorRT 8.6 and later read it."""

IR_VERSION = 8
"""Of the file format: the newest that ONNX Runtime 1.14 (JetPack 5) reads. The graph uses nothing newer."""

MIN_AGREEMENT = 0.999
"""Share of an input's pixels whose winning class has to be the network's; ties fall either way."""

SCENE_SEEDS = (2_000_100, 2_000_108)
"""A view along a road and a close-up, which no recipe trains on."""


class Parity(NamedTuple):
    """How far ONNX Runtime is from PyTorch on one input."""

    what: str
    agreement: float
    """Share of pixels with the same winning class."""
    max_difference: float
    """Largest |difference| of two logits."""

    @property
    def passed(self) -> bool:
        """Whether it counts as the same network."""
        return self.agreement >= MIN_AGREEMENT and self.max_difference < float("inf")  # False for NaN, too

    def describe(self) -> str:
        """One line."""
        return f"{self.what}: {self.agreement:.4%} of pixels agree, largest logit difference {self.max_difference:.1e}"


def export_onnx(bundle: Bundle) -> tuple[bytes, tuple[Parity, ...]]:
    """A bundle's network as ONNX of its input size, checked on a CPU.

    Returns:
        What model.onnx has to hold (see `bundle.add_attachment`), and how it compares with PyTorch on random
        numbers and on rendered scenes.

    Raises:
        RoadKdError: onnx, onnxscript or onnxruntime is missing; the network does not export; or ONNX Runtime disagrees
            with PyTorch.
    """
    network = bundle.build_network()
    model = to_onnx(network, bundle.input.size)
    backend = OnnxBackend(model, device="cpu")
    parities = tuple(compare(network, backend, *inputs) for inputs in _inputs(bundle.input, network.depth_channels))
    for parity in parities:
        if not parity.passed:
            raise RoadKdError(
                f"model '{bundle.name}': as ONNX, {bundle.network} predicts differently: {parity.describe()},"
                f" expected at least {MIN_AGREEMENT:.1%} and a finite difference."
                " Nothing was written: use backend torch, or another version of onnxruntime."
            )
    return model, parities


def to_onnx(network: SegmentationNetwork, size: tuple[int, int]) -> bytes:
    """Serialize a network: inputs `rgb` (1, 3, h, w) and, if it requires depth, `depth` (1, C, h, w); output `logits`.

    Args:
        network: on the CPU; put into eval mode.
        size: (h, w), fixed in the graph.

    Raises:
        RoadKdError: onnx or onnxscript is not installed, or the network holds something that ONNX has no words for.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise RoadKdError(
            f"writing ONNX needs onnx and onnxscript: {error}: run 'pip install onnx onnxscript onnxruntime'"
        ) from error
    inputs = [torch.zeros(1, channels, *size) for channels in (3, network.depth_channels) if channels]
    try:
        model = _export(_LogitsOnly(network).eval(), tuple(inputs))
    except torch.onnx.errors.OnnxExporterError as error:
        reason = " ".join(str(error.__cause__ or error).split())[:500]
        raise RoadKdError(f"network {type(network).__name__} cannot be written as ONNX: {reason}") from error
    _strip(model)
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _export(network: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    """onnx.ModelProto of a network, traced with inputs of the final sizes."""
    import onnx

    names: dict[str, Any] = {"input_names": list(INPUTS[: len(inputs)]), "output_names": [OUTPUT]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch about itself
        if torch.__version__ >= "2.9":
            program = torch.onnx.export(network, inputs, dynamo=True, verbose=False, opset_version=OPSET, **names)
            assert program is not None  # with dynamo=True
            return program.model_proto
        # There the newer exporter was no default yet and fails, with today's onnxscript, on batch normalization.
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.onnx"
            torch.onnx.export(network, inputs, str(file), dynamo=False, opset_version=OPSET, **names)
            return onnx.load(file)


class _LogitsOnly(nn.Module):
    """Leaves the taps out, and with them whatever only they need."""

    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, rgb: Tensor, depth: Tensor | None = None) -> Tensor:
        logits: Tensor = self.network(rgb, depth).logits
        return logits


def _strip(model: Any) -> None:
    """Remove the exporter's notes: source lines with paths of this machine, a third of a small file."""
    graph = model.graph
    for item in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        item.ClearField("metadata_props")
        item.ClearField("doc_string")


def _inputs(spec: InputSpec, depth_channels: int) -> Iterator[tuple[str, Tensor, Tensor | None]]:
    generator = torch.Generator().manual_seed(0)
    rgb = torch.randn(1, 3, *spec.size, generator=generator)
    depth = 2 * torch.rand(1, depth_channels, *spec.size, generator=generator) - 1
    yield "random input", rgb, depth if depth_channels else None
    for seed in SCENE_SEEDS:
        frame = render_scene(seed).frame
        assert frame.depth_m is not None
        tensors = torch.from_numpy(frame.rgb)[None], torch.from_numpy(frame.depth_m)[None]
        yield f"synthetic scene {seed}", *preprocess(*tensors, spec)


@torch.inference_mode()
def compare(network: SegmentationNetwork, backend: OnnxBackend, what: str, rgb: Tensor, depth: Tensor | None) -> Parity:
    """Both outputs for one input.

    Args:
        network: in eval mode, on the CPU.
        backend: on the CPU.
        what: what the input is called.
        rgb: (1, 3, h, w).
        depth: (1, C, h, w) or None.
    """
    expected, got = network(rgb, depth).logits, backend.infer(rgb, depth)
    agreement = (expected.argmax(1) == got.argmax(1)).float().mean().item()
    return Parity(what, agreement, (expected - got).abs().max().item())
