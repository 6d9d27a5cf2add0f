"""Backends run a network: encoded tensors in, logits out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor

from road_kd_seg.backends.onnx_backend import OnnxBackend
from road_kd_seg.backends.torch_backend import TorchBackend
from road_kd_seg.bundle import Bundle
from road_kd_seg.errors import RoadKdError

__all__ = ["BACKENDS", "Backend", "OnnxBackend", "TorchBackend", "load_backend"]


class Backend(Protocol):
    """What a segmenter needs of an inference engine."""

    @property
    def device(self) -> torch.device:
        """Where inputs have to be and logits will be."""

    @property
    def device_name(self) -> str:
        """The device and the precision, for people."""

    def infer(self, rgb: Tensor, depth: Tensor | None) -> Tensor:
        """Logits, float32 (B, K, h, w), of float32 (B, 3, h, w) and (B, C, h, w) or None, all on `device`."""


BACKENDS: Mapping[str, Callable[[Bundle, str, str], Backend]] = {
    "torch": lambda bundle, device, precision: TorchBackend(bundle.build_network(), device, precision),
    "onnx": OnnxBackend.from_bundle,
}
"""Loaders by name: `load(bundle, device, precision)`."""


def load_backend(name: str, bundle: Bundle, device: str = "auto", precision: str = "auto") -> Backend:
    """A bundle's network, ready to run.

    Args:
        name: a key of `BACKENDS`.
        bundle: whose network.
        device: auto (CUDA if there is one), cpu, cuda or cuda:N.
        precision: auto, fp32, fp16 or bf16.

    Raises:
        BundleError: weights or model.onnx are missing or damaged.
        RoadKdError: the backend, the device or the precision is not there.
    """
    if name not in BACKENDS:
        raise RoadKdError(f"backend '{name}' is unknown: use {' or '.join(BACKENDS)}")
    return BACKENDS[name](bundle, device, precision)
