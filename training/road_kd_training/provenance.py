# SPDX-License-Identifier: Apache-2.0
"""Where a result comes from: the runtime's environment, and the device that trained."""

from __future__ import annotations

import torch

from road_kd_seg.environment import describe_environment


def describe_training() -> dict[str, str | int | None]:
    """`describe_environment` with the device; no names of users or machines."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    return {**describe_environment(), "device": device}
