"""The reference backend: eager PyTorch in channels_last, in the precision that the device is good at."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from road_kd_seg.errors import RoadKdError
from road_kd_seg.networks import SegmentationNetwork

Precision = Literal["auto", "fp32", "fp16", "bf16"]


class TorchBackend:
    """A network on a device.

    Raises:
        RoadKdError: a device that is not there, or a precision that it cannot do.
    """

    def __init__(self, network: SegmentationNetwork, device: str = "auto", precision: str = "auto") -> None:
        self.device = pick_device(device)
        self.dtype = _pick_dtype(precision, self.device)
        network = network.eval().requires_grad_(False)
        self.network = network.to(self.device).to(memory_format=torch.channels_last)

    @property
    def device_name(self) -> str:
        """What a person calls the device, with the precision it runs in."""
        precision = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}[self.dtype]
        if self.device.type == "cuda":
            return f"{torch.cuda.get_device_name(self.device)} ({self.device}, {precision})"
        return f"{self.device} ({torch.get_num_threads()} threads, {precision})"

    @torch.inference_mode()
    def infer(self, rgb: Tensor, depth: Tensor | None) -> Tensor:
        """Logits.

        Args:
            rgb: float32 (B, 3, h, w), on the backend's device.
            depth: float32 (B, C, h, w), or None.

        Returns:
            float32 (B, K, h, w).
        """
        rgb = rgb.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not torch.float32):
            logits: Tensor = self.network(rgb, depth).logits
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
    if precision not in get_args(Precision):
        raise RoadKdError(f"precision '{precision}' is unknown: use one of {', '.join(get_args(Precision))}")
    if precision == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    if precision == "fp16" and device.type == "cpu":
        raise RoadKdError("precision 'fp16' is for CUDA: use fp32 or bf16 on a CPU")
    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
