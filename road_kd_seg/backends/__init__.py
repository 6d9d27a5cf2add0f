# SPDX-License-Identifier: Apache-2.0
"""Backends run a network: encoded tensors in, logits out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor

from road_kd_seg.backends.onnx_backend import OnnxBackend
from road_kd_seg.backends.openvino_backend import OpenVinoBackend
from road_kd_seg.backends.torch_backend import TorchBackend, pick_device
from road_kd_seg.bundle import Bundle
from road_kd_seg.errors import RoadKdError
from road_kd_seg.host import pick_num_threads

__all__ = ["BACKENDS", "Backend", "OnnxBackend", "OpenVinoBackend", "TorchBackend", "choices", "load_backend"]


class Backend(Protocol):
    """What a segmenter needs of an inference engine."""

    @property
    def device(self) -> torch.device:
        """Where inputs have to be and logits will be."""

    @property
    def precision(self) -> str:
        """fp32, fp16, bf16 or int8."""

    @property
    def device_name(self) -> str:
        """Device, engine, threads and precision, for people."""

    def infer(self, rgb: Tensor, depth: Tensor | None) -> Tensor:
        """Logits, float32 (B, K, h/s, w/s), of float32 (B, 3, h, w) and (B, C, h, w) or None, all on `device`."""


BACKENDS: Mapping[str, Callable[[Bundle, str, str, int], Backend]] = {
    "torch": lambda bundle, device, precision, num_threads: TorchBackend(
        bundle.build_network(), device, precision, num_threads
    ),
    "onnx": OnnxBackend.from_bundle,
    "openvino": OpenVinoBackend.from_bundle,
}
"""Loaders by name: `load(bundle, device, precision, num_threads)`."""


def load_backend(
    name: str, bundle: Bundle, device: str = "auto", precision: str = "auto", num_threads: int = 0
) -> Backend:
    """A bundle's network, ready to run.

    Args:
        name: a key of `BACKENDS`.
        bundle: whose network.
        device: auto (CUDA if there is one), cpu, cuda or cuda:N.
        precision: auto, fp32, fp16, bf16 or int8.
        num_threads: of the engine on a CPU, and PyTorch's in this process; 0: half of the CPUs, at most four.

    Raises:
        BundleError: weights or model.onnx are missing or damaged.
        RoadKdError: the backend, the device or the precision is not there.
    """
    if name not in BACKENDS:
        raise RoadKdError(f"backend '{name}' is unknown: use auto, {', '.join(BACKENDS)}")
    backend = BACKENDS[name](bundle, device, precision, num_threads)
    if backend.device.type == "cpu":
        torch.set_num_threads(pick_num_threads(num_threads))  # what lies around an engine runs in PyTorch, too
    return backend


def choices(bundle: Bundle, name: str, device: str, precision: str) -> list[tuple[str, str]]:
    """Backend and precision to try, best first.

    A name is taken at its word. `auto` takes ONNX Runtime for a CPU if the bundle has the file, in int8 if it has that,
    and PyTorch otherwise and last: it needs nothing but the weights.

    Raises:
        RoadKdError: the device is not there.
    """
    if name != "auto":
        return [(name, precision)]
    if pick_device(device).type == "cuda":
        return [("torch", precision)]
    ways = [
        ("onnx", "int8", "int8" in bundle.attachments and precision in ("auto", "int8")),
        ("onnx", "fp32", "onnx" in bundle.attachments and precision in ("auto", "int8", "fp32")),
        ("torch", "fp32" if precision == "int8" else precision, True),
    ]
    return [(backend, kind) for backend, kind, possible in ways if possible]
