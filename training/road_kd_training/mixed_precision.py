# SPDX-License-Identifier: Apache-2.0
"""Which precision `mixed_precision: auto` stands for, and how tensors lie in memory: what is fast on this machine."""

from __future__ import annotations

import time
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

Precision = Literal["no", "bf16", "fp16"]

_WORTHWHILE = 0.8
"""Share of float32's time below which bf16 pays."""


def pick_precision(configured: str, device: torch.device) -> tuple[Precision, str]:
    """The precision to train in, and why, in words.

    bf16 takes half of float32's time on a CPU with units for it and many times as long on one that emulates them. It is
    measured once: all runs of a process, as the rows of a table, are trained alike.

    Args:
        configured: auto, no, bf16 or fp16; all but auto are taken at their word.
        device: where the networks are.
    """
    if configured != "auto":
        kinds: dict[str, Precision] = {"no": "no", "bf16": "bf16", "fp16": "fp16"}
        return kinds[configured], "as configured"
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", "this GPU computes in it"
        return "fp16", "this GPU has no bf16"
    share = _bf16_share()
    return (
        "bf16" if share < _WORTHWHILE else "no",
        f"on this CPU a convolution in bf16 takes {share:.1f} of float32's time",
    )


def pick_memory_format(device: torch.device, network: nn.Module) -> torch.memory_format:
    """channels_last, which is faster everywhere, but for dilated convolutions on a CPU.

    There torch 2.15 gives NaN weight gradients for narrow dilated bfloat16 convolutions in channels_last.
    """
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    dilated = any(dilation != 1 for convolution in convolutions for dilation in convolution.dilation)
    return torch.contiguous_format if device.type == "cpu" and dilated else torch.channels_last


@cache
def _bf16_share() -> float:
    return _time_ms(torch.bfloat16) / _time_ms(torch.float32)


def _time_ms(dtype: torch.dtype, repeats: int = 5) -> float:
    """Least processor time of a usual convolution with its gradients, as other work on the machine must not decide."""
    image = torch.ones(2, 64, 64, 64, dtype=dtype, requires_grad=True)
    weight = torch.ones(64, 64, 3, 3, dtype=dtype, requires_grad=True)
    times_ms = []
    for _ in range(repeats + 1):  # the first one prepares it
        start_ns = time.process_time_ns()
        F.conv2d(image, weight, padding=1).sum().backward()
        times_ms.append((time.process_time_ns() - start_ns) / 1e6)
    return min(times_ms)
