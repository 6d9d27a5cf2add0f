# SPDX-License-Identifier: Apache-2.0
"""Array types of the renderer, which works in float32 and 8-bit throughout."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]


def f32(values: Any) -> F32:
    """The values as float32; copied only if they are something else."""
    return np.asarray(values, np.float32)


def to_u8(values: F32) -> U8:
    """Values of 0 to 255, rounded down; what lies outside is clipped."""
    return np.clip(values, 0, 255).astype(np.uint8)
