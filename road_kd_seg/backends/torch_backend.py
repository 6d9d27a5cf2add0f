# SPDX-License-Identifier: Apache-2.0
"""The reference backend: eager PyTorch in channels_last, in the precision that the device is good at.

Weights are converted once, when the network is loaded: autocast would convert them again with every frame.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from road_kd_seg.errors import RoadKdError
from road_kd_seg.host import pick_num_threads
from road_kd_seg.networks import SegmentationNetwork

Precision = Literal["auto", "fp32", "fp16", "bf16"]


class TorchBackend:
    """A network on a device.

    Args:
        network: taken over, and converted.
        device: auto, cpu, cuda or cuda:N.
        precision: auto (fp16 on CUDA, fp32 on a CPU), fp32, fp16 or bf16.
        num_threads: PyTorch's in this process, on a CPU; 0: half of the CPUs, at most four.

    Raises:
        RoadKdError: a device that is not there, or a precision that it cannot do.
    """

    def __init__(
        self, network: SegmentationNetwork, device: str = "auto", precision: str = "auto", num_threads: int = 0
    ) -> None:
        self.device = pick_device(device)
        self.dtype = _pick_dtype(precision, self.device)
        if self.device.type == "cpu":
            torch.set_num_threads(pick_num_threads(num_threads))
        network = network.eval().requires_grad_(False).to(self.device, self.dtype)
        for module in network.modules():  # their statistics need the range; they take inputs of any precision
            if isinstance(module, nn.BatchNorm2d):
                module.float()
        self.network = network.to(memory_format=torch.channels_last)

    @property
    def precision(self) -> str:
        """fp32, fp16 or bf16."""
        return {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}[self.dtype]

    @property
    def device_name(self) -> str:
        """What a person calls the device, with engine and precision."""
        if self.device.type == "cuda":
            return f"{torch.cuda.get_device_name(self.device)} ({self.device}, torch, {self.precision})"
        return f"{self.device} ({torch.get_num_threads()} threads, torch, {self.precision})"

    @torch.inference_mode()
    def infer(self, rgb: Tensor, depth: Tensor | None) -> Tensor:
        """Logits.

        Args:
            rgb: float32 (B, 3, h, w), on the backend's device.
            depth: float32 (B, C, h, w), or None.

        Returns:
            float32 (B, K, h/s, w/s).
        """
        rgb = rgb.to(self.dtype, memory_format=torch.channels_last)
        logits: Tensor = self.network(rgb, None if depth is None else depth.to(self.dtype)).logits
        return logits.float()


def pick_device(name: str) -> torch.device:
    """The torch device for `auto` (CUDA if there is one), `cpu`, `cuda` or `cuda:N`.

    Raises:
        RoadKdError: no such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise RoadKdError(f"device '{name}' is unknown: use auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise RoadKdError(f"device '{name}' is not supported: use auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise RoadKdError(
            f"device '{name}': this machine has {torch.cuda.device_count()} CUDA devices: use auto or cpu"
        )
    return device


def _pick_dtype(precision: str, device: torch.device) -> torch.dtype:
    if precision == "int8":
        raise RoadKdError("precision 'int8': backend torch has none: use backend onnx, with a model.int8.onnx")
    if precision not in get_args(Precision):
        raise RoadKdError(f"precision '{precision}' is unknown: use one of {', '.join(get_args(Precision))}")
    if precision == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    if precision == "fp16" and device.type == "cpu":
        raise RoadKdError("precision 'fp16' is for CUDA: use fp32 or bf16 on a CPU")
    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
