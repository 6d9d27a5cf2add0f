# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch
from torch import Tensor


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Standard normal numbers of a shape, the same for the same seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
